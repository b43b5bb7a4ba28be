"""Segmentations of the images of a folder: pictures of class numbers in another folder, under the same names."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from score_jax.data.images import central_square
from score_jax.errors import InputError, quoted

NOTHING = 255
"""The number of pixels of no class."""


@dataclasses.dataclass(frozen=True)
class Segmentations:
    """Where segmentations lie, and how they are brought to the size of the images.

    Attributes:
      images: folder of the images.
      folder: that has PATH.png for the image PATH.jpg.
      size: height and width wanted.
      crop: side of the central square; 0: the largest. As of `images.fit`.
    """

    images: Path
    folder: Path
    size: int
    crop: int = 0

    def of(self, image: Path) -> UInt8[np.ndarray, "{self.size} {self.size}"]:
        """The class of each pixel of the image in this file, by the nearest pixel; `NOTHING` where it has none.

        Raises:
          InputError: there is no such file, its pixels are no numbers, or it is smaller than the crop.
        """
        file = (self.folder / image.relative_to(self.images)).with_suffix(".png")
        try:
            with PILImage.open(io.BytesIO(file.read_bytes())) as opened:
                mode, numbers = opened.mode, np.asarray(opened)
        except (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError) as error:
            reason = getattr(error, "strerror", None) or "it is no picture"
            raise InputError(
                f"Cannot read the segmentation {quoted(str(file))} of {quoted(image.name)}: {reason}. Put a .png of "
                "the same name there, each pixel the number of its class."
            ) from None
        if mode not in ("L", "P"):
            raise InputError(
                f"The segmentation {quoted(str(file))} has pixels of mode {mode!r}: expected the number of a class for "
                f"each, in 8 bits, {NOTHING} for none."
            )
        square = PILImage.fromarray(np.ascontiguousarray(central_square(numbers, self.crop, quoted(str(file)))))
        return np.asarray(square.resize((self.size, self.size), PILImage.Resampling.NEAREST))
