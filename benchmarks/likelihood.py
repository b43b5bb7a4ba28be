"""Is the ODE likelihood exact? Log-likelihood of a Gaussian mixture with its exact score, against the closed form.

    python benchmarks/likelihood.py [--json] [--quick]

The solver's error is measured with the true terminal law; what the prior in its place costs is a claim of its own,
since no tolerance can mend it. The closed form is that of the law at t_min, not at 0.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from report import Claim, emit
from score_jax.data.toys import four_gaussians
from score_jax.likelihood import log_likelihood
from score_jax.predictor import score_predictor
from score_jax.processes.gaussian import VE, VP, GaussianProcess, SubVP
from score_jax.samplers.ode import AdaptiveODE

T_MIN = 1e-5
PROCESSES = {"vp": VP(), "sub_vp": SubVP(), "ve": VE(0.01, 10.0)}
# The prior of VE at sigma 10 is off by the spread of the data over sigma².
PRIOR_MEAN_TARGETS = {"vp": 5e-4, "sub_vp": 5e-4, "ve": 1e-2}


def errors(process: GaussianProcess, dtype, tolerance: float, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Errors in nats per point with the true terminal law and with the prior, and the mean NFE."""
    mixture = four_gaussians(dtype)
    x = mixture.sample(jax.random.key(0), count)
    predictor = score_predictor(lambda y, t: mixture.score(y, t, process), process)
    keys = jax.random.split(jax.random.key(1), count)

    @jax.jit
    def run(x):
        result = log_likelihood(
            predictor,
            process,
            keys,
            x,
            divergence="exact",
            ode=AdaptiveODE("tsit5", tolerance, tolerance),
            t_min=T_MIN,
            terminal_log_prob=lambda z: mixture.log_prob(z, jnp.ones_like(z[:, 0]), process),
        )
        exact = mixture.log_prob(x, jnp.full_like(x[:, 0], T_MIN), process)
        with_prior = process.prior_log_prob(result.latent) + result.divergence
        return result.log_prob - exact, with_prior - exact, result.nfe.mean(), result.ok.all()

    true_law, prior, nfe, ok = jax.device_get(run(x))
    assert ok
    return true_law, prior, float(nfe)


def measure(count: int) -> list[Claim]:
    """All claims."""
    claims = []
    for name, process in PROCESSES.items():
        for dtype, tolerance, target in ((jnp.float64, 1e-8, 1e-6), (jnp.float32, 1e-5, 1e-3)):
            bits = jnp.dtype(dtype).name
            error, prior_error, nfe = errors(process, dtype, tolerance, count)
            how = f"Tsit5 {tolerance:g}, true terminal law, {count} points, NFE {nfe:.0f}"
            claims.append(
                Claim(f"mixture_{name}_{bits}_max_nats", float(np.abs(error).max()), "nats", target, "<=", how)
            )
            if dtype == jnp.float32:
                rms = float(np.sqrt(np.mean(error**2)))
                claims.append(Claim(f"mixture_{name}_{bits}_rms_nats", rms, "nats", 1e-4, "<=", how))
            else:
                mean, worst = abs(float(prior_error.mean())), float(np.abs(prior_error).max())
                how = f"the prior for the true terminal law, mean; largest {worst:.2g}"
                target = PRIOR_MEAN_TARGETS[name]
                claims.append(Claim(f"mixture_{name}_prior_mean_nats", mean, "nats", target, "<=", how))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    began = time.monotonic()
    return emit("likelihood", measure(64 if arguments.quick else 512), began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
