import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.evaluation.image_grid import grid, page_grid, save_png


def test_every_image_lies_in_its_cell_and_missing_cells_are_white():
    images = np.array([10, 20, 30], np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    picture = grid(images, 2, scale=3, padding=1)
    assert picture.shape == (13, 13, 3)
    assert (picture[:6, :6] == 10).all()
    assert (picture[:6, 7:] == 20).all()
    assert (picture[7:, :6] == 30).all()
    assert (picture[7:, 7:] == 255).all()
    assert (picture[6] == 255).all()
    assert (picture[:, 6] == 255).all()


def test_pixels_and_colours_keep_their_places():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3), dtype=np.uint8)
    picture = grid(images, 4, scale=2, padding=0)
    np.testing.assert_array_equal(picture[::2, ::2], np.concatenate(images, axis=1))
    np.testing.assert_array_equal(picture[1::2, 1::2], picture[::2, ::2])


@pytest.mark.parametrize(("size", "expected"), [((16, 16), (64, 64)), ((17, 30), (68, 120)), ((30, 17), (120, 68))])
def test_small_images_are_enlarged_by_no_more_than_needed(size, expected):
    assert grid(np.zeros((1, *size, 1), np.uint8), 1).shape == (*expected, 3)


def test_large_images_keep_their_size():
    assert grid(np.zeros((1, 64, 64, 3), np.uint8), 1).shape == (64, 64, 3)


def test_png_is_lossless_and_leaves_nothing_else_behind(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    path = tmp_path / "new" / "samples.png"
    save_png(path, picture)
    np.testing.assert_array_equal(np.asarray(PILImage.open(path)), picture)
    assert list(path.parent.iterdir()) == [path]


def test_a_page_has_images_above_their_partners_and_as_many_in_a_row_as_fit():
    above, below = np.arange(10, 20, dtype=np.uint8), np.arange(110, 120, dtype=np.uint8)
    rows = (values[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8) for values in (above, below))
    middles = page_grid(*rows)[32::66, 32::66, 0]
    white = [255] * 6
    assert middles.tolist() == [[*above[:8]], [*below[:8]], [*above[8:], *white], [*below[8:], *white]]
    assert page_grid(np.zeros((3, 300, 300, 3), np.uint8)).shape == (602, 602, 3)
    assert page_grid(np.zeros((1, 8, 8, 1), np.uint8)).shape == (64, 64, 3)
