"""What the text of a split says: which part of a data set, and which of its examples."""

import dataclasses
import re

from score_jax.errors import InputError, counted

_BOUND = r"-?\d+(?:\.\d+(?=%))?%?"
_SPLIT = re.compile(rf"([\w.-]+)(?:\[({_BOUND})?:({_BOUND})?\])?")


@dataclasses.dataclass(frozen=True)
class Split:
    """A split such as "train", "test[:10%]" or "all[100:200]", in the notation of TFDS.

    Attributes:
      text: as it was written.
      part: the name before the brackets.
      start: the first bound, "" if there is none.
      stop: the second one.
    """

    text: str
    part: str
    start: str = ""
    stop: str = ""

    @property
    def bounds(self) -> str:
        """The brackets and what they hold, "" if there are none."""
        return self.text[len(self.part) :]

    def cut(self, count: int, name: str) -> range:
        """Which of the `count` examples of the part it takes.

        Args:
          count: examples of the part.
          name: of the data set, for messages.

        Raises:
          InputError: none, or a bound lies outside of the part.
        """
        kept = range(count)[slice(*(self._index(bound, count, name) for bound in (self.start, self.stop)))]
        if not kept:
            raise InputError(f"Split {self.text!r} of {name} is empty: {self.part!r} has {counted(count, 'image')}.")
        return kept

    def _index(self, bound: str, count: int, name: str) -> int | None:
        if not bound:
            return None
        index = round(float(bound[:-1]) / 100 * count) if bound.endswith("%") else int(bound)
        if abs(index) > count:
            raise InputError(
                f"Split {self.text!r} of {name}: {bound} lies outside of {self.part!r}, which has "
                f"{counted(count, 'image')}."
            )
        return index


def parse_split(text: str, name: str) -> Split:
    """Reads the text of a split of the data set `name`.

    Raises:
      InputError: it is none.
    """
    match = _SPLIT.fullmatch(text)
    if match is None:
        raise InputError(f"Split {text!r} of {name}: expected a name like 'train', 'test[:10%]' or 'all[100:200]'.")
    return Split(text, match[1], match[2] or "", match[3] or "")
