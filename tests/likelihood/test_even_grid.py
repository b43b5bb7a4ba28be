"""The likelihood on a grid that is even in log-SNR: exact for normal laws and mixtures, of every process."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.data.toys import four_gaussians
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.prediction.predictor import score_predictor
from score_jax.samplers.flow_variables import InLogSNR
from score_jax.samplers.ode import AdaptiveODE, EvenODE

PROCESSES = every_process(10.0)
T_MIN = 1e-5


@functools.cache
def errors(name, ode):
    """Of 32 points of a mixture in the plane by its exact score, with the true terminal law; and what was told."""
    process, mixture = PROCESSES[name], four_gaussians(jnp.float64)
    x, keys = mixture.sample(jax.random.key(0), 32), jax.random.split(jax.random.key(1), 32)
    found = jax.jit(
        lambda x: log_prob(
            score_predictor(lambda y, t: mixture.score(y, t, process), process),
            process,
            keys,
            x,
            divergence=Divergence("exact"),
            ode=ode,
            t_min=T_MIN,
            variables=InLogSNR(T_MIN),
            terminal_log_prob=lambda z: mixture.log_prob(z, jnp.full_like(z[:, 0], process.t_max), process),
        )
    )(x)
    assert found.ok.all()
    np.testing.assert_allclose(found.log_prob, found.prior_log_prob + found.divergence, rtol=1e-12)
    exact = mixture.log_prob(x, jnp.full_like(x[:, 0], T_MIN), process)
    return np.asarray(found.log_prob - exact), np.asarray(found.solver_error), int(found.nfe.max())


@pytest.mark.parametrize("name", PROCESSES)
def test_every_process_has_its_closed_form(name, x64):
    (coarse, told, nfe), (fine, _, _) = (errors(name, EvenODE(n)) for n in (64, 256))
    assert nfe == 65
    assert np.abs(coarse).max() < 0.02 and np.sqrt(np.mean(coarse**2)) < 5e-3
    assert np.abs(fine).max() < 2e-4
    assert np.sqrt(np.mean(told**2)) > np.sqrt(np.mean(coarse**2))


@pytest.mark.parametrize("ode", [EvenODE(48, "bosh3"), EvenODE(24, "dopri5"), AdaptiveODE("tsit5", 1e-6, 1e-6)])
def test_solvers_of_diffrax_agree(ode, x64):
    assert np.abs(errors("vp", ode)[0]).max() < 2e-3
