"""Data that are no pixels: as they are, or black and white."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.arrays import keys_per_example
from score_jax.codecs.bits import Bits
from score_jax.codecs.codec import Codec
from score_jax.codecs.numbers import Numbers
from score_jax.codecs.pixels import Pixels


@pytest.mark.parametrize("codec", [Pixels(), Numbers(), Bits()], ids=str)
def test_each_is_a_codec(codec):
    assert isinstance(codec, Codec)
    low, high = codec.bounds
    assert codec.width == high - low and codec.shape((1, 1, 7)) == (1, 1, 7)


def test_numbers_stay_as_they_are():
    x = jnp.array([-5.0, 0.1, 7.0]).reshape(1, 1, 1, 3)
    codec, keys = Numbers(-1.0, 2.0), keys_per_example(jax.random.key(0), jnp.arange(1))
    for x0 in (codec.encode(x), codec.dequantize(keys, x)):
        np.testing.assert_array_equal(x0, x)
    assert codec.decode(x).dtype == codec.dtype and codec.log_bin_width == 0.0
    np.testing.assert_array_equal(codec.decode(x), x)


def test_bits_are_black_and_white_from_a_level_on():
    levels = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    codec = Bits(100)
    x0 = codec.encode(levels)
    assert float(x0.sum()) == 156 and float(x0.ravel()[99]) == 0 and float(x0.ravel()[100]) == 1
    images = codec.decode(x0)
    assert images.dtype == codec.dtype and set(np.unique(images)) == {0, 255}
    np.testing.assert_array_equal(codec.encode(images), x0)
