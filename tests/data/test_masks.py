"""Masks: one rule, and one line about what is none."""

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.masks import read_mask
from score_jax.errors import InputError

IMAGE = np.zeros((8, 8, 3), np.uint8)
HOLE = np.zeros((8, 8), np.uint8)
HOLE[2:5, 3:7] = 255


def read(tmp_path, picture: PILImage.Image, image=IMAGE, size=8, ending="png"):
    path = tmp_path / f"mask.{ending}"
    picture.save(path)
    return read_mask(path, image, size, "bicubic")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA", "I;16"])
def test_white_is_painted_in_every_format(tmp_path, mode):
    picture = PILImage.fromarray(HOLE)
    picture = PILImage.fromarray(HOLE.astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    np.testing.assert_array_equal(read(tmp_path, picture)[..., 0], HOLE / 255)


def test_compression_makes_no_mask_bad(tmp_path):
    large = np.kron(HOLE, np.ones((8, 8), np.uint8))
    found = read(tmp_path, PILImage.fromarray(large).convert("RGB"), np.zeros((64, 64, 3), np.uint8), 64, "jpg")
    np.testing.assert_array_equal(found[..., 0], large / 255)


def with_alpha(grey, alpha):
    return PILImage.fromarray(np.stack([grey, grey, grey, alpha], axis=-1), "RGBA")


PICTURE = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
WRONG = {
    "white on transparent white": (with_alpha(HOLE | 255, HOLE), "has transparent pixels"),
    "a picture with a transparent hole": (with_alpha(PICTURE, 255 - HOLE), "has transparent pixels"),
    "0 and 1": (PILImage.fromarray(HOLE // 255), "has values from 0 to 1 of 255"),
    "black": (PILImage.fromarray(0 * HOLE), "is black everywhere"),
    "a photograph": (PILImage.fromarray(np.stack([PICTURE, PICTURE.T, PICTURE[::-1]], axis=-1)), "has colours"),
    "a grey photograph": (PILImage.fromarray(PICTURE), "is grey in more than a quarter"),
    "another shape": (PILImage.fromarray(HOLE[:4]), "4 x 8 pixels, but the image is 8 x 8"),
}


@pytest.mark.parametrize("what", sorted(WRONG))
def test_what_is_no_mask_is_refused_in_one_line(tmp_path, what):
    picture, message = WRONG[what]
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, picture)
    assert "\n" not in str(error.value)
