"""Layouts, boxes with classes, as the tokens that layout-to-image models of Rombach et al. 2022 are given.

Each box is three tokens: its class, its upper left and its lower right corner. This order is that of the code that
made the published models' data (CompVis/taming-transformers, objects_bbox.py); the paper names the class last. Corners
lie on a grid of 90 x 90 points. Boxes that are missing are tokens of nothing, and the last two tokens say which part of
a photo the image is; here it is the whole.
"""

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from score_jax.errors import InputError, quoted, unknown_name

_VOCABULARY = 8192
_POINTS = 90
"""Along each axis: the square root of the vocabulary, rounded down."""
_PER_BOX = 3
_NOTHING = _VOCABULARY - 1
_NUMBER = r"(\d*\.?\d+)"
_BOX = re.compile(rf"(.*\S)\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}")
_EXPECTED = "NAME LEFT TOP RIGHT BOTTOM, fractions of the image from its upper left corner, such as dog 0.1 0.4 0.6 1"


def corner_token(x: float, y: float) -> int:
    """The token of a point, fractions of width and height from the upper left corner."""
    return round(y * (_POINTS - 1)) * _POINTS + round(x * (_POINTS - 1))


@dataclasses.dataclass(frozen=True)
class Layouts:
    """Texts like "dog 0.1 0.4 0.6 1; person 0.5 0 1 1": boxes, from the left, the top, to the right and the bottom.

    Attributes:
      file: names of the classes, one in each line; a class is its line's number, from 0.
      length: tokens of a row; 92 of the published models, which is 30 boxes and the part of the photo.
    """

    file: str
    length: int = 92

    @property
    def vocabulary_size(self) -> int:
        """8192."""
        return _VOCABULARY

    @property
    def boxes(self) -> int:
        """The most boxes of a row."""
        return self.length // _PER_BOX

    def encode(self, text: str) -> Int32[np.ndarray, "{self.length}"]:
        """Returns the tokens of the boxes, in their order, then of nothing, then of the whole photo.

        Raises:
          InputError: a box is not written as expected, or its class is unknown.
        """
        found = [token for box in _boxes(text)[: self.boxes] for token in self._tokens(box)]
        part = [corner_token(0.0, 0.0), corner_token(1.0, 1.0)][: self.length % _PER_BOX]
        return np.array(found + [_NOTHING] * (_PER_BOX * self.boxes - len(found)) + part, np.int32)

    def is_cut(self, text: str) -> bool:
        """Returns whether a text has more boxes than a row."""
        return len(_boxes(text)) > self.boxes

    def _tokens(self, box: str) -> tuple[int, int, int]:
        numbers, match = class_numbers(self.file), _BOX.fullmatch(box)
        name, *edges = match.groups() if match else (box,)
        left, top, right, bottom = map(float, edges) if match else (1.0, 1.0, 0.0, 0.0)
        if not (left <= right <= 1 and top <= bottom <= 1):
            raise InputError(f"The box {quoted(box)} of a layout is not understood: give {_EXPECTED}.")
        if name not in numbers:
            raise unknown_name("class of a layout", name, numbers)
        return numbers[name], corner_token(left, top), corner_token(right, bottom)


def _boxes(text: str) -> list[str]:
    return [box.strip() for box in re.split(r"[;\n]", text) if box.strip()]


@functools.cache
def class_numbers(file: str) -> dict[str, int]:
    """The number of each class of a file with a name in each line.

    Raises:
      InputError: the file is not to be read, is empty, or has more classes than there are tokens.
    """
    expected = "expected a text file with the name of a class in each line"
    try:
        names = Path(file).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"Cannot read the classes {quoted(file)}: {reason}; {expected}.") from None
    numbers = {name.strip(): i for i, name in enumerate(names) if name.strip()}
    if not 0 < len(names) < _VOCABULARY or not numbers:
        raise InputError(f"{quoted(file)} has {len(names)} lines: {expected}, at most {_VOCABULARY - 1}.")
    return numbers
