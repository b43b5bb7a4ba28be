"""Every config builds and has the paper's size; every mistake in one is answered."""

import importlib
from pathlib import Path

import jax
import pytest
from ml_collections import ConfigDict

from configs import base
from score_jax import build
from score_jax.errors import InputError
from score_jax.processes.gaussian import VE, SubVP
from score_jax.samplers.ode import AdaptiveODE

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.py") if path.name != "__init__.py")
# score_sde, counted there; ours for VE includes the 128 frozen Fourier frequencies.
PARAMETERS = {
    "cifar10_ddpmpp_continuous_vp": 61_804_419,
    "cifar10_ddpmpp_continuous_subvp": 61_804_419,
    "cifar10_ncsnpp_continuous_ve": 62_758_787 + 128,
}


def load(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


@pytest.mark.parametrize("path", CONFIGS)
def test_config_builds_and_is_locked(path):
    config = load(path)
    experiment = build.experiment(config)
    state = jax.eval_shape(experiment.create_state)
    count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert count == PARAMETERS.get(Path(path).stem, count)
    with pytest.raises(AttributeError):
        config.training.batchsize = 3
    assert config.training.batch_size % 8 == 0 and config.likelihood.batch_size % 2 == 0


def test_the_papers_differences():
    ve, subvp = (load(f"configs/score_sde/{name}.py") for name in list(PARAMETERS)[::-1][:2])
    assert build.experiment(ve).process == VE(0.01, 50.0)
    assert build.experiment(subvp).process == SubVP(0.1, 20.0)
    assert (ve.ema.decay, subvp.ema.decay) == (0.999, 0.9999)
    assert (ve.loss.reduction, subvp.loss.reduction) == ("half_sum", "mean")
    assert (ve.sampler.t_min, subvp.sampler.t_min) == (1e-5, 1e-3)
    assert build.experiment(ve).sampler.method.nfe_per_step == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.process.update(name="vpp"), "Unknown process.name 'vpp'.*Did you mean 'vp'"),
        (lambda c: base.replace_section(c, "process", name="ve", sigma_mx=50.0), "Did you mean 'sigma_max'"),
        (lambda c: c.sampler.update(name="odd"), "Unknown sampler.name for process 'vp': 'odd'.*Did you mean 'ode'"),
        (lambda c: c.prediction.update(label="99t"), "Did you mean '999t'"),
        (lambda c: c.loss.update(time_sampling="stratify"), "Did you mean 'stratified'"),
        (lambda c: c.loss.update(reduction="sum"), "Unknown loss.reduction 'sum'"),
        (lambda c: c.network.update(dtype="float16"), "Unknown network.dtype 'float16'"),
        (lambda c: c.data.update(image_size=30), "image_size=30 cannot be halved 3 times: make it a multiple of 8"),
    ],
)
def test_mistakes_are_answered_before_anything_compiles(change, message):
    config = base.get_config()
    change(config)
    with pytest.raises(InputError, match=message):
        build.experiment(config)


def test_ode_sampler_takes_its_tolerances():
    config = base.get_config()
    config.sampler.update(name="ode", solver="dopri5", rtol=1e-3, atol=1e-4)
    assert build.experiment(config).sampler.method == AdaptiveODE("dopri5", 1e-3, 1e-4)
