"""Embeddings beside the images of a folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.conditioners import conditions_of
from score_jax.data.loader import make_loader
from score_jax.data.sources import open_source
from score_jax.errors import InputError
from score_jax.models.unets.latent import LatentUNet

NETWORK = LatentUNet(32, (1,), 1, (1,), context_width=5, context_length=3)


@pytest.fixture
def folders(tmp_path):
    """Images of one grey level each, and embeddings that are 0.01 of it."""
    for i in range(4):
        for name in ("images", "vectors"):
            (tmp_path / name / "sea").mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 10 * i).save(tmp_path / "images" / "sea" / f"{i}.bmp")
        np.save(tmp_path / "vectors" / "sea" / f"{i}.npy", np.full((3, 5), 0.1 * i, np.float16))
    return tmp_path


def opened(folders, name="vectors"):
    return open_source(f"folder:{folders / 'images'}", "all", image_size=4, channels=1, embeddings=str(folders / name))


def test_they_reach_the_network_with_their_images(folders):
    batch = next(make_loader(opened(folders), batch_size=4, seed=0, flip=True, process_index=0, process_count=1))
    found = conditions_of(NETWORK.conditions((4, 4, 1)), {}, jax.tree.map(jnp.asarray, batch), None, Pixels())
    assert found["context"].shape == (4, 3, 5) and found["context"].dtype == np.float32
    np.testing.assert_allclose(found["context"][:, 2, 4], batch["image"][:, 0, 0, 0] / 100, atol=1e-3)
    assert sorted(batch["image"][:, 0, 0, 0]) == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 5)), r"have the shape \(2, 5\) and the type float64: expected .* shape \(3, 5\) as the others"),
        (np.zeros((3, 5), int), "the type int64: expected finite floating-point numbers"),
        (np.full((3, 5), np.nan), "expected finite floating-point numbers"),
        (np.array([[{}]], object), "it is no array of numbers. Put a .npy of the same name there"),
        (None, r"Cannot read the embeddings '.*.npy' of '.*.bmp': No such file"),
    ],
)
def test_what_is_none_is_one_line(folders, array, message):
    source = opened(folders)
    file = folders / "vectors" / "sea" / f"{source.rows[1]['image'].stem}.npy"
    file.unlink() if array is None else np.save(file, array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        source[1]


def test_only_a_folder_has_them():
    with pytest.raises(InputError, match="data.embeddings is for folders of images, and digits is none"):
        open_source("digits", "train", image_size=8, channels=1, embeddings="vectors")
