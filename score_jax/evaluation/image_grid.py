"""Many small images as one picture."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from score_jax.runtime.files import written_whole

_SMALLEST_CELL = 64
_PAGE_WIDTH, _MOST_COLUMNS = 800, 8


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int, *, scale: int | None = None, padding: int = 2
) -> UInt8[np.ndarray, "H W 3"]:
    """Arranges images in rows of `columns`, each pixel repeated `scale` times, on white.

    Args:
      images: grey or RGB.
      columns: images per row.
      scale: by default the smallest that makes both sides of an image at least 64 pixels.
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


def page_grid(*rows: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "H W 3"]:
    """Arranges images in rows that fit onto a page as they are.

    Args:
      rows: images; several of them, such as images and their reconstructions, stand one above another.
    """
    count, height, width, _ = rows[0].shape
    cell = width * math.ceil(_SMALLEST_CELL / min(height, width)) + 2
    columns = min(_MOST_COLUMNS, max(2, _PAGE_WIDTH // cell), count)
    blank = ((0, -count % columns), *[(0, 0)] * 3)
    lines = [np.pad(row, blank, constant_values=255).reshape(-1, columns, *row.shape[1:]) for row in rows]
    return grid(np.stack(lines, axis=1).reshape(-1, *rows[0].shape[1:]), columns)


def save_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes a PNG, atomically; makes the folder."""
    with written_whole(path) as temporary:
        PILImage.fromarray(np.ascontiguousarray(image)).save(temporary, "PNG")
