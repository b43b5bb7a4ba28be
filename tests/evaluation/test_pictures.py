"""A picture of whatever samples are."""

import numpy as np
import pytest

from score_jax.evaluation.image_grid import grid
from score_jax.evaluation.pictures import picture


def test_images_are_a_grid_about_as_wide_as_high():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(picture(images), grid(images, 6))
    np.testing.assert_array_equal(picture(images, most=16), grid(images[:16], 4))


def test_points_are_where_they_are():
    """One point to the right and one twice at the top: two dark places, there."""
    points = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], np.float32).reshape(3, 1, 1, 2)
    shown = picture(points)[..., 0]
    rows, columns = np.nonzero(shown < 255)
    side = shown.shape[0]
    top = rows < side / 4
    assert shown.shape == (512, 512) and top.any() and not top.all()
    assert abs(columns[top].mean() / side - 0.5) < 0.02 and columns[~top].mean() / side > 0.95
    assert abs(rows[~top].mean() / side - 0.5) < 0.02 and rows[top].mean() / side < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_other_numbers_are_rows_from_black_to_white(dtype):
    rows = np.array([[0, 255, 0], [255, 255, 0]], dtype).reshape(2, 1, 1, 3)
    shown = picture(rows)[::8, ::8, 0]
    np.testing.assert_array_equal(shown, [[0, 255, 0], [255, 255, 0]])


def test_points_that_are_all_the_same_or_not_finite_are_shown():
    assert picture(np.zeros((3, 1, 1, 2), np.float32)).shape == (512, 512, 3)
    assert picture(np.full((2, 1, 1, 2), np.nan, np.float32)).shape == (512, 512, 3)
