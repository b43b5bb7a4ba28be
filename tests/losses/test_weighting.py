"""Weights at a level with round numbers: alpha 0.8, sigma 0.6, or alpha 1, sigma 0.2 or 3."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses.weighting import WEIGHTINGS, edm, min_snr, sigma_power
from score_jax.processes.chain import Chain

CHAIN, T = Chain(np.log([1.0, 0.8, 1.0]), np.array([0.2, 0.6, 3.0])), np.arange(3.0)
EXPECTED = {
    "eps": (1, 1, 1),
    "x0": (0.04, 0.5625, 9),
    "v": (1.04**2, 1 / 0.64, 100),
    "min_snr": (0.2, 1, 1),
    "truncated_snr": (1, 1, 9),
    "edm": (1.16, 3.25, 37),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_weights_are_the_papers_on_the_error_of_eps(name, x64):
    np.testing.assert_allclose(WEIGHTINGS[name](CHAIN, jnp.asarray(T)), EXPECTED[name], rtol=1e-12)


def test_weights_have_the_settings_of_their_papers(x64):
    t = jnp.asarray(T)
    np.testing.assert_allclose(min_snr(CHAIN, t, gamma=10.0), (0.4, 1, 1), rtol=1e-12)
    np.testing.assert_allclose(edm(CHAIN, t, sigma_data=1.0), (1.04, 1.5625, 10), rtol=1e-12)
    for power, expected in ((2.0, (1, 1, 1)), (3.0, (0.2, 0.6, 3)), (0.0, (25, 1 / 0.36, 1 / 9))):
        np.testing.assert_allclose(sigma_power(power)(CHAIN, t), expected, rtol=1e-12)
