"""ADM's crops: what is known of them in closed form, and that random ones depend on the place in the stream alone."""

import collections

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.adm_crops import central_crop, random_crop, with_short_side
from score_jax.data.loader import make_loader
from score_jax.data.sources import open_source
from score_jax.errors import InputError

NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_powers_of_two_are_means_of_boxes():
    found = central_crop(NOISE, 16)
    means = NOISE[:, 16:80].reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert found.shape == (16, 16, 3) and np.abs(found - means).max() <= 2.0  # rounded four times
    bicubic = PILImage.fromarray(NOISE).resize((24, 16), PILImage.Resampling.BICUBIC)
    assert np.abs(np.asarray(bicubic)[:, 4:20] - means).max() > 10  # what one resize gives instead


def test_less_than_twice_the_size_is_bicubic_alone():
    found = with_short_side(NOISE, 40)
    expected = np.asarray(PILImage.fromarray(NOISE).resize((60, 40), PILImage.Resampling.BICUBIC))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(central_crop(NOISE, 40), expected[:, 10:50])


@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_of_any_image(channels):
    for height, width in ((7, 5), (5, 31), (64, 64), (65, 200)):
        image = np.full((height, width, channels), 7, np.uint8)
        for crop in (central_crop(image, 8), random_crop(image, 8, np.random.default_rng(1))):
            assert crop.shape == (8, 8, channels) and (crop == 7).all()


def test_random_crops_have_every_size_and_place_alike():
    """Of an image of 10 x 10 in which each pixel tells its place: short sides of 8, 9 and 10, and a place in each."""
    image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1)
    rng, whole = np.random.default_rng(0), collections.Counter()
    draws = 3600
    for _ in range(draws):
        found = random_crop(image, 8, rng)
        top, left = divmod(int(found[0, 0, 0]), 10)
        if top + 8 <= 10 and left + 8 <= 10 and (found == image[top : top + 8, left : left + 8]).all():
            whole[top, left] += 1
    expected = draws / 3 / 9
    assert len(whole) == 9 and all(abs(count - expected) < 5 * expected**0.5 for count in whole.values())


@pytest.fixture
def images(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 256, (12, 20, 30, 3), dtype=np.uint8))
    return str(tmp_path / "a.npz")


def opened(images, **options):
    return open_source(images, "all", **{"image_size": 8, "channels": 3, "resize_filter": "adm", **options})


def test_batches_of_random_crops_depend_on_their_place_alone(images):
    source = opened(images, random_crop=True)
    np.testing.assert_array_equal(source[0]["image"], opened(images)[0]["image"])  # what is measured is not at random
    options = {"seed": 3, "flip": True, "process_index": 0, "process_count": 1}
    whole = make_loader(source, batch_size=12, **options)
    batches = [next(whole) for _ in range(3)]
    again = make_loader(source, batch_size=12, **options)
    again.set_state({"batches": 2})
    np.testing.assert_array_equal(next(again)["image"], batches[2]["image"])
    second = make_loader(source, batch_size=12, **options | {"process_index": 1, "process_count": 2})
    np.testing.assert_array_equal(next(second)["image"], batches[0]["image"][6:])
    epochs = [dict(zip(batch["index"].tolist(), batch["image"], strict=True)) for batch in batches[:2]]
    assert set(epochs[0]) == set(range(12)) == set(epochs[1])
    assert sum((epochs[0][i] != epochs[1][i]).any() for i in range(12)) > 9
    for loader in (whole, again, second):
        loader.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_crop": True, "resize_filter": "bicubic"}, "data.random_crop is for data.resize_filter=adm"),
        ({"random_crop": True, "shown_size": 16}, "data.random_crop is for data.resize_filter=adm, without"),
        ({"crop": 10}, "data.crop=10 is not for data.resize_filter=adm"),
    ],
)
def test_what_does_not_go_together_is_one_line(images, options, message):
    with pytest.raises(InputError, match=message):
        opened(images, **options)[0]
