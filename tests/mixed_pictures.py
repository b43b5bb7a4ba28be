"""A folder as people have them: pictures of every kind in folders of classes, a hidden file, and a damaged one."""

from pathlib import Path

import numpy as np
from PIL import Image as PILImage

CLASSES = ("green", "red")
LEFT_OUT = 1


def make_mixed_pictures(folder: Path, count: int) -> Path:
    """Writes `count` pictures of each of two classes, and what is none; their colour tells the class.

    Of each class they are in turn: PNG, JPEG turned by EXIF, WebP, CMYK, a palette with transparency, RGBA; beside them
    one of 16 bits.
    """
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            height, width = rng.integers(16, 40, 2)
            pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
            pixels[..., 1 - label] += 150
            _save(PILImage.fromarray(pixels), folder / name / f"{i:03d}", i % 6)
    deep = (np.linspace(0, 65535, 32 * 32).reshape(32, 32)).astype(np.uint16)
    PILImage.fromarray(deep).save(folder / CLASSES[0] / "deep.png")
    (folder / CLASSES[0] / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "notes.pdf").write_bytes(b"%PDF-1.4")
    damaged = folder / CLASSES[1] / "damaged.jpg"
    PILImage.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:900])
    return folder


def _save(image: PILImage.Image, path: Path, kind: int) -> None:
    if kind == 0:
        image.save(path.with_suffix(".png"))
    elif kind == 1:
        exif = PILImage.Exif()
        exif[0x0112] = 6
        image.save(path.with_suffix(".jpg"), exif=exif)
    elif kind == 2:
        image.save(path.with_suffix(".webp"))
    elif kind == 3:
        image.convert("CMYK").save(path.with_suffix(".jpeg"))
    elif kind == 4:
        image.quantize(32).save(path.with_suffix(".gif"), transparency=3)
    else:
        image.convert("RGBA").save(path.with_suffix(".tiff"))
