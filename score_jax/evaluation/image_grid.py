"""Many small images as one picture."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from score_jax.runtime.files import written_whole

_SMALLEST_CELL = 48


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int, *, scale: int | None = None, padding: int = 2
) -> UInt8[np.ndarray, "H W 3"]:
    """Arranges images in rows of `columns`, each pixel repeated `scale` times, on white.

    Args:
      images: grey or RGB.
      columns: images per row.
      scale: by default the smallest that makes both sides of an image at least 48 pixels.
      padding: white pixels between images.
    """
    count, height, width, channels = images.shape
    scale = scale or math.ceil(_SMALLEST_CELL / min(height, width))
    cells = np.repeat(np.repeat(images, scale, axis=1), scale, axis=2)
    cells = np.pad(cells, ((0, 0), (0, padding), (0, padding), (0, 0)), constant_values=255)
    rows = math.ceil(count / columns)
    cells = np.pad(cells, ((0, rows * columns - count), (0, 0), (0, 0), (0, 0)), constant_values=255)
    lined_up = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    picture = lined_up.reshape(rows * cells.shape[1], columns * cells.shape[2], channels)
    inner = picture[: picture.shape[0] - padding, : picture.shape[1] - padding]
    return np.broadcast_to(inner, (*inner.shape[:2], 3))


def save_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes a PNG, atomically; makes the folder."""
    with written_whole(path) as temporary:
        PILImage.fromarray(np.ascontiguousarray(image)).save(temporary, "PNG")
