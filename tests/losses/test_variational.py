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
from score_jax.prediction.reverse import VARIANCES, ReverseKernel, reverse_kernel
from score_jax.processes.chain import Chain, vp_chain
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


def test_pages_form_is_near_the_normal_law(x64):
    z = jnp.linspace(-4, 4, 81)
    np.testing.assert_allclose(variational.approximate_normal_cdf(z), norm.cdf(z), atol=2e-4)


def test_a_levels_probability_is_that_of_its_bin_and_the_outer_ones_have_the_tails(x64):
    levels = np.array([0, 1, 130, 254, 255]) / 127.5 - 1
    mean, std = np.array([-0.98, -0.98, 0.03, 0.97, 0.98]), 0.02
    edges = norm.cdf((levels[:, None] + np.array([-1, 1]) / 255 - mean[:, None]) / std)
    edges[0, 0], edges[-1, 1] = 0, 1
    found = variational.discretised_normal_log_prob(*(jnp.asarray(a) for a in (levels, mean, np.full(5, np.log(std)))))
    np.testing.assert_allclose(np.exp(found), np.diff(edges, axis=1)[:, 0], rtol=5e-3)
    far = variational.discretised_normal_log_prob(jnp.array([0.5]), jnp.array([-0.5]), jnp.array([-5.0]))
    np.testing.assert_allclose(far, -12 * np.log(10), rtol=1e-9)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-0.5, 3.5)])
def test_levels_have_the_same_probability_in_any_range(value_range, x64):
    (low, high), x0 = value_range, draws(3)
    width = (high - low) / 2
    t, log_variance = jnp.zeros(3), jnp.full((3, DIM), -6.0)

    def decoded(x0, mean, log_variance, *value_range):
        kernel = ReverseKernel(mean, jnp.exp(log_variance), log_variance)
        return variational.term(CHAIN, kernel, x0, x0, t, *value_range)

    expected = decoded(x0, 0.9 * x0, log_variance)
    moved = (low + width * (x + 1) for x in (x0, 0.9 * x0))
    np.testing.assert_allclose(decoded(*moved, log_variance + 2 * np.log(width), value_range), expected, rtol=1e-9)


def test_the_prior_term_is_a_divergence_from_the_prior(x64):
    """KL of N(alpha x0, sigma²) from N(0, prior_std²) by quadrature, over d ln 2."""
    chain = Chain(np.log([0.9, 0.5]), np.array([0.3, 1.5]), prior_std=2.0)
    x0 = np.array([[0.4, -1.0, 2.0]])
    z = np.linspace(-16, 16, 20_001)
    q, p = norm(0.5 * x0[0][:, None], 1.5), norm(0, 2.0)
    kl = (q.pdf(z) * (q.logpdf(z) - p.logpdf(z))).sum(axis=1) * (z[1] - z[0])
    np.testing.assert_allclose(variational.prior_term(chain, jnp.asarray(x0)), kl.mean() / np.log(2), rtol=1e-8)


def test_the_simple_losses_are_errors_of_what_the_network_outputs(x64):
    x0, noise = jax.random.normal(jax.random.key(2), (2, 3, 5))
    t = jnp.array([1.0, 50.0, 199.0])
    x = CHAIN.perturb(x0, t, noise)
    prediction = exact()(x, t)
    means = [CHAIN.posterior(x, of, t, t - 1)[0] for of in (prediction.x0, x0)]
    errors = {"eps": prediction.eps - noise, "x0": prediction.x0 - x0, "mean": means[0] - means[1]}
    for output, error in errors.items():
        found = variational.simple(CHAIN, prediction, output, x0, x, t, noise)
        np.testing.assert_allclose(found, np.mean(error**2, axis=1), rtol=1e-9)
