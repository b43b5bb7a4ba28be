"""Embeddings of the images of a folder, such as CLIP's of an image and its neighbours: arrays in another folder."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from score_jax.errors import InputError, quoted


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Where embeddings lie.

    Attributes:
      images: folder of the images.
      folder: that has PATH.npy for the image PATH.jpg, numbers (tokens, width).
      shape: that all of them have; None: any.
    """

    images: Path
    folder: Path
    shape: tuple[int, int] | None = None

    def of(self, image: Path) -> Float32[np.ndarray, "tokens width"]:
        """Those of the image in this file.

        Raises:
          InputError: there is no such file, or it has no finite numbers of this shape.
        """
        file = (self.folder / image.relative_to(self.images)).with_suffix(".npy")
        try:
            numbers = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = getattr(error, "strerror", None) or "it is no array of numbers"
            raise InputError(
                f"Cannot read the embeddings {quoted(str(file))} of {quoted(image.name)}: {reason}. Put a .npy of the "
                "same name there, as numpy.save writes it."
            ) from None
        expected = "(tokens, width)" if self.shape is None else f"{self.shape} as the others have"
        of_shape = np.ndim(numbers) == 2 if self.shape is None else np.shape(numbers) == self.shape
        if not of_shape or not np.issubdtype(numbers.dtype, np.floating) or not np.isfinite(numbers).all():
            raise InputError(
                f"The embeddings {quoted(str(file))} have the shape {np.shape(numbers)} and the type {numbers.dtype}: "
                f"expected finite floating-point numbers of shape {expected}."
            )
        return numbers.astype(np.float32)
