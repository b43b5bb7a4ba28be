"""Latent diffusion's loss: its weights are those of the bound, its log variances have a known best value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.losses import latent, variational
from score_jax.losses.score_matching import denoising
from score_jax.losses.weighting import WEIGHTINGS
from score_jax.prediction.posterior_mix import posterior_mix
from score_jax.prediction.predictor import from_eps, from_x0
from score_jax.prediction.reverse import reverse_kernel
from score_jax.processes.chain import vp_chain

CHAIN = vp_chain("scaled_linear", 20, 0.3, 6.0)
COUNT, DIM = 19, 6


def drawn(dtype):
    key = jax.random.key(0)
    x0, noise = (jax.random.normal(jax.random.fold_in(key, k), (COUNT, DIM), dtype) for k in range(2))
    return x0, jnp.arange(1.0, 20.0, dtype=dtype), noise


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_weights_of_eps_are_those_of_the_bound(share, x64):
    """The terms of the bound of two models with the same variance differ by what their errors do, weighted."""
    x0, t, noise = drawn(jnp.float64)
    x = CHAIN.perturb(x0, t, noise)
    bounds, errors = [], []
    for error in (0.0, 0.4):
        prediction = from_eps(noise + error, x, t, CHAIN)
        kernel = reverse_kernel(CHAIN, prediction, x, t, t - 1, posterior_mix(share))
        bounds.append(variational.term(CHAIN, kernel, x0, x, t) * np.log(2.0))
        errors.append(denoising(lambda x, t, p=prediction: p, CHAIN, x0, t, noise) / DIM)
    weights = latent.elbo_weights(CHAIN, "eps", share)
    np.testing.assert_allclose(weights[1:] * (errors[1] - errors[0]), bounds[1] - bounds[0], rtol=1e-9)
    assert weights[0] == weights[1]


def test_weights_of_other_outputs():
    """Of x0 with the original's denominator, which counts the least noise half as much as sigma² and more."""
    t = jnp.arange(20.0)
    signal = np.asarray(CHAIN.alpha(t)) ** 2
    of_x0 = latent.elbo_weights(CHAIN, "x0")
    np.testing.assert_allclose((of_x0 * (2 - signal) / np.sqrt(signal))[1:], 0.5, rtol=1e-5)
    assert of_x0[0] == of_x0[1]
    np.testing.assert_array_equal(latent.elbo_weights(CHAIN, "v"), np.ones(20))
    with pytest.raises(InputError, match="score"):
        latent.elbo_weights(CHAIN, "score")
    with pytest.raises(InputError, match="two levels"):
        latent.elbo_weights(vp_chain(num_levels=1), "eps")


def test_the_best_log_variance_is_the_log_of_the_error():
    errors, t = jnp.array([0.5, 2.0, 1.0]), jnp.array([0.0, 3.0, 4.0])

    def loss(table):
        return jnp.sum(latent.by_level(errors, t, log_variances=table, simple_weight=0.7)["loss"])

    best = jnp.array([jnp.log(0.5), 0.0, 0.0, jnp.log(2.0), 0.0])
    np.testing.assert_allclose(jax.grad(loss)(best), 0.0, atol=1e-6)
    np.testing.assert_allclose(loss(best), 0.7 * float(jnp.sum(1 + jnp.log(errors))), rtol=1e-6)
    # Levels that were not drawn learn nothing.
    gradient = jax.grad(loss)(best + 0.3)
    assert (gradient[jnp.array([1, 2])] == 0).all() and (gradient[jnp.array([0, 3, 4])] > 0).all()


def test_without_variances_and_weights_it_is_the_error():
    errors, t = jnp.array([0.5, 2.0]), jnp.array([1.0, 3.0])
    parts = latent.by_level(errors, t)
    assert set(parts) == {"loss", "simple", "gamma"}
    np.testing.assert_array_equal(parts["loss"], errors)
    table = np.array([1.0, 2.0, 3.0, 4.0])
    parts = latent.by_level(errors, t, log_variances=np.zeros(4), weights=table, elbo_weight=0.1)
    np.testing.assert_allclose(parts["vlb"], [1.0, 8.0])
    np.testing.assert_allclose(parts["loss"], [0.6, 2.8], rtol=1e-6)


OF_X0 = {"x0": lambda alpha, sigma: 1.0, "eps": lambda alpha, sigma: alpha / sigma, "v": lambda alpha, sigma: 1 / sigma}
"""The error of each output over that of x0."""


@pytest.mark.parametrize("output", OF_X0)
def test_absolute_and_squared_errors_of_each_output(output):
    """Of a model whose x0 is wrong by 0.3 everywhere."""
    x0, t, noise = drawn(jnp.float32)
    expected = 0.3 * OF_X0[output](CHAIN.alpha(t), CHAIN.sigma(t))

    def model(x, t):
        return from_x0(x0 + 0.3, x, t, CHAIN)

    for error, power in (("l1", 1), ("l2", 2)):
        values = denoising(model, CHAIN, x0, t, noise, WEIGHTINGS[output], error)
        np.testing.assert_allclose(values, DIM * np.broadcast_to(expected, COUNT) ** power, rtol=1e-4)
    with pytest.raises(InputError, match="loss.error"):
        denoising(model, CHAIN, x0, t, noise, WEIGHTINGS[output], "huber")
