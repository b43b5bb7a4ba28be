"""The class embedder and the rescaler of segmentations, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import METHODS, SpatialRescaler, rescale

IMAGE = jax.random.normal(jax.random.key(0), (2, 8, 12, 3))


def test_a_class_is_one_token():
    embedder, table = ClassEmbedder(num_classes=5, width=4), np.arange(20, dtype=np.float32).reshape(5, 4)
    found = embedder.apply({"params": {"embedding": {"embedding": table}}}, jnp.array([4, 0]))
    np.testing.assert_array_equal(found, table[[4, 0]][:, None])
    declared = embedder.conditions((8, 8, 4))
    assert list(declared) == ["label"] and declared["label"].null == 4 and declared["label"].num_values == 5


def test_the_rescaler_declares_what_it_makes_the_size_of_x_of():
    rescaler = SpatialRescaler(stages=2, in_channels=182, out_channels=3)
    declared = rescaler.conditions((64, 128, 3))
    assert {name: each.shape for name, each in declared.items()} == {"segmentation": (256, 512, 182)}
    params = rescaler.init(jax.random.key(0), jnp.zeros((1, 8, 8, 182)))["params"]
    assert jax.tree.map(jnp.shape, params) == {"channel_mapper": {"kernel": (182, 3)}}
    assert rescaler.apply({"params": params}, jnp.zeros((1, 8, 12, 182))).shape == (1, 2, 3, 3)


def test_the_mapper_mixes_what_was_resized():
    kernel, bias = np.array([[1.0, 0], [0, 2], [0, 0]], np.float32), np.array([0.5, 0], np.float32)
    rescaler = SpatialRescaler(in_channels=3, out_channels=2, bias=True)
    found = rescaler.apply({"params": {"channel_mapper": {"kernel": kernel, "bias": bias}}}, IMAGE)
    expected = SpatialRescaler().apply({}, IMAGE)[..., :2] * np.array([1, 2]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(found, expected + bias.reshape(1, 1, 1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["bilinear", "area"])
def test_halving_is_the_mean_of_four(method):
    expected = IMAGE.reshape(2, 4, 2, 6, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(rescale(IMAGE, method, 0.5), expected, rtol=1e-5, atol=1e-6)


def test_nearest_takes_the_first_of_each_pair():
    np.testing.assert_array_equal(rescale(IMAGE, "nearest", 0.5), IMAGE[:, ::2, ::2])


def test_cubic_halving_has_pytorchs_coefficient():
    """Taps at 0.5 and 1.5 pixels: 19/32 and -3/32 of a = -0.75 (9/16 and -1/16 would be of a = -0.5); edges repeat."""
    expected = np.zeros((3, 6))
    for i in range(3):
        for tap, weight in zip(range(2 * i - 1, 2 * i + 3), (-3, 19, 19, -3), strict=True):
            expected[i, min(max(tap, 0), 5)] += weight / 32
    np.testing.assert_allclose(METHODS["bicubic"](6, 0.5), expected, atol=1e-12)


def test_odd_sizes_are_rounded_down_at_the_given_factor():
    """PyTorch puts the centres at 2 i + 1/2, whatever is left over; area's windows cover all."""
    np.testing.assert_allclose(METHODS["bilinear"](5, 0.5), [[0.5, 0.5, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    np.testing.assert_allclose(METHODS["area"](5, 0.5), np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]) / 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("multiplier", [0.25, 0.5, 2.0])
def test_a_constant_stays_one(method, multiplier):
    np.testing.assert_allclose(METHODS[method](12, multiplier) @ np.ones(12), np.ones(int(12 * multiplier)))


def test_what_does_not_fit_is_refused():
    for settings, x, message in (
        ({"method": "bicubics"}, IMAGE, "Did you mean 'bicubic'"),
        ({"stages": 4}, IMAGE, "An image of 1 x 1 times 0.5 is empty"),
        ({"in_channels": 4}, IMAGE, "has 3 channels where 4 are expected"),
    ):
        with pytest.raises(InputError, match=message):
            SpatialRescaler(**settings).apply({}, x)
