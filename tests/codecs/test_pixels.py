import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.codecs.pixels import Pixels

LEVELS = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_levels_survive_the_round_trip_in_float64(value_range, x64):
    x = Pixels(*value_range).encode(LEVELS)
    assert (float(x.min()), float(x.max())) == value_range
    # Truncation needs a hair above the level, which rounding may take away.
    np.testing.assert_array_equal(Pixels(*value_range).decode(x + 1e-9), LEVELS)


def test_out_of_range_is_clipped_and_fractions_are_truncated():
    x = jnp.array([-2.0, 2.0, -1 + 2 * 10.9 / 255]).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(Pixels().decode(x).ravel(), [0, 255, 10])


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_dequantised_levels_fill_their_bins(value_range):
    low, high = value_range
    keys = jax.random.split(jax.random.key(0), 500)
    x = Pixels(*value_range).dequantize(keys, jnp.broadcast_to(LEVELS, (500, 16, 16, 1)))
    position = (x - low) / (high - low) * 256 - LEVELS
    assert position.min() > -1e-3 and position.max() < 1 + 1e-3
    np.testing.assert_allclose(position.mean(0), 0.5, atol=0.07)
    np.testing.assert_allclose(position.std(), 12**-0.5, rtol=0.02)
    same = Pixels(*value_range).dequantize(keys[:2], jnp.broadcast_to(LEVELS, (2, 16, 16, 1)))
    np.testing.assert_array_equal(same, x[:2])
