"""The `edit` section of a config: how strongly a text pulls at an edit, and where it begins."""

import dataclasses

from ml_collections import ConfigDict

from score_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class EditOptions:
    """Of edits by text (Avrahami et al. 2022); defaults are those of the published code.

    Attributes:
      skip: steps left out at the noisy end: the edit begins with the image at the noise level that follows.
      views: copies of an image that CLIP looks at, all but one of them warped at random.
      text_scale: factor of the distance between image and text.
      range_scale: factor of how far the belief leaves [-1, 1].
      perceptual_scale: factor of LPIPS outside the mask; 0: off, 1000 as published where it is on.
      square_scale: factor of the mean square there; 0: off, 10000 as published.
    """

    skip: int = 25
    views: int = 8
    text_scale: float = 1000.0
    range_scale: float = 50.0
    perceptual_scale: float = 0.0
    square_scale: float = 0.0

    def __post_init__(self):
        if self.views < 1:
            raise InputError(f"edit.views={self.views}: give at least 1.")
        for key, value in dataclasses.asdict(self).items():
            if value < 0:
                raise InputError(f"edit.{key}={value}: give 0 (off) or more.")


def edit_options(config: ConfigDict) -> EditOptions:
    """The section as values.

    Raises:
      InputError: a value is out of range.
    """
    return EditOptions(**config.edit)
