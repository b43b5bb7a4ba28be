"""Resizes against Pillow, closed forms and each other; the evaluators' own numbers are in the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage
from scipy.ndimage import map_coordinates

from score_jax.evaluation import resize
from score_jax.evaluation.inception import input_rule
from score_jax.evaluation.input_rule import InputRule, _prepared_by, prepared, prepared_alone

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (1, 9, 14, 3), dtype=np.uint8)
HOW = ["tf1", "torch", "clean", "torch_bicubic", "pillow"]
SIZES = [(23, 31), (5, 6), (9, 14), (40, 7)]


@pytest.mark.parametrize("size", SIZES)
def test_clean_is_pillows_bicubic_on_floats(size):
    channels = [PILImage.fromarray(IMAGE[0, :, :, c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize(size[::-1], PILImage.Resampling.BICUBIC)) for channel in channels]
    expected = np.clip(np.stack(resized, axis=-1), 0, 255)
    np.testing.assert_allclose(resize.resize(jnp.asarray(IMAGE, jnp.float32), size, "clean")[0], expected, atol=1e-3)


@pytest.mark.parametrize("length", [5, 64, 224, 700])
@pytest.mark.parametrize("out", [1, 31, 224])
def test_pillow_is_pillows_bicubic_on_bytes_to_the_bit(length, out):
    shape = (length, length, 3)
    image = RNG.choice(np.array([0, 255, 128, 7], np.uint8), shape)  # overshoots, which Pillow clips after each axis
    expected = PILImage.fromarray(image).resize((out, out), PILImage.Resampling.BICUBIC)
    found = resize.resize(jnp.asarray(image[None], jnp.float32), (out, out), "pillow")[0]
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_antialias_without_clipping_overshoots():
    edge = jnp.where(jnp.arange(8) < 4, 0.0, 255.0)[None, None, :, None] * jnp.ones((1, 8, 1, 1))
    clipped, whole = (resize.resize(edge, (8, 16), how) for how in ("clean", "torch_bicubic"))
    np.testing.assert_array_equal(clipped, jnp.clip(whole, 0, 255))
    assert whole.min() < -5 and whole.max() > 260


def test_channels_have_centres_of_their_own_and_grey_images_too():
    rule = InputRule(4, "torch_bicubic", (10.0, 20.0, 40.0), (1.0, 2.0, 4.0))
    seen = prepared(jnp.full((1, 4, 4, 3), 50, jnp.uint8), rule)
    np.testing.assert_allclose(seen[0, 2, 1], [40, 15, 2.5], rtol=1e-5)
    np.testing.assert_allclose(seen, prepared(jnp.full((1, 9, 5, 1), 50, jnp.uint8), rule), rtol=1e-5)


@pytest.mark.parametrize("kind", resize.PILLOW_FILTERS)
@pytest.mark.parametrize("size", SIZES)
def test_every_filter_is_pillows(kind, size):
    channel = IMAGE[0, :, :, 0].astype(np.float32)
    expected = PILImage.fromarray(channel).resize(size[::-1], PILImage.Resampling[kind.upper()])
    rows, columns = (resize.pillow_matrix(old, new, kind) for old, new in zip(channel.shape, size, strict=True))
    np.testing.assert_allclose(rows @ channel @ columns.T, np.asarray(expected), atol=1e-3)


@pytest.mark.parametrize("how", HOW)
def test_rows_sum_to_one_and_nothing_changes_at_the_same_size(how):
    image = jnp.asarray(IMAGE, jnp.float32)
    np.testing.assert_allclose(resize.resize(image, (9, 14), how), image, atol=1e-3)
    np.testing.assert_allclose(resize.resize(jnp.full_like(image, 100.0), (30, 5), how), 100, atol=1e-3)


def test_half_a_pixel_is_the_difference():
    ramp = jnp.arange(4.0)[None, None, :, None] * jnp.ones((1, 2, 1, 1))
    tf1, torch = (resize.resize(ramp, (2, 8), how)[0, 0, :, 0] for how in ("tf1", "torch"))
    np.testing.assert_allclose(tf1, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    np.testing.assert_allclose(torch, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    np.testing.assert_allclose(resize.aligned_matrix(4, 7) @ np.arange(4.0), np.linspace(0, 3, 7))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", [(9, 14, 3), (32, 64, 3), (1, 40, 1), (333, 50, 3)])
def test_an_image_prepared_alone_is_as_one_of_a_batch(how, shape):
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    rule = input_rule(how, 128.0)
    alone, together = prepared_alone(image, rule), prepared(jnp.asarray(image[None]), rule)[0]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    if shape == (32, 64, 3):  # needs no padding
        np.testing.assert_array_equal(alone, jax.jit(lambda x: prepared(x, rule))(jnp.asarray(image[None]))[0])


@pytest.mark.parametrize("length", [32, 256, 512])
@pytest.mark.parametrize(("shifted", "matrix"), [(True, resize.tf1_matrix), (False, resize.half_pixel_matrix)])
def test_a_sampling_grid_is_the_rule_of_tf1_where_it_is_shifted(length, shifted, matrix):
    """Coordinates in [-1, 1] over whole pixels, moved by 1 / length - 1 / 299 or, as those of `jax_fid`
    (Lyy-iiis/imeanflow, utils/jax_fid/resize.py), where they are. What lies outside is the border.
    """
    coordinates = (2 * np.arange(299) + 1) / 299 - 1 + shifted * (1 / length - 1 / 299)
    row, places = RNG.uniform(0, 255, length), ((coordinates + 1) * length - 1) / 2
    expected = map_coordinates(row, places[None], order=1, mode="nearest")
    np.testing.assert_allclose(matrix(length, 299) @ row, expected, rtol=1e-9)


def test_images_of_many_sizes_need_few_programs():
    lengths = {resize.padded_length(n) for n in range(300, 4001)}
    assert len(lengths) < 40 and all(resize.padded_length(n) >= n for n in range(1, 5000))
    few = {1: 32, 32: 32, 33: 64, 512: 512, 513: 576, 1024: 1024, 1025: 1152, 4000: 4096}
    assert {length: resize.padded_length(length) for length in few} == few
    _prepared_by.clear_cache()
    for height in range(33, 65, 4):
        prepared_alone(np.zeros((height, 40, 3), np.uint8), input_rule("tf1", 128.0))
    assert _prepared_by._cache_size() == 1
