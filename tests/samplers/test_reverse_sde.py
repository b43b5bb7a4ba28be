"""The reverse SDE by adaptive steps: one path under every tolerance, and what is said where a solve cannot be done."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.data.toys import four_gaussians
from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VE, VP, LinearVE
from score_jax.samplers.reverse_sde import AdaptiveSDE, integrate_reverse_sde

PROCESSES = {"vp": VP(), "ve": VE(0.01, 10.0)}
KEYS = jax.random.split(jax.random.key(0), 8)


def solved(process, sde, keys=KEYS, t1=1e-2):
    """Of a mixture in the plane, from one state per key."""
    model = score_predictor(lambda x, t: four_gaussians().score(x, t, process), process)
    x = process.prior_sample(keys, jnp.zeros((len(keys), 2), jnp.result_type(float)))
    solve = functools.partial(integrate_reverse_sde, model, process, t1=t1, sde=sde)
    return jax.jit(lambda keys, x: solve(keys, x))(keys, x)


@pytest.mark.parametrize("name", ["vp", pytest.param("ve", marks=pytest.mark.slow)])
def test_the_error_along_one_path_falls_with_the_tolerance(name, x64):
    process = PROCESSES[name]
    coarse, middle, fine = (solved(process, AdaptiveSDE(tol, tol)) for tol in (0.3, 0.03, 1e-3))
    assert fine.ok.all()
    errors = [np.abs(solution.x - fine.x).max(axis=1) for solution in (coarse, middle)]
    assert np.median(errors[1]) < 0.25 * np.median(errors[0]) and np.median(errors[1]) < 0.01
    assert (coarse.nfe < middle.nfe).all() and (middle.nfe < fine.nfe).all()
    # Two solves along other paths are as far apart as two samples.
    other = solved(process, AdaptiveSDE(0.03, 0.03), jax.random.split(jax.random.key(1), 8))
    assert np.median(np.abs(other.x - fine.x).max(axis=1)) > 0.1


def test_evaluations_are_counted():
    calls, process = [], PROCESSES["vp"]

    def score(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return four_gaussians().score(x, t, process)

    model, x = score_predictor(score, process), jax.random.normal(jax.random.key(0), (1, 2))
    solution = integrate_reverse_sde(model, process, KEYS[:1], x, 1e-2, AdaptiveSDE(0.5, 0.5))
    jax.effects_barrier()
    assert int(solution.nfe[0]) == len(calls)


def test_a_solve_that_is_given_up_is_reported():
    assert not solved(PROCESSES["vp"], AdaptiveSDE(0.05, 0.05, max_steps=8)).ok.any()


def test_there_must_be_noise_at_the_end():
    with pytest.raises(InputError, match="sampler.t_min=0: there is no noise at this time"):
        solved(LinearVE(10.0), AdaptiveSDE(), t1=0.0)
