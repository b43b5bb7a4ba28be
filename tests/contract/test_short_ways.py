"""How far it is from a command to the solver, and that the traced model does not go back into the builder."""

import traceback
from pathlib import Path

import diffrax
import jax
import pytest

import tiny
from score_jax.cli import main as cli
from score_jax.models.network import Network
from score_jax.runtime.sharding import make_mesh
from score_jax.training import weights

PACKAGE = str(Path(cli.__file__).resolve().parents[1])
LONGEST = 8
"""Frames of ours, that of `python -m score_jax` among them."""


def ours():
    """The rooms and functions on the stack, outermost first."""
    return [
        f"{Path(frame.filename).relative_to(PACKAGE).with_suffix('')}.{frame.name}"
        for frame in traceback.extract_stack()
        if frame.filename.startswith(PACKAGE)
    ]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a model with random parameters."""
    from score_jax import builder
    from score_jax.cli.config_files import config_of_file
    from score_jax.training.run_config import save_config

    folder = tmp_path_factory.mktemp("run")
    config = config_of_file(str(tiny.write_config(folder)))
    save_config(folder, config)
    built = builder.experiment(config)
    weights.save_params(folder, built.network.init(jax.random.key(0)))
    assert make_mesh().size
    return folder


@pytest.mark.parametrize("solver", ["ddim", "predictor_corrector", "ode"])
def test_a_sample_is_a_few_calls_away(workdir, solver, monkeypatch):
    ways, asked = [], []
    solve, apply = diffrax.diffeqsolve, Network.apply

    def watched(*args, **kwargs):
        ways.append(ours())
        return solve(*args, **kwargs)

    def seen(self, *args, **kwargs):
        asked.append(ours())
        return apply(self, *args, **kwargs)

    monkeypatch.setattr(diffrax, "diffeqsolve", watched)
    monkeypatch.setattr(Network, "apply", seen)
    assert cli.main(["score_jax", "sample", f"--workdir={workdir}", f"--solver={solver}"]) == 0
    way = min(ways, key=len)
    allowed = LONGEST - 1 + 3 * (solver == "ode")  # without __main__; the ODE has three more, of the flow
    assert len(way) <= allowed, way
    assert asked and not [frame for stack in asked for frame in stack if frame.startswith("builder/")]
