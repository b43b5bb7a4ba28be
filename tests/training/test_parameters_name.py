"""Which parameters a workdir has: what a result of them says."""

import json

import jax
import numpy as np
import pytest

from score_jax.configs import base
from score_jax.training.run_config import save_config
from score_jax.training.weights import load_params, parameters_name, save_params, save_params_orbax

PARAMS = {"a": {"kernel": np.ones((2, 3), np.float32)}}


@pytest.fixture
def workdir(tmp_path):
    save_config(tmp_path, base.get_config())
    return tmp_path


def write(path, facts):
    path.write_text(facts if isinstance(facts, str) else json.dumps(facts))


def test_a_run_has_averaged_parameters(workdir):
    (workdir / "checkpoints").mkdir()
    assert parameters_name(workdir) == "ema"
    save_params(workdir, PARAMS)  # that it began with
    write(workdir / "convert.json", {"weights": "raw"})
    assert parameters_name(workdir) == "ema"


def test_a_run_whose_checkpoints_are_elsewhere_has_averaged_parameters(workdir, tmp_path):
    config = base.get_config()
    config.training.checkpoints = str(tmp_path / "elsewhere")
    save_config(workdir, config)
    save_params(workdir, PARAMS)
    assert parameters_name(workdir) == "unknown"
    (tmp_path / "elsewhere").mkdir()
    assert parameters_name(workdir) == "ema"


@pytest.mark.parametrize("name", ["ema", "raw", "unknown"])
def test_a_conversion_and_an_export_have_what_they_say(workdir, name):
    for record, key, save in (("convert.json", "weights", save_params), ("export.json", "parameters", save_params)):
        save(workdir, PARAMS)
        write(workdir / record, {key: name})
        assert parameters_name(workdir) == name
    save_params_orbax(workdir, PARAMS)
    write(workdir / "export.json", {"parameters": name})
    assert parameters_name(workdir) == name


@pytest.mark.parametrize("facts", [{"weights": "auto"}, {}, [], "no json", {"weights": ["ema"]}, {"weights": 3}])
def test_what_nothing_tells_is_unknown(workdir, facts):
    save_params(workdir, PARAMS)
    assert parameters_name(workdir) == "unknown"
    write(workdir / "convert.json", facts)
    assert parameters_name(workdir) == "unknown"


def test_parameters_that_were_replaced_leave_nothing_that_is_taken_for_theirs(workdir):
    save_params(workdir, PARAMS)
    write(workdir / "convert.json", {"weights": "raw"})
    save_params_orbax(workdir, jax.tree.map(lambda leaf: 2 * leaf, PARAMS))
    assert parameters_name(workdir) == "unknown"
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(lambda: PARAMS)
    assert (load_params(workdir, shapes, device)["a"]["kernel"] == 2).all()
    save_params(workdir, PARAMS)
    assert (load_params(workdir, shapes, device)["a"]["kernel"] == 1).all()
    assert not (workdir / "params").exists()
