"""Grids whose steps leave Gaussian data far from their variance: mended by default, refused where asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sections import sampling_of

from score_jax.builder import build_process
from score_jax.builder.sections import completed
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.samplers import coarseness, grids
from score_jax.samplers.sample import sample

PROCESSES = {
    "vp": {"name": "vp"},
    "ve": {"name": "ve", "sigma_max": 10.0},
    "sub_vp": {"name": "sub_vp"},
    "edm": {"name": "edm"},
    "linear_ve": {"name": "linear_ve", "sigma_max": 10.0},
    "flow": {"name": "flow"},
    "cosine": {"name": "cosine"},
    "vp_chain": {"name": "vp_chain", "num_levels": 1000},
    "cosine_chain": {"name": "vp_chain", "schedule": "cosine", "num_levels": 1000},
    "jsd_chain": {"name": "vp_chain", "schedule": "jsd", "num_levels": 1000},
}
STD = 0.1


def built(process, **sampler):
    config = base.get_config()
    base.replace_section(config, "process", **PROCESSES[process])
    reads = "chain" not in process and sampler.get("name") not in ("heun", "euler")
    config.sampler.update(**({"denoise": False} if reads else {}) | sampler)
    process = build_process(config)
    return process, sampling_of(config, process)


def measured(process, **sampler):
    """Variance of what a deterministic sampler makes of one number, over what the flow makes of it."""
    process, sampling = built(process, **sampler)
    score = score_predictor(lambda x, t: -x / ((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)[:, None], process)
    draw = jax.jit(
        lambda x: (
            sample(
                sampling.see(score),
                sampling.process,
                sampling.sampler,
                jax.random.key(0),
                jnp.arange(1),
                (1,),
                initial=x,
            ).x
        )
    )
    first, last = sampling.sampler.method.grid[jnp.array([0, -1])]
    start, end = (float((sampling.process.alpha(t) * STD) ** 2 + sampling.process.sigma(t) ** 2) for t in (first, last))
    return float(draw(jnp.ones((1, 1)))[0, 0]) ** 2 * start / end


FLOW = {"name": "reverse_diffusion", "probability_flow": True}


@pytest.mark.parametrize(
    ("process", "sampler", "factor"),
    [
        ("linear_ve", {"name": "ddim"}, "ddim"),
        ("flow", FLOW, "reverse_diffusion"),
        ("vp_chain", FLOW, "reverse_diffusion"),
    ],
)
def test_the_predicted_variance_is_the_samplers(process, sampler, factor):
    found = measured(process, **sampler, num_steps=320)
    process, sampling = built(process, **sampler, num_steps=320)
    of = getattr(coarseness, f"{factor}_factor")
    predicted = coarseness.variance_ratio(of, sampling.process, sampling.sampler.method.grid, STD)
    np.testing.assert_allclose(predicted, found, rtol=1e-2)
    assert 1 / 1.25 < found < 1.6


@pytest.mark.parametrize("rule", ["euler_maruyama", "ddim", "ancestral", "reverse_diffusion", "predictor_corrector"])
def test_time_that_is_a_noise_level_has_its_own_grid(rule):
    process, sampling = built("linear_ve", name=rule, num_steps=160)
    np.testing.assert_allclose(sampling.sampler.method.grid, grids.log_snr(160, process, 1e-3, 10.0), rtol=1e-6)
    with pytest.raises(InputError, match="sampler.grid=uniform with sampler.num_steps=160 is too coarse for linear_ve"):
        built("linear_ve", name=rule, num_steps=160, grid="uniform")


@pytest.mark.parametrize("process", ["flow", "cosine"])
@pytest.mark.parametrize("sampler", [FLOW, {"name": "predictor_corrector", "probability_flow": True}])
def test_half_of_the_score_takes_steps_even_in_log_snr(process, sampler):
    _, sampling = built(process, **sampler, num_steps=320)
    assert sampling.sampler.method.grid[1] > 0.97  # even in time it would be 0.996 at flow, and 1 - 3 / 320 later
    with pytest.raises(InputError, match="in 160 steps gives samples 2.* times the variance of the data"):
        built(process, **sampler, num_steps=160)
    with pytest.raises(InputError, match="choose ddim"):
        built(process, **sampler, num_steps=320, grid="uniform")


@pytest.mark.parametrize("process", ["cosine_chain", "jsd_chain"])
@pytest.mark.parametrize("num_steps", [160, 320, 1000])
def test_half_of_the_score_is_refused_where_a_step_takes_all_signal(process, num_steps):
    with pytest.raises(InputError, match="times the variance of the data .* under process vp_chain: choose ddim"):
        built(process, **FLOW, num_steps=num_steps)


def test_few_steps_of_the_processes_it_was_made_for_are_told(capsys):
    built("vp", **FLOW, num_steps=37)
    assert "in 37 steps gives samples 4.8 times" in capsys.readouterr().out
    built("vp", **FLOW, num_steps=320)
    built("vp_chain", **FLOW, num_steps=320)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("process", ["vp", "ve", "sub_vp", "edm", "flow", "cosine"])
def test_other_grids_are_even_in_time_to_the_bit(process):
    for sampler in ({"name": "euler_maruyama"}, {"name": "ddim"}, {"name": "euler_maruyama", "probability_flow": True}):
        process_, sampling = built(process, **sampler, num_steps=50)
        with jax.ensure_compile_time_eval():  # as the sampler's, whose rounding it has
            expected = grids.uniform(50, 1e-3, process_.t_max)
        np.testing.assert_array_equal(sampling.sampler.method.grid, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "ddim", "num_steps": 0}, "sampler.num_steps=0: give at least 1"),
        ({"name": "ddim", "num_steps": -3}, "sampler.num_steps=-3: give at least 1"),
        ({"name": "langevin", "steps_per_level": 0}, "sampler.steps_per_level=0: give at least 1"),
        ({"name": "predictor_corrector", "corrector_steps": -1}, "sampler.corrector_steps=-1: give at least 0"),
    ],
)
def test_counts_below_one_are_refused(values, message):
    for process in ("vp", "vp_chain"):
        with pytest.raises(InputError, match=message):
            built(process, **values)


def test_an_earlier_run_of_noise_levels_gets_their_grid():
    """Its config.json has the old default, which is refused where it is asked for anew."""
    for process, version, grid in (("linear_ve", 1, "auto"), ("linear_ve", 2, "uniform"), ("vp", 1, "uniform")):
        config = base.get_config()
        base.replace_section(config, "process", **PROCESSES[process])
        config.sampler.grid, config.version = "uniform", version
        assert completed(config).sampler.grid == grid
