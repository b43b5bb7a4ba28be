"""Published weights become a folder that `sample` takes; what does not fit leaves nothing behind."""

import json
import pickle

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import save_file

from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.cli import main as cli
from score_jax.convert.releases import load_published, params_from, tensors_from
from score_jax.errors import InputError
from score_jax.jobs.train import restore_params
from score_jax.runtime.sharding import make_mesh
from score_jax.training.weights import load_params, parameters_name, save_params
from tiny import here

CONFIG = """
from score_jax.configs import base


def get_config():
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=6, beta_max=3.0)
    base.replace_section(
        config, "network", name="ddpm", channels=32, channel_mult=(1,), num_res_blocks=1,
        attention_resolutions=(8,), dropout=0.0, dtype="float32",
    )
    config.prediction.update(output="eps", label="index")
    config.data.update(image_size=8, channels=1)
    config.sampler.update(name="ancestral", num_steps=5)
    config.sampling.update(num_samples=8, batch_size=8)
    return config
"""


def config() -> ConfigDict:
    scope: dict = {}
    exec(CONFIG, scope)
    return scope["get_config"]()


@pytest.fixture
def published(tmp_path):
    """A config file, a file of weights under published names, and the parameters that they are."""
    (tmp_path / "small.py").write_text(CONFIG)
    network = builder.build_network(config())
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(np.float32), network.shapes())
    save_file(tensors_from("ddpm", params, network), tmp_path / "model.safetensors")
    return tmp_path, network, params


@pytest.mark.slow
def test_converted_weights_are_sampled(published, capsys):
    folder, network, params = published
    flags = ("--from=ddpm", f"--config={folder / 'small.py'}")
    assert here("convert", *flags, folder / "model.safetensors", folder / "out") == 0
    assert "sample --workdir" in capsys.readouterr().out
    about = json.loads((folder / "out" / "convert.json").read_text())
    assert about["from"] == "ddpm" and about["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert here("sample", f"--workdir={folder / 'out'}") == 0
    assert np.load(folder / "out" / "samples.npz")["arr_0"].std() > 1
    # Of releases that publish averaged and raw weights as files of their own, the file does not say which it has.
    assert json.loads((folder / "out" / "samples.json").read_text())["parameters"] == "unknown"
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    jax.tree.map(np.testing.assert_array_equal, load_params(folder / "out", network.shapes(), device), params)


@pytest.mark.slow
def test_training_starts_from_converted_weights(published, capsys):
    """At a learning rate that no parameter sees the trained ones are the converted ones."""
    folder, _, params = published
    flags = (
        f"--config={folder / 'small.py'}",
        "--config.data.name=dead_leaves",
        "--config.optimizer.learning_rate=1e-30",
    )
    steps = ("--config.training.steps=1", "--config.training.batch_size=8", "--config.training.sample_every=0")
    assert here("convert", "--from=ddpm", *flags, *steps, folder / "model.safetensors", folder / "out") == 0
    assert here("train", *flags, *steps, f"--workdir={folder / 'out'}") == 0
    assert "Starting from" in capsys.readouterr().out
    experiment, mesh = builder.experiment(load_config(folder / "out")), make_mesh()
    restored, step = restore_params(load_config(folder / "out"), experiment, folder / "out", mesh)
    assert step == 1
    jax.tree.map(np.testing.assert_array_equal, restored, params)


def test_which_weights_were_converted_is_kept_and_said(published, capsys):
    folder, network, params = published
    flags = ["score_jax", "convert", "--from=ddpm", f"--config={folder / 'small.py'}"]
    averaged = {f"module._orig_mod.{name}": array + 1 for name, array in tensors_from("ddpm", params, network).items()}
    raw = tensors_from("ddpm", params, network)
    (folder / "both.pkl").write_bytes(pickle.dumps({"model": raw, "ema": averaged, "step": 3}))
    for file, weights, name, said in (
        ("model.safetensors", "auto", "unknown", "the file does not say"),
        ("model.safetensors", "raw", "raw", "not averaged"),
        ("model.safetensors", "ema", "ema", "averaged over training"),
        ("both.pkl", "auto", "ema", "averaged over training"),
        ("both.pkl", "raw", "raw", "not averaged"),
    ):
        assert cli.main([*flags, f"--weights={weights}", f"{folder / file}", f"{folder / 'out'}"]) == 0
        assert said in capsys.readouterr().out
        assert json.loads((folder / "out" / "convert.json").read_text())["weights"] == name
        assert parameters_name(folder / "out") == name
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    jax.tree.map(np.testing.assert_array_equal, load_params(folder / "out", network.shapes(), device), params)


def test_a_file_of_no_weights_is_named_with_its_cause(published, capsys):
    folder = published[0]
    flags = ["score_jax", "convert", "--from=ddpm", f"--config={folder / 'small.py'}"]
    complex_weights = {
        name: array.astype(np.complex64) for name, array in tensors_from("ddpm", *published[:0:-1]).items()
    }
    for contents, cause in (
        (pickle.dumps({"state": {}, "param_groups": []}), "the state of an optimizer"),
        (pickle.dumps({"other.weight": np.ones(3)}), "The weights do not fit the network"),
        (pickle.dumps(complex_weights), "complex64 where real numbers are expected"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
    ):
        (folder / "weights.pth").write_bytes(contents)
        assert cli.main([*flags, f"{folder / 'weights.pth'}", f"{folder / 'out'}"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "weights.pth" in error and cause in error
        assert not (folder / "out").exists()


def test_conversion_there_and_back_is_the_identity(published):
    folder, network, params = published
    loaded = load_published("ddpm", folder / "model.safetensors", network)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    back = params_from("ddpm", tensors_from("ddpm", params, network), network)
    jax.tree.map(np.testing.assert_array_equal, back, params)


MISTAKES = [
    (["--config={config}", "{file}", "{out}"], "--from is missing"),
    (["--from=dpm", "--config={config}", "{file}", "{out}"], "Did you mean 'ddpm'"),
    (["--from=edm", "--config={config}", "{file}", "{out}"], "edm is for weights of DhariwalUNet, SongUNet"),
    (["--from=ddpm", "--config={config}", "{file}"], "Expected a published file and a folder"),
    (["--from=ddpm", "--config={config}", "{file}", "{out}", "more"], "Unexpected arguments ['more']"),
    (["--from=ddpm", "{file}", "{out}"], "Neither --config nor --workdir is given"),
    (["--from=latent_diffusion", "{file}", "{out}"], "Neither --config nor --workdir is given"),
    (["--from=stable_diffusion", "{file}", "{out}"], "expected a checkpoint of latent diffusion or of Stable"),
    (["--from=diffusers", "{file}", "{out}"], "is a file: give --from=stable_diffusion"),
    (
        ["--from=ddpm", "--config={config}", "--prediction=v", "{file}", "{out}"],
        "--prediction is only for weights without",
    ),
    (["--from=ddpm", "--config={config}", "{out}.pth", "{out}"], "out.pth"),
    (["--from=ddpm", "--config={config}", "--weights=best", "{file}", "{out}"], "weights"),
    (
        ["--from=ddpm", "--config={config}", "--config.network.num_res_blocks=2", "{file}", "{out}"],
        "missing: down.0.attn.1",
    ),
    (
        ["--from=ddpm", "--config={config}", "--config.data.channels=3", "{file}", "{out}"],
        "conv_in.weight (32, 1, 3, 3) where (32, 3, 3, 3) is expected",
    ),
    (["--from=ddpm", "--config={config}", "{config}", "{out}"], "small.py"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_mistakes_get_one_line_and_leave_nothing(published, capsys, arguments, message):
    folder = published[0]
    places = {"config": folder / "small.py", "file": folder / "model.safetensors", "out": folder / "out"}
    assert cli.main(["score_jax", "convert", *(word.format(**places) for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (folder / "out").exists()


def test_a_training_run_is_not_written_over(published, capsys):
    folder = published[0]
    (folder / "out" / "checkpoints").mkdir(parents=True)
    flags = ["--from=ddpm", f"--config={folder / 'small.py'}"]
    assert cli.main(["score_jax", "convert", *flags, f"{folder / 'model.safetensors'}", f"{folder / 'out'}"]) == 2
    assert "holds a training run" in capsys.readouterr().err


def test_parameters_of_another_network_are_refused(tmp_path):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    transposed = np.arange(6, dtype=np.float32).reshape(3, 2).T
    save_params(tmp_path, {"a": {"kernel": transposed}})
    loaded = load_params(tmp_path, {"a": {"kernel": jax.ShapeDtypeStruct((2, 3), np.float32)}}, device)
    np.testing.assert_array_equal(loaded["a"]["kernel"], transposed)
    for shape, name in (((3, 2), "kernel"), ((2, 3), "bias")):
        with pytest.raises(InputError, match="of another network"):
            load_params(tmp_path, {"a": {name: jax.ShapeDtypeStruct(shape, np.float32)}}, device)
    (tmp_path / "params.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1")
    with pytest.raises(InputError, match="it is a pointer of Git LFS"):
        load_params(tmp_path, {"a": {"kernel": jax.ShapeDtypeStruct((2, 3), np.float32)}}, device)
    (tmp_path / "params.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InputError, match="Cannot read"):
        load_params(tmp_path, {"a": {"kernel": jax.ShapeDtypeStruct((2, 3), np.float32)}}, device)
