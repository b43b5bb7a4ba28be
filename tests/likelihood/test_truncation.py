"""The step from t_min to the data, of a model whose error is known at every draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.likelihood.ode import truncation_bound
from score_jax.prediction.predictor import from_eps
from score_jax.processes.gaussian import VP


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_the_gain_is_that_of_the_drawn_noise_and_of_the_models_error(error, x64):
    """log N(x0; x0_hat, (sigma / alpha)²) - log q(x_t | x0) = d log alpha + |eps|² / 2 - d c² / 2 of an error c."""
    process, x0 = VP(), jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 5)))

    def model(x, t):
        alpha, sigma = process.alpha(t)[:, None, None], process.sigma(t)[:, None, None]
        return from_eps((x - alpha * x0) / sigma + error, x, t, process)

    x, gain = truncation_bound(model, process, jax.random.split(jax.random.key(1), 3), x0, 0.1)
    t = jnp.full(3, 0.1)
    eps = (x - process.alpha(t)[:, None, None] * x0) / process.sigma(t)[:, None, None]
    assert 0.5 < eps.std() < 1.5
    squares = np.sum(np.asarray(eps).reshape(3, -1) ** 2, axis=1)
    log_alpha = -0.25 * 0.01 * 19.9 - 0.5 * 0.1 * 0.1
    np.testing.assert_allclose(gain, 10 * log_alpha + 0.5 * squares - 0.5 * 10 * error**2, rtol=1e-8)
