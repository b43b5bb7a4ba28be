"""Claims of `likelihood.py` where everything is known: normal laws and mixtures with their exact scores."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from report import Claim
from score_jax.data.toys import GaussianMixture, four_gaussians
from score_jax.likelihood.bits import importance_weighted
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.prediction.predictor import answering_in, score_predictor
from score_jax.processes.gaussian import VE, VP, GaussianProcess, SubVP
from score_jax.samplers.ode import AdaptiveODE

T_MIN = 1e-5
PROCESSES = {"vp": VP(), "sub_vp": SubVP(), "ve": VE(0.01, 10.0)}
# The prior of VE at sigma 10 is off by the spread of the data over sigma².
PRIOR_MEAN_TARGETS = {"vp": 5e-4, "sub_vp": 5e-4, "ve": 1e-2}
Errors = tuple[np.ndarray, np.ndarray, float]


def normal_law(dim: int, dtype) -> GaussianMixture:
    """One component."""
    return GaussianMixture(jnp.linspace(-1.0, 1.0, dim, dtype=dtype)[None], jnp.array([0.3], dtype), jnp.ones(1, dtype))


def mixture_law(dim: int, dtype) -> GaussianMixture:
    """The four components of the plane; in more dimensions their centres repeat."""
    plane = four_gaussians(dtype)
    return GaussianMixture(jnp.tile(plane.means, (1, dim // 2)), plane.stds, plane.weights)


def errors(make: Callable, dim: int, bits: str, process: GaussianProcess, tolerance: float, count: int) -> Errors:
    """Errors in nats per point with the true terminal law and with the prior, and the mean NFE.

    bits: float32, float64, or mixed, the score in float32 and the solve in float64.
    """
    with jax.enable_x64(bits != "float32"):
        single = make(dim, jnp.float32)
        # The same law in all of them: 0.3 is another number in float32, and 3072 dimensions add up the difference.
        law = jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(float)), single)
        predictor = score_predictor(lambda y, t: law.score(y, t, process), process)
        if bits == "mixed":
            in_float32 = score_predictor(lambda y, t: single.score(y, t, process), process)
            predictor = answering_in(jnp.float32, in_float32)
        return _errors(law, predictor, process, tolerance, count)


def _errors(law: GaussianMixture, predictor, process: GaussianProcess, tolerance: float, count: int) -> Errors:
    x = law.sample(jax.random.key(0), count)
    keys = jax.random.split(jax.random.key(1), count)

    @jax.jit
    def run(x):
        result = log_prob(
            predictor,
            process,
            keys,
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("tsit5", tolerance, tolerance),
            t_min=T_MIN,
            terminal_log_prob=lambda z: law.log_prob(z, jnp.ones_like(z[:, 0]), process),
        )
        exact = law.log_prob(x, jnp.full_like(x[:, 0], T_MIN), process)
        with_prior = process.prior_log_prob(result.latent) + result.divergence
        return result.log_prob - exact, with_prior - exact, result.nfe.mean(), result.ok.all()

    true_law, prior, nfe, ok = jax.device_get(run(x))
    assert ok
    return true_law, prior, float(nfe)


def plane_claims(count: int) -> list[Claim]:
    """The mixture in the plane under three processes, and what the prior in place of the true law costs."""
    claims = []
    for name, process in PROCESSES.items():
        for bits, tolerance, target in (("float64", 1e-8, 1e-6), ("float32", 1e-5, 1e-3)):
            error, prior_error, nfe = errors(mixture_law, 2, bits, process, tolerance, count)
            how = f"Tsit5 {tolerance:g}, true terminal law, {count} points, NFE {nfe:.0f}"
            largest = float(np.abs(error).max())
            claims.append(Claim(f"mixture_{name}_{bits}_max_nats", largest, "nats", target, "<=", how))
            if bits == "float32":
                rms = float(np.sqrt(np.mean(error**2)))
                claims.append(Claim(f"mixture_{name}_{bits}_rms_nats", rms, "nats", 1e-4, "<=", how))
            else:
                mean, worst = abs(float(prior_error.mean())), float(np.abs(prior_error).max())
                how = f"the prior for the true terminal law, mean; largest {worst:.2g}"
                target = PRIOR_MEAN_TARGETS[name]
                claims.append(Claim(f"mixture_{name}_prior_mean_nats", mean, "nats", target, "<=", how))
    return claims


def dimension_claims(dims: tuple[int, ...], count: Callable[[int], int]) -> list[Claim]:
    """VP in 2, 64 and 3072 dimensions; in the last a float32 sum of thousands of nats has no 1e-3 left."""
    claims = []
    for kind, make in (("gaussian", normal_law), ("mixture", mixture_law)):
        for dim in dims:
            # The error of the sum grows with its terms.
            closer = 1 if dim == 2 else 10 if dim == 64 else 100

            def largest(bits: str, tolerance: float, make=make, dim=dim, closer=closer) -> tuple[float, float]:
                error, _, nfe = errors(make, dim, bits, PROCESSES["vp"], tolerance / closer, count(dim))
                return float(np.abs(error).max()), nfe

            for bits, tolerance, bar in (("float64", 1e-8, 1e-6), ("float32", 1e-5, 1e-3)):
                found, nfe = largest(bits if dim <= 64 or bits == "float64" else "mixed", tolerance)
                how = f"VP, Tsit5 {tolerance / closer:g}, exact divergence, true terminal law, {count(dim)} points"
                if dim > 64 and bits == "float32":
                    how += f", the solve in float64 ({largest(bits, tolerance)[0]:.1g} in float32)"
                claims.append(Claim(f"{kind}_{dim}_{bits}_max_nats", found, "nats", bar, "<=", f"{how}, NFE {nfe:.0f}"))
    return claims


def _linear(dim: int):
    """A normal law with a correlated covariance, its score under VP, and a draw from it."""
    process, root = VP(), 0.3 * jnp.tril(jnp.ones((dim, dim))) + 0.3 * jnp.eye(dim)
    covariance = root @ root.T

    def score(x, t):
        def one(x, t):
            marginal = process.alpha(t) ** 2 * covariance + process.sigma(t) ** 2 * jnp.eye(dim)
            return -jnp.linalg.solve(marginal, x)

        return jax.vmap(one)(x, t)

    return process, score_predictor(score, process), lambda key, n: jax.random.normal(key, (n, dim)) @ root.T


def coverage_claim(repeats: int) -> Claim:
    """How often the truth lies within 1.96 reported standard errors of the mean over 16 examples, 4 probes each."""
    examples, dim = 16, 6
    process, predictor, draw = _linear(dim)
    x = jnp.asarray(draw(jax.random.key(0), examples), jnp.float32)
    ode = AdaptiveODE("dopri5", 1e-4, 1e-4)

    def run(keys, x, divergence):
        return log_prob(predictor, process, keys, x, divergence=divergence, ode=ode, t_min=T_MIN)

    truth = jax.jit(functools.partial(run, divergence=Divergence("exact")))(
        jax.random.split(jax.random.key(1), examples), x
    ).log_prob.mean()
    estimated = jax.jit(functools.partial(run, divergence=Divergence("rademacher", 4)))
    keys = jax.random.split(jax.random.key(2), repeats * examples)
    found = estimated(keys, jnp.tile(x, (repeats, 1)))
    mean = found.log_prob.reshape(repeats, examples).mean(axis=1)
    error = jnp.sqrt(jnp.sum(found.standard_error.reshape(repeats, examples) ** 2, axis=1)) / examples
    covered = float(jnp.mean(jnp.abs(mean - truth) < 1.96 * error))
    how = f"{covered:.3f} of {repeats} repeats are within 1.96 standard errors; 0.95 expected"
    return Claim("hutchinson_coverage_off", abs(covered - 0.95), "", 0.02, "<=", how)


def dequantisation_claim(count: int) -> Claim:
    """The bound by 1, 2, 4, 8 dequantisations of levels as wide as the law."""
    law, process, width = GaussianMixture(jnp.zeros((1, 2)), jnp.array([0.3]), jnp.ones(1)), VP(), 0.5
    level = jnp.floor(law.sample(jax.random.key(0), count) / width)
    predictor = score_predictor(lambda y, t: law.score(y, t, process), process)
    keys = jax.random.split(jax.random.key(1), count)

    @jax.jit
    def run(u):
        x, ode = width * (level + u), AdaptiveODE("dopri5", 1e-4, 1e-4)
        return log_prob(predictor, process, keys, x, divergence=Divergence("exact"), ode=ode, t_min=T_MIN).log_prob

    draws = jax.random.uniform(jax.random.key(2), (8, count, 2))
    log_probs = jnp.stack([run(u) for u in draws], axis=1)
    bits = [
        -float(importance_weighted(log_probs[:, :k]).mean() / jnp.log(2.0) + 2 * jnp.log2(width)) for k in (1, 2, 4, 8)
    ]
    cdf = functools.partial(jax.scipy.stats.norm.cdf, scale=0.3)
    exact = -float(jnp.log2(cdf(width * (level + 1)) - cdf(width * level)).sum(axis=1).mean())
    how = f"K 1, 2, 4, 8: {', '.join(f'{b:.3f}' for b in bits)} bits; exact {exact:.3f}; the largest step up"
    return Claim("dequantization_monotone_bits", float(np.diff([*bits, exact]).max()), "bits", 0.0, "<=", how)
