"""Truncated-normal dequantisation: a bound on the probability of levels where that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import score_jax as sj
from score_jax.errors import InputError
from score_jax.likelihood.truncated_normal import draw

STD = 0.02
"""Of the data, in units of x0: two and a half levels."""
HALF = 1 / 255
"""Half a level in [-1, 1]."""
PROCESS = sj.VP()


def score(x, t):
    """Of N(0, STD²) at every t."""
    variance = (STD * PROCESS.alpha(t)) ** 2 + PROCESS.sigma(t) ** 2
    return -x / variance.reshape(-1, *[1] * (x.ndim - 1))


IMAGES = np.random.default_rng(0).integers(120, 136, (64, 2, 2, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def found():
    options = dict(divergence="exact", batch_size=64, importance_samples=16, sensitivity_batches=0)
    return sj.bits_per_dim(score, PROCESS, IMAGES, output="score", dequantization="truncated_normal", **options)


def exact_and_bound(noise):
    """Mean bits of the levels under N(0, STD² + noise²), and the bound of one draw, by quadrature."""
    centres, std = 2 * np.arange(256) / 255 - 1, np.hypot(STD, noise)
    probability = np.diff(stats.norm.cdf(np.stack([centres - HALF, centres + HALF]), scale=std), axis=0)[0]
    q = stats.truncnorm(-HALF / noise, HALF / noise, scale=noise)

    def of_level(centre):
        def integrand(u):
            return q.pdf(u) * (q.logpdf(u) - stats.norm.logpdf(centre + u, scale=std))

        return integrate.quad(integrand, -HALF, HALF)[0]

    levels = IMAGES.reshape(-1)
    bound = {level: of_level(centres[level]) for level in np.unique(levels)}
    return -np.log2(probability[levels]).mean(), np.mean([bound[level] for level in levels]) / np.log(2)


def test_the_path_starts_where_half_a_level_is_three_deviations_of_the_noise(found):
    noise = float(PROCESS.noise_to_signal(jnp.asarray(found.summary["t_min"])))
    assert noise == pytest.approx(HALF / 3, rel=1e-3)
    assert found.summary["conventions"]["dequantisation"] == "truncated_normal"


def test_it_is_the_bound_of_its_formula_and_tightens_to_the_probability(found):
    exact, bound = exact_and_bound(HALF / 3)
    one, many = found.summary["bpd_ode_truncated_normal"], found.summary["bpd_ode_truncated_normal_iw16"]
    draws = found.columns["log_prob"] / (4 * np.log(2))
    error = draws.std(axis=1, ddof=1).mean() / draws.size**0.5
    assert one == pytest.approx(bound, abs=4 * error + 2e-3)
    assert exact + 0.05 < bound  # there is something to be gained
    assert exact - 2e-3 < many < one - 0.03


def test_the_density_is_that_of_the_draws():
    """Its mean is the entropy of a normal law that is cut; on a wide law it is uniform."""
    like = jnp.zeros((2000, 3))
    for std in (0.1, 0.3, 100.0):
        noise, log_q = draw(jax.random.split(jax.random.key(0), 2000), like, jnp.asarray(std), 0.25)
        assert np.abs(noise).max() <= 0.25
        law = stats.truncnorm(-0.25 / std, 0.25 / std, scale=std)
        np.testing.assert_allclose(log_q, law.logpdf(noise).sum(axis=1), atol=1e-3)
        assert np.mean(log_q) == pytest.approx(-3 * law.entropy(), abs=0.1)
        np.testing.assert_allclose(noise.std(), law.std(), rtol=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="more than 0"):
        draw(jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 2)), jnp.asarray(0.1), 0.0)
    with pytest.raises(InputError, match="leave likelihood.truncation out"):
        sj.bits_per_dim(score, PROCESS, IMAGES, dequantization="truncated_normal", truncation="bound")
    with pytest.raises(InputError, match="models of the pixels of images of 8 bits"):
        sj.log_prob(score, PROCESS, np.zeros((2, 3), np.float32), dequantization="truncated_normal")


@pytest.mark.parametrize("process", [sj.VP(), sj.vp_chain("linear", 50)], ids=["VP", "chain"])
def test_the_front_door_bounds_levels_under_every_process(process):
    images = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1), np.uint8)
    how = dict(dequantization="truncated_normal", divergence="exact", batch_size=8, sensitivity_batches=0)
    how |= dict(control="grid", solver="adams", num_steps=32)
    found = sj.bits_per_dim(lambda x, t: x, process, images, **how)
    assert 7 < found.summary["bpd_ode_truncated_normal"] < 12


def test_a_path_that_starts_after_the_end_is_refused():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    with pytest.raises(InputError, match="would start at 2, but the process ends at 1"):
        sj.bits_per_dim(lambda x, t: 0 * x, sj.VP(), images, t_min=2.0, control="grid")
