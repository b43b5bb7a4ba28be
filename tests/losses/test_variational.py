"""The variational bound where every term is known: normal data, whose best model makes it the entropy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_jax.arrays import keys_per_example
from score_jax.errors import InputError
from score_jax.losses import variational
from score_jax.prediction.predictor import score_predictor
from score_jax.prediction.reverse import VARIANCES, reverse_kernel
from score_jax.processes.chain import vp_chain
from score_jax.processes.noise import brownian

CHAIN, STD, DIM = vp_chain("linear", 200), 0.25, 64


def exact(std=STD):
    def score(x, t):
        return -x / ((CHAIN.alpha(t) * std) ** 2 + CHAIN.sigma(t) ** 2)[:, None]

    return score_predictor(score, CHAIN)


def with_exact_variance(predictor):
    """Told the true variance of x_s given x_t, too: of normal data v_s - (a v_s)² / v_t."""

    def told(x, t):
        a, _ = CHAIN.kernel(t, t - 1)
        v_s, v_t = ((CHAIN.alpha(u) * STD) ** 2 + CHAIN.sigma(u) ** 2 for u in (t - 1, t))
        log_variance = jnp.log(v_s - (a * v_s) ** 2 / v_t)
        return dataclasses.replace(predictor(x, t), variance=jnp.broadcast_to(log_variance[:, None], x.shape))

    return told


def draws(count=256):
    x0 = STD * jax.random.normal(jax.random.key(0), (count, DIM))
    levels = jnp.round((jnp.clip(x0, -1, 1) + 1) * 127.5)
    return levels / 127.5 - 1


def whole_bound(predictor, x0, variance="fixed_small"):
    path = brownian(keys_per_example(jax.random.key(1), jnp.arange(len(x0))), x0)
    run = jax.jit(lambda x0: variational.bound(predictor, CHAIN, VARIANCES[variance], x0, path))
    return run(x0)


def entropy_bits():
    """Of one 8-bit level of N(0, STD²)."""
    levels = np.arange(256) / 127.5 - 1
    p = norm.cdf(levels + 1 / 255, scale=STD) - norm.cdf(levels - 1 / 255, scale=STD)
    return -(p * np.log2(p)).sum()


def test_the_bound_of_the_true_model_is_the_entropy():
    """With the true variances the bound is tight; the fixed ones cost what they are off, most at the last levels."""
    tight = float(whole_bound(with_exact_variance(exact()), draws(), "learned").total.mean())
    np.testing.assert_allclose(tight, entropy_bits(), atol=0.03)
    bound = whole_bound(exact(), draws())
    assert bound.total.mean() > tight + 0.3
    worse = whole_bound(exact(0.4), draws())
    assert worse.total.mean() > bound.total.mean() + 0.05
    np.testing.assert_allclose(bound.total, bound.prior + bound.terms.sum(axis=1), rtol=1e-5)


def test_rate_and_distortion():
    bound = whole_bound(exact(), draws())
    rate, distortion = variational.rate_distortion(bound)
    assert (np.diff(rate) > 0).all() and rate.shape == distortion.shape == (200,)
    np.testing.assert_allclose(rate[-1], bound.total.mean(), rtol=1e-5)
    # With no bits the best guess is the mean: the error is the data's spread; at the end it is the posterior's.
    np.testing.assert_allclose(distortion[0], 127.5 * STD, rtol=0.05)
    assert distortion[-1] < 0.1 * distortion[0]


def test_a_kl_of_equal_laws_is_zero_and_of_others_the_closed_form():
    zero, one = jnp.zeros((1, 3)), jnp.ones((1, 3))
    np.testing.assert_array_equal(variational.normal_kl(one, zero, one, zero), zero)
    expected = 0.5 * (4 + (1 - 3) ** 2 - 1 - np.log(4))
    np.testing.assert_allclose(variational.normal_kl(one, np.log(4) * one, 3 * one, zero), expected * one, rtol=1e-6)


def test_the_levels_probabilities_sum_to_one():
    levels = jnp.asarray(np.arange(256) / 127.5 - 1)[None]
    mean, log_std = jnp.full((1, 256), 0.3), jnp.full((1, 256), np.log(0.4))
    log_prob = variational.discretised_normal_log_prob(levels, mean, log_std)
    np.testing.assert_allclose(jnp.exp(log_prob).sum(), 1.0, rtol=1e-5)
    true = norm.cdf(levels + 1 / 255, 0.3, 0.4) - norm.cdf(levels - 1 / 255, 0.3, 0.4)
    np.testing.assert_allclose(jnp.exp(log_prob)[0, 1:-1], true[0, 1:-1], atol=2e-5)  # of the tanh form


@pytest.mark.parametrize("simple_output", ["eps", None])
def test_the_hybrid_objective_trains_the_mean_by_its_fit_alone(simple_output):
    """The bound's gradient reaches the learned variance, and the mean only where it is the objective."""
    x0, t = draws(8), jnp.arange(8.0) * 20
    noise = jax.random.normal(jax.random.key(2), x0.shape)

    def loss(shift, v):
        def predictor(x, t):
            prediction = exact()(x, t)
            eps = prediction.eps + shift
            alpha, sigma = CHAIN.alpha(t)[:, None], CHAIN.sigma(t)[:, None]
            x0_hat = (x - sigma * eps) / alpha
            return type(prediction)(x0_hat, eps, -eps / sigma, v * jnp.ones_like(x))

        parts = variational.variational(
            predictor, CHAIN, VARIANCES["learned_range"], x0, t, noise, simple_output=simple_output, vb_scale=1.0
        )
        return parts["loss"].mean(), parts

    (of_shift, of_v), parts = jax.grad(loss, argnums=(0, 1), has_aux=True)(0.1, 0.2)
    assert abs(of_v) > 1e-4
    if simple_output is None:
        assert set(parts) == {"loss", "vb"}
    else:
        fit = jax.grad(lambda shift: jnp.mean((exact()(CHAIN.perturb(x0, t, noise), t).eps + shift - noise) ** 2))(0.1)
        np.testing.assert_allclose(of_shift, fit, rtol=1e-4)


def test_variances_lie_between_the_two_fixed_ones():
    x, t = jnp.ones((3, 4)), jnp.array([1.0, 50.0, 199.0])
    small, large = (
        np.asarray(VARIANCES[name](CHAIN, None, x, t, t - 1)[0])[:, 0] for name in ("fixed_small", "fixed_large")
    )
    assert (small < large).all()
    for said, expected in ((-1.0, small), (1.0, large)):
        variance, log_variance = VARIANCES["learned_range"](CHAIN, jnp.full_like(x, said), x, t, t - 1)
        np.testing.assert_allclose(variance[:, 0], expected, rtol=1e-4)
        np.testing.assert_allclose(jnp.exp(log_variance), variance, rtol=1e-6)
    with pytest.raises(InputError, match="twice the channels"):
        reverse_kernel(CHAIN, exact()(x, t), x, t, t - 1, VARIANCES["learned"])


def test_the_last_step_has_no_variance_but_a_finite_logarithm():
    x, t = jnp.ones((1, 4)), jnp.zeros(1)
    variance, log_variance = VARIANCES["fixed_small"](CHAIN, None, x, t, t - 1)
    before = VARIANCES["fixed_small"](CHAIN, None, x, t + 1, t)[0]
    assert variance.item() == 0.0
    np.testing.assert_allclose(jnp.exp(log_variance), before, rtol=1e-5)
