"""Every sampler on every process and every prediction: the law of a mixture in the plane, known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sections import sampling_of

from score_jax.builder import build_process
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.samplers.sample import sample

MEANS = np.array([[0.8, 0.2], [-0.6, 0.5], [-0.1, -0.9]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
STD, COUNT = 0.12, 1024

PROCESSES = {
    "ve": {"name": "ve", "sigma_min": 0.01, "sigma_max": 10.0},
    "vp": {"name": "vp"},
    "sub_vp": {"name": "sub_vp"},
    "edm": {"name": "edm", "sigma_max": 10.0},
    "linear_ve": {"name": "linear_ve", "sigma_max": 10.0},
    "flow": {"name": "flow"},
    "cosine": {"name": "cosine"},
    "vp_chain": {"name": "vp_chain", "num_levels": 400},
    "cosine_chain": {"name": "vp_chain", "schedule": "cosine", "num_levels": 400},
    "ve_chain": {"name": "ve_chain", "sigma_min": 0.01, "sigma_max": 10.0, "num_levels": 400},
}
CHAINS = ("vp_chain", "cosine_chain", "ve_chain")
SAMPLERS = {
    "euler_maruyama": {"num_steps": 200},
    "reverse_diffusion": {"num_steps": 200},
    "reverse_diffusion_flow": {"name": "reverse_diffusion", "probability_flow": True, "num_steps": 400},
    "ancestral": {"num_steps": 200},
    "ancestral_large": {"name": "ancestral", "variance": "fixed_large", "num_steps": 200},
    "ddim": {"num_steps": 100},
    "ddim_eta": {"name": "ddim", "eta": 1.0, "num_steps": 200},
    "plms": {"num_steps": 60},
    "heun": {"num_steps": 30},
    "heun_churn": {"name": "heun", "churn": 10.0, "num_steps": 50},
    "euler": {"num_steps": 80},
    "dpm_solver_2m": {"num_steps": 60, "grid": "log_snr"},
    "dpm_solver_2s": {"num_steps": 30, "grid": "log_snr"},
    "dpm_solver_3m": {"num_steps": 60, "grid": "log_snr"},
    "sde_dpm_solver_2m": {"num_steps": 80, "grid": "log_snr"},
    "unipc": {"num_steps": 60, "grid": "log_snr"},
    "unipc_2": {"name": "unipc", "order": 2, "num_steps": 60, "grid": "log_snr"},
    "deis": {"num_steps": 60},
    "deis_2": {"name": "deis", "order": 2, "num_steps": 60},
    "predictor_corrector": {"num_steps": 100, "corrector": "ald", "snr": 0.1},
    "ode": {"rtol": 1e-4, "atol": 1e-4},
    "sde": {},
}


def mixture_score(process):
    """Exact score of the mixture at time t."""

    def score(x, t):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        variance = (alpha * STD) ** 2 + sigma**2
        d = x[:, None] - alpha[:, None] * jnp.asarray(MEANS, x.dtype)[None]
        logits = jnp.log(jnp.asarray(WEIGHTS, x.dtype))[None] - jnp.sum(d**2, axis=2) / (2 * variance)
        return -jnp.einsum("bk,bkd->bd", jax.nn.softmax(logits, axis=1), d) / variance

    return score


def config_of(process: str, sampler: str):
    config = base.get_config()
    base.replace_section(config, "process", **PROCESSES[process])
    config.codec.value_range = (-3.0, 3.0)
    config.sampler.update({"name": sampler} | SAMPLERS[sampler])
    if process in CHAINS:  # which have their own times
        if "grid" in config.sampler:
            del config.sampler["grid"]
    # Their first-order steps need their length in the signal's scale.
    elif process in ("linear_ve", "flow", "cosine") and config.sampler.name not in ("heun", "euler", "ode", "sde"):
        config.sampler.grid = "log_snr"
    return config


@functools.cache
def drawn(process_name: str, sampler_name: str):
    config = config_of(process_name, sampler_name)
    process = build_process(config)
    sampling = sampling_of(config, process)
    model = sampling.see(score_predictor(mixture_score(process), process))

    @jax.jit
    def draw(key, indices):
        return sample(model, sampling.process, sampling.sampler, key, indices, (2,))

    return draw(jax.random.key(0), jnp.arange(COUNT))


# Euler-Maruyama and adaptive solves need continuous time.
PAIRS = [
    (process, sampler)
    for process in PROCESSES
    for sampler in SAMPLERS
    if process not in CHAINS or sampler not in ("euler_maruyama", "ode", "sde")
    # The rule is an expansion in beta, and the cosine schedule ends with 0.999.
    if (process, sampler) != ("cosine_chain", "reverse_diffusion_flow")
]


def fast_of(process: str, pairs: list[tuple[str, str]]) -> list:
    """Those of other processes are marked slow: all of them together take more than a minute."""
    return [pair if pair[0] == process else pytest.param(*pair, marks=pytest.mark.slow) for pair in pairs]


@pytest.mark.parametrize(("process", "sampler"), fast_of("vp", PAIRS))
def test_samples_have_the_law_of_the_mixture(process, sampler):
    result = drawn(process, sampler)
    x = np.asarray(result.x)
    assert result.ok.all() and np.isfinite(x).all()
    distance = np.linalg.norm(x[:, None] - MEANS, axis=2)
    nearest = distance.argmin(axis=1)
    # Multinomial: three standard errors at 1024 are 0.047; the rest is for the bias of steps.
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / COUNT, WEIGHTS, atol=0.06)
    within = x - MEANS[nearest]
    np.testing.assert_allclose(within.mean(axis=0), 0.0, atol=0.02)
    # Half of b² score is a first-order rule with a large constant: a sixth too wide at 400 steps.
    np.testing.assert_allclose(within.std(), STD, rtol=0.2 if sampler == "reverse_diffusion_flow" else 0.12)


@pytest.mark.parametrize("process", ["vp", "vp_chain", "ve_chain"])
def test_deterministic_samplers_agree(process):
    """From the same noise the flow leads to the same point, whichever solver follows it."""
    solvers = ("heun", "dpm_solver_2m", "dpm_solver_2s", "dpm_solver_3m", "unipc", "deis")
    ends = [np.asarray(drawn(process, sampler).x) for sampler in solvers]
    for end in ends[1:]:
        assert np.quantile(np.abs(end - ends[0]), 0.95) < 0.05


@pytest.mark.parametrize("process", CHAINS)
@pytest.mark.parametrize("sampler", ["euler_maruyama", "ode", "sde"])
def test_chains_have_no_sde(process, sampler):
    with pytest.raises(InputError):
        drawn(process, sampler)


def test_annealed_langevin_draws_the_mixture_from_uniform_noise():
    config = config_of("ve_chain", "ddim")
    base.replace_section(config, "process", name="ve_chain", sigma_min=0.02, sigma_max=3.0, num_levels=40)
    config.sampler.update(name="langevin", step_lr=4e-5, steps_per_level=20, initial="uniform")
    process = build_process(config)
    sampling = sampling_of(config, process)
    model = sampling.see(score_predictor(mixture_score(process), process))
    draw = jax.jit(lambda key: sample(model, sampling.process, sampling.sampler, key, jnp.arange(COUNT), (2,)))
    result = draw(jax.random.key(1))
    assert int(result.nfe[0]) == 801
    nearest = np.linalg.norm(np.asarray(result.x)[:, None] - MEANS, axis=2).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / COUNT, WEIGHTS, atol=0.08)
    np.testing.assert_allclose((np.asarray(result.x) - MEANS[nearest]).std(), STD, rtol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("process", ["vp", "ve", "sub_vp", "vp_chain", "ve_chain"])
@pytest.mark.parametrize("sampler", ["ancestral", "reverse_diffusion", "predictor_corrector"])
def test_score_sdes_discretisation_draws_the_mixture(process, sampler):
    if process == "sub_vp" and sampler == "ancestral":
        pytest.skip("score_sde has no ancestral rule for sub-VP")
    config = config_of(process, "ddim")
    config.sampler.update(name=sampler, discretisation="score_sde", num_steps=400)
    if sampler == "predictor_corrector":
        config.sampler.update(corrector="ald", snr=0.05)
    model_process = build_process(config)
    sampling = sampling_of(config, model_process)
    model = sampling.see(score_predictor(mixture_score(model_process), model_process))
    draw = jax.jit(lambda key: sample(model, sampling.process, sampling.sampler, key, jnp.arange(COUNT), (2,)))
    x = np.asarray(draw(jax.random.key(2)).x)
    nearest = np.linalg.norm(x[:, None] - MEANS, axis=2).argmin(axis=1)
    np.testing.assert_allclose(np.bincount(nearest, minlength=3) / COUNT, WEIGHTS, atol=0.07)
    np.testing.assert_allclose((x - MEANS[nearest]).std(), STD, rtol=0.12)
