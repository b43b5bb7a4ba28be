"""loss.weighting=likelihood bounds the likelihood however times are drawn, or is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.builder import build_process
from score_jax.builder.objective import _draws
from score_jax.builder.sections import completed, made
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.losses.weighting import likelihood

PROCESSES = {
    "vp": {"name": "vp"},
    "ve": {"name": "ve"},
    "sub_vp": {"name": "sub_vp"},
    "edm": {"name": "edm"},
    "linear_ve": {"name": "linear_ve", "sigma_max": 10.0},
    "flow": {"name": "flow"},
    "cosine": {"name": "cosine"},
}


def config_of(process, **loss):
    config = base.get_config()
    base.replace_section(config, "process", **PROCESSES.get(process, {"name": process, "num_levels": 20}))
    evenly = loss.get("time_sampling", "uniform") not in ("log_normal", "logit_normal") and process in PROCESSES
    config.loss.update({"weighting": "likelihood"} | ({"t_min": 1e-3} if evenly else {}) | loss)
    return config


def draws_of(config):
    return _draws(made(completed(config), "loss"), build_process(config))


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("time_sampling", ["uniform", "stratified", "stratified_mixture"])
def test_the_mean_weight_is_that_of_uniform_times(process, time_sampling):
    """E[g² / sigma²] over times even on (t_min, t_max), by the log-SNR and log alpha of its ends: no draws in it."""
    config = config_of(process, time_sampling=time_sampling)
    process = build_process(config)
    draw = jax.jit(lambda key: draws_of(config)(key, 4095, None))
    means = []
    for seed in range(40):
        t, factors = draw(jax.random.key(seed))
        assert t.min() >= 1e-3 and t.max() <= process.t_max and factors.shape == (4095,)
        means.append(float(jnp.mean(factors * likelihood(process, t))))
    ends = jnp.array([1e-3, process.t_max])  # g² / sigma² = -d log-SNR / dt
    expected = float(-jnp.diff(process.log_snr(ends))[0] / (process.t_max - 1e-3))
    error = np.std(means, ddof=1) / len(means) ** 0.5
    assert np.mean(means) == pytest.approx(expected, abs=4 * error + 1e-3 * expected)
    assert error < 0.05 * expected


def test_other_weightings_keep_the_draws_they_were_published_with():
    for time_sampling in ("stratified_mixture", "log_normal", "logit_normal"):
        config = config_of("vp", weighting="eps", time_sampling=time_sampling)
        _, factors = draws_of(config)(jax.random.key(0), 8, None)
        np.testing.assert_array_equal(factors, 1.0)
    config = base.get_config()
    config.loss.name = "likelihood"
    np.testing.assert_array_equal(draws_of(config)(jax.random.key(0), 8, None)[1], 1.0)


@pytest.mark.parametrize("time_sampling", ["log_normal", "logit_normal"])
@pytest.mark.parametrize("process", ["vp", "edm", "flow"])
def test_draws_that_miss_the_ends_are_refused(process, time_sampling):
    config = config_of(process, time_sampling=time_sampling)
    with pytest.raises(InputError, match=f"loss.time_sampling={time_sampling} is no bound"):
        draws_of(config)


@pytest.mark.parametrize("weighting", ["likelihood", "velocity"])
def test_chains_have_no_such_weighting(weighting):
    config = config_of("vp_chain", weighting=weighting)
    config.prediction.label = "index"
    config.sampler.update(name="ddim", num_steps=20)
    with pytest.raises(InputError, match="needs a process in continuous time"):
        builder.experiment(config)


@pytest.mark.parametrize(("t_min", "time_sampling"), [(0.0, "stratified_mixture"), (-1.0, "uniform"), (1.0, "uniform")])
def test_times_outside_the_process_are_refused(t_min, time_sampling):
    config = config_of("vp", t_min=t_min, time_sampling=time_sampling)
    with pytest.raises(InputError, match="loss.t_min="):
        draws_of(config)
