"""Segmentations beside the images of a folder."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.conditioners import one_hot
from score_jax.data.loader import make_loader
from score_jax.data.sources import open_source
from score_jax.errors import InputError


@pytest.fixture
def folders(tmp_path):
    """Images whose red is twice the number of the class, in squares of 2 x 2 at 8 x 12, and the numbers."""
    rng = np.random.default_rng(0)
    for i in range(4):
        numbers = rng.integers(0, 100, (4, 6)).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
        (tmp_path / "images" / "sea").mkdir(parents=True, exist_ok=True)
        (tmp_path / "maps" / "sea").mkdir(parents=True, exist_ok=True)
        pixels = np.stack([2 * numbers, numbers, numbers], axis=-1)
        Image.fromarray(pixels).save(tmp_path / "images" / "sea" / f"{i}.bmp")
        picture = Image.fromarray(numbers)
        if i % 2:
            picture.putpalette(rng.integers(0, 256, 768).astype(np.uint8).tobytes())  # colours say nothing
        picture.save(tmp_path / "maps" / "sea" / f"{i}.png")
    return tmp_path


def opened(folders, maps="maps", **options):
    settings = {"image_size": 4, "channels": 3, "resize_filter": "box", "segmentations": str(folders / maps)}
    return open_source(f"folder:{folders / 'images'}", "all", **settings | options)


def test_they_are_cut_as_the_images_are(folders):
    for options in ({}, {"image_size": 2, "crop": 4}):
        source = opened(folders, **options)
        for example in (source[i] for i in range(4)):
            assert example["segmentation"].dtype == np.uint8 and example["segmentation"].std() > 0
            np.testing.assert_array_equal(2 * example["segmentation"].astype(int), example["image"][..., 0])


def test_they_are_mirrored_with_the_images(folders):
    options = {"batch_size": 4, "seed": 0, "flip": True, "process_index": 0, "process_count": 1}
    batches = make_loader(opened(folders), **options)
    batch = next(batches)
    np.testing.assert_array_equal(2 * batch["segmentation"].astype(int), batch["image"][..., 0])


def test_a_channel_for_each_class():
    numbers = np.array([[[0, 2], [255, 1]]], np.uint8)
    channels = one_hot("segmentation", 3)({"segmentation": jnp.asarray(numbers)}, None, Pixels(), {})
    np.testing.assert_array_equal(channels[0], [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 1, 0]]])
    np.testing.assert_array_equal(one_hot("segmentation", 3)({"segmentation": channels}, None, Pixels(), {}), channels)


def test_what_is_none_is_one_line(folders):
    (folders / "maps" / "sea" / "0.png").unlink()
    source = opened(folders)
    with pytest.raises(InputError, match=r"Cannot read the segmentation '.*0.png' of '0.bmp': No such file"):
        [source[i] for i in range(4)]
    Image.new("RGB", (12, 8)).save(folders / "maps" / "sea" / "0.png")
    with pytest.raises(InputError, match=r"has pixels of mode 'RGB': expected the number of a class for each"):
        [source[i] for i in range(4)]
    (folders / "maps" / "sea" / "0.png").write_bytes(b"none")
    with pytest.raises(InputError, match="it is no picture"):
        [source[i] for i in range(4)]
    Image.new("L", (3, 3)).save(folders / "maps" / "sea" / "0.png")
    with pytest.raises(InputError, match="is 3x3 pixels, data.crop is 4"):
        [opened(folders, crop=4)[i] for i in range(4)]
    with pytest.raises(InputError, match="data.segmentations is for folders of images, and digits is none"):
        open_source("digits", "train", image_size=8, channels=1, segmentations="maps")
