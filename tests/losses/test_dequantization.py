"""The noise between levels and the bound that it is trained by, on their own: laws and errors that are known."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from score_jax.losses import dequantization
from score_jax.prediction.predictor import from_eps
from score_jax.processes.gaussian import VE

KEYS = jax.random.split(jax.random.key(2), 6)


def test_the_noise_has_the_density_it_says(x64):
    """u = sigmoid of a logistic variable: its density is the logistic one of logit u over u (1 - u)."""
    location, log_scale = jnp.full((6, 5), 0.7), jnp.full((6, 5), -0.4)
    u, log_q = dequantization.draw(KEYS, location, log_scale)
    u = np.asarray(u)
    law = stats.logistic(loc=0.7, scale=np.exp(-0.4))
    expected = law.logpdf(np.log(u / (1 - u))) - np.log(u * (1 - u))
    np.testing.assert_allclose(log_q, expected.sum(axis=1), rtol=1e-9)
    _, of_uniform = dequantization.draw(KEYS, jnp.zeros((6, 5)), jnp.zeros((6, 5)))
    np.testing.assert_allclose(of_uniform, 0, atol=1e-12)


def test_the_noise_has_the_law_of_its_density(x64):
    keys = jax.random.split(jax.random.key(0), 20_000)
    u, _ = dequantization.draw(keys, jnp.full((20_000, 1), 0.7), jnp.full((20_000, 1), -0.4))
    u = np.asarray(u)[:, 0]
    assert stats.kstest(np.log(u / (1 - u)), stats.logistic(loc=0.7, scale=np.exp(-0.4)).cdf).pvalue > 1e-3


def test_the_bound_of_a_constant_error_is_known(x64):
    """log q + half of the range of log-SNR times d c², for a model that is off by c in each of d dimensions."""
    process, asked = VE(0.1, 10.0), []

    def model(x, t):  # of images that are 0, the noise is known
        return from_eps(x / process.sigma(t)[:, None] + 0.3, x, t, process)

    def time(position):
        asked.append(position)
        return position

    log_q = jnp.arange(6.0)
    found = dequantization.negative_bound(model, process, KEYS, jnp.zeros((6, 5)), log_q, time, 8.0)
    np.testing.assert_allclose(found, np.arange(6) + 4 * 5 * 0.09, rtol=1e-9)
    positions = np.sort(asked[0])
    assert positions[0] >= 0 and positions[-1] < 1
    np.testing.assert_allclose(np.diff(positions), 1 / 6, rtol=1e-9)
