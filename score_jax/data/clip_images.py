"""Images as CLIP's networks see them, as OpenAI prepared them (Radford et al. 2021)."""

import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image as PILImage

from score_jax.codecs.pixels import Pixels
from score_jax.data.images import FILTERS, with_channels
from score_jax.errors import InputError
from score_jax.models.clip.clip_input import normalised


def fit(image: UInt8[np.ndarray, "h w c"], size: int, name: str) -> UInt8[np.ndarray, "s s 3"]:
    """Returns the central square of an image whose shorter side is scaled to `size` by Pillow's bicubic filter.

    `images.fit` crops first, which moves the pixels' centres and cuts the filter at the crop's edges.

    Args:
      image: pixels; grey becomes RGB.
      size: height and width wanted.
      name: what to call the image in an error.

    Raises:
      InputError: scaled, the image would be larger than Pillow's bound against decompression bombs.
    """
    height, width = image.shape[:2]
    scaled = [size * side // min(height, width) for side in (height, width)]
    if PILImage.MAX_IMAGE_PIXELS and scaled[0] * scaled[1] > PILImage.MAX_IMAGE_PIXELS:
        raise InputError(
            f"{name} is {height}x{width} pixels, too narrow to scale its shorter side to {size}: crop the longer one."
        )
    resized = PILImage.fromarray(with_channels(image, 3)).resize((scaled[1], scaled[0]), FILTERS["bicubic"])
    top, left = (round((side - size) / 2) for side in scaled)  # half to even, as torchvision has it
    return np.asarray(resized)[top : top + size, left : left + size]


def prepared(images: UInt8[Array, "b s s 3"]) -> Float[Array, "b s s 3"]:
    """Levels 0 to 255 to the network's input."""
    return normalised(Pixels(0.0, 1.0).encode(images))
