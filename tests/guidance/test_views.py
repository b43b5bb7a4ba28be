"""Views of images: exact warps, closed forms, kornia's numbers, and what must not matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.guidance import views as views_of_images
from score_jax.guidance.views import (
    affine_matrix,
    average_pooled,
    clip_views,
    draw_affine,
    draw_perspective,
    perspective_matrix,
    random_affine,
    random_perspective,
    tiled,
    warped,
)

PADDINGS = ("border", "zeros")
MANY = 2000


def images(b=2, h=6, w=8, c=3, seed=0, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), (b, h, w, c), dtype)


def keys(count, seed=1):
    return jax.random.split(jax.random.key(seed), count)


def moved(x, matrix, padding):
    """By one matrix for all."""
    return warped(x, jnp.broadcast_to(jnp.asarray(matrix, x.dtype), (len(x), 3, 3)), padding)


def shift(right, down):
    return [[1, 0, right], [0, 1, down], [0, 0, 1]]


def places(matrices, points):
    """Where homographies (n, 3, 3) take points (m, 2)."""
    ends = np.asarray(matrices, float) @ np.concatenate([points, np.ones((len(points), 1))], axis=1).T
    return (ends[:, :2] / ends[:, 2:]).swapaxes(1, 2)


@pytest.mark.parametrize("size", [(12, 12, 8), (13, 7, 5), (5, 6, 9), (4, 4, 4), (8, 8, 2)])
def test_pooling_is_the_mean_of_each_bin(size):
    h, w, n = size
    x = images(h=h, w=w)
    found = average_pooled(x, n)
    for i in range(n):
        for j in range(n):
            rows = slice(i * h // n, int(np.ceil((i + 1) * h / n)))
            columns = slice(j * w // n, int(np.ceil((j + 1) * w / n)))
            np.testing.assert_allclose(found[:, i, j], x[:, rows, columns].mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_the_identity_of_any_scale_keeps_an_image(padding, scale):
    x = images()
    np.testing.assert_allclose(moved(x, scale * np.eye(3), padding), x, atol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_of_a_square_is_exact(turns):
    x = images(h=7, w=7)
    turned = moved(x, affine_matrix(90.0 * turns, jnp.zeros(2), (7, 7)), "zeros")
    np.testing.assert_allclose(turned, jnp.rot90(x, -turns, axes=(1, 2)), atol=1e-5)  # clockwise


def test_a_shift_shows_the_border_or_zeros():
    x = images()
    border, zeros = (moved(x, shift(2, -1), padding) for padding in PADDINGS)
    np.testing.assert_allclose(border[:, :-1, 2:], x[:, 1:, :-2], atol=1e-5)
    np.testing.assert_allclose(border[:, :-1, :2], jnp.repeat(x[:, 1:, :1], 2, axis=2), atol=1e-5)
    np.testing.assert_allclose(border[:, -1, 2:], x[:, -1, :-2], atol=1e-5)
    np.testing.assert_allclose(zeros[:, :-1, 2:], x[:, 1:, :-2], atol=1e-5)
    np.testing.assert_allclose(zeros[:, :, :2], 0, atol=1e-5)
    np.testing.assert_allclose(zeros[:, -1], 0, atol=1e-5)


def test_half_a_pixel_is_the_mean_of_two_and_fades_at_zeros():
    x = images()
    border, zeros = (moved(x, shift(0.5, 0), padding) for padding in PADDINGS)
    np.testing.assert_allclose(border[:, :, 1:], (x[:, :, 1:] + x[:, :, :-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(border[:, :, 0], x[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(zeros[:, :, 0], x[:, :, 0] / 2, atol=1e-5)


def test_a_horizon_within_the_image_is_finite():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, -1.0]])  # its inverse has a column where the scale is 0
    inverse = np.linalg.inv(matrix)
    assert abs(inverse[2] @ [2, 0, 1]) < 1e-12
    assert np.isfinite(moved(images(), matrix, "zeros")).all()


def test_corners_go_where_they_are_told():
    size, corners = (6, 9), jnp.array([[1.0, 0.5], [7.5, 1.0], [6.0, 4.5], [0.25, 5.0]])
    found = places(perspective_matrix(corners, size)[None], np.array([[0, 0], [8, 0], [8, 5], [0, 5]]))[0]
    np.testing.assert_allclose(found, corners, atol=1e-5)


@pytest.mark.usefixtures("x64")
def test_kornias_numbers():
    """RandomAffine and RandomPerspective of kornia 0.9.0 with these parameters, in float64."""
    size = (4, 5)
    x = jnp.cos(jnp.arange(20.0) ** 2).reshape(1, *size, 1)
    turned = moved(x, affine_matrix(12.0, jnp.array([0.0, -0.3]), size), "border")
    expected = [
        [0.993472, 0.368190, -0.176524, -0.698300, -0.944017],
        [0.896324, -0.067363, 0.450215, 0.426295, 0.554667],
        [0.399209, 0.139820, 0.808822, 0.609218, 0.400350],
        [0.197169, 0.371924, 0.283209, -0.930746, -0.758063],
    ]
    np.testing.assert_allclose(turned[0, :, :, 0], expected, atol=1e-6)
    corners = jnp.array([[0.5, 0.9], [3.2, 0.1], [3.9, 2.5], [1.2, 2.0]])
    seen = moved(x, perspective_matrix(corners, size), "zeros")
    expected = [
        [0.0, -0.008756, -0.481011, -0.821020, -0.452268],
        [0.0, 0.204538, 0.009301, 0.441743, 0.505805],
        [0.0, 0.083153, 0.925034, 0.101603, 0.088284],
        [0.0, 0.0, 0.0, 0.0, -0.062894],
    ]
    np.testing.assert_allclose(seen[0, :, :, 0], expected, atol=1e-6)


def test_affine_draws_are_turns_and_falls():
    h, w = size = (10, 20)
    matrices = np.asarray(jax.vmap(lambda key: draw_affine(key, size))(keys(MANY)), float)
    degrees = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    centre = np.array([[(w - 1) / 2, (h - 1) / 2]])
    right, down = (places(matrices, centre)[:, 0] - centre).T
    np.testing.assert_allclose(right, 0, atol=1e-5)
    for values, most in ((degrees, 15), (down, 0.1 * h)):
        assert 0.99 * most < values.max() <= most * 1.0001
        assert -0.99 * most > values.min() >= -most * 1.0001
        np.testing.assert_allclose(values.mean(), 0, atol=4 * most / np.sqrt(3 * MANY))
        np.testing.assert_allclose(values.std(), most / np.sqrt(3), rtol=0.05)
    assert abs(np.corrcoef(degrees, down)[0, 1]) < 0.1


def test_perspective_draws_move_each_corner_inwards():
    h, w = size = (10, 20)
    matrices = jax.vmap(lambda key: draw_perspective(key, size))(keys(MANY))
    start = np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]])
    inwards = (places(matrices, start) - start) * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    shares = (inwards / (0.35 * np.array([w, h]))).reshape(MANY, 8)
    assert shares.min() > -1e-4 and shares.max() < 1 + 1e-4
    assert (shares.min(axis=0) < 0.01).all() and (shares.max(axis=0) > 0.99).all()
    np.testing.assert_allclose(shares.mean(axis=0), 0.5, atol=0.03)
    assert np.abs(np.corrcoef(shares.T) - np.eye(8)).max() < 0.1


@pytest.mark.parametrize("warp", [random_affine, random_perspective])
def test_seven_in_ten_are_warped_and_the_others_untouched(warp):
    x = tiled(images(1, 4, 4, 1), MANY)
    same = np.asarray(warp(keys(MANY), x) == x).all(axis=(1, 2, 3))
    np.testing.assert_allclose(same.mean(), 0.3, atol=4 * np.sqrt(0.21 / MANY))


@functools.partial(jax.jit, static_argnames=("size", "count"))
def views(keys, x, size, count):
    return clip_views(keys, x, size, count)


def test_views_are_the_images_then_their_random_copies():
    x, ks = images(3, 12, 10), keys(3)
    pooled, found = average_pooled(x, 8), views(ks, x, 8, 4)
    assert found.shape == (12, 8, 8, 3)
    np.testing.assert_allclose(found[:3], pooled, atol=1e-6)
    np.testing.assert_allclose(views(ks, x, 8, 1), pooled, atol=1e-6)
    colours = jnp.broadcast_to(jnp.arange(1.0, 4)[:, None, None, None], x.shape)
    brightest = views(ks, colours, 8, 4).max(axis=(1, 2, 3))
    np.testing.assert_allclose(brightest, np.tile([1, 2, 3], 4), atol=1e-5)
    assert len(np.unique(np.asarray(found).round(4), axis=0)) > 9  # the copies of an image differ


def test_an_affine_map_continues_the_border_and_a_perspective_does_not():
    white = jnp.ones((20, 6, 6, 1))
    np.testing.assert_allclose(random_affine(keys(20), white), 1, atol=1e-6)
    assert (random_perspective(keys(20), white)[:, 0, 0, 0] < 0.5).any()


def test_the_two_warps_are_chosen_independently():
    found = views(keys(MANY), tiled(images(1, 4, 4, 1), MANY), 4, 2)
    same = np.asarray(found[:MANY] == found[MANY:]).all(axis=(1, 2, 3))
    np.testing.assert_allclose(same.mean(), 0.3**2, atol=4 * np.sqrt(0.09 * 0.91 / MANY))


def test_copies_without_warps_are_tiles(monkeypatch):
    monkeypatch.setattr(views_of_images, "_PROBABILITY", 0.0)
    x = images(2, 12, 12)
    np.testing.assert_array_equal(clip_views(keys(2), x, 8, 3), tiled(average_pooled(x, 8), 3))


@pytest.mark.slow
def test_an_image_does_not_depend_on_its_batch():
    x, ks = images(3), keys(3)
    whole = views(ks, x, 6, 4).reshape(4, 3, 6, 6, 3)
    order = jnp.array([2, 0])
    part = views(ks[order], x[order], 6, 4).reshape(4, 2, 6, 6, 3)
    np.testing.assert_allclose(part, whole[:, order], atol=5e-6)
    more = views(ks, x, 6, 6).reshape(6, 3, 6, 6, 3)
    np.testing.assert_allclose(more[:4], whole, atol=5e-6)


@pytest.mark.usefixtures("x64")
def test_gradients_are_finite_differences():
    x, ks, direction = images(dtype=jnp.float64), keys(2, seed=3), images(seed=5, dtype=jnp.float64)

    def loss(x):
        return jnp.sum(jnp.sin(views(ks, x, 5, 3)))

    step = 1e-6
    difference = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(x), direction), difference, rtol=1e-8)


def test_no_views_are_refused():
    with pytest.raises(InputError, match="0 views"):
        clip_views(keys(2), images(), 4, 0)
