"""What earlier versions wrote: their configs are today's, and a workdir gives the results that it gave then."""

import copy
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from shipped import ROOT, shipped_configs

from score_jax import builder
from score_jax.builder.migration import MOVED
from score_jax.builder.options import defaults_of
from score_jax.builder.sections import METHODS, completed, made
from score_jax.cli import verb
from score_jax.errors import InputError
from score_jax.training.run_config import save_config, stored_config
from tiny import command, environment

OLD = ROOT / "tests" / "workdirs"
FORMAT = json.loads((OLD / "configs_2026_11.json").read_text())
SHIPPED = shipped_configs()


def whole(entry: dict[str, Any]) -> dict[str, Any]:
    """The config of an entry of `configs_2026_11.json`, by the rules in the README beside it."""
    config = copy.deepcopy(FORMAT["base"])
    for key, value in entry.items():
        if key == "replaced":
            continue
        if isinstance(value, dict) and key not in entry.get("replaced", ()):
            config[key] |= value
        else:
            config[key] = value
    return config


def read(folder: Path, config: dict[str, Any]) -> ConfigDict:
    """As from the workdir of a run."""
    (folder / "config.json").write_text(json.dumps(config))
    return stored_config(folder)


SINCE = {
    "configs/adm/": ("resize_filter", "random_crop"),
    "configs/blended_diffusion/": ("resize_filter",),
    "configs/improved_diffusion/": ("resize_filter",),
    "configs/edm/": ("resize_filter", "augment"),
}
"""Keys of `data` that say more of the papers' recipes now; a run of then goes on as it was."""


def as_then(name: str) -> ConfigDict:
    """A config of today, but for those keys."""
    config, then = copy.deepcopy(SHIPPED[name]), whole(FORMAT["configs"][name])["data"]
    for folder, keys in SINCE.items():
        if name.startswith(folder):
            config.data.update({key: then.get(key, type(config.data[key])()) for key in keys})
    return config


def test_all_configs_of_then_are_shipped_now():
    assert set(FORMAT["configs"]) <= set(SHIPPED) and len(FORMAT["configs"]) > 100


def test_configs_of_then_are_those_of_today(tmp_path):
    for name, entry in FORMAT["configs"].items():
        config = read(tmp_path, whole(entry))
        assert "version" not in config, name
        old, new = completed(config), completed(as_then(name))
        for section in new:
            assert old[section] == new[section], (name, section)
        assert made(old, "sampler") == made(new, "sampler")


@pytest.mark.parametrize("name", list(FORMAT["configs"])[::9])
def test_configs_of_then_build(name, tmp_path):
    config = read(tmp_path, whole(FORMAT["configs"][name]))
    assert builder.experiment(config).sections == builder.experiment(as_then(name)).sections


def test_keys_that_nothing_reads_are_left_behind(tmp_path):
    """Whatever a flat section said of other methods: of version 1 no key of these was refused."""
    edges = {
        "sampler": {"snr": 0.3, "churn": 3.0, "step_lr": 1.0, "rtol": 0.1, "eta": 0.5, "t_min": 0.1, "denoise": False},
        "loss": {"level_mean": 0.0, "level_std": 2.0, "t_min": 0.1, "variance": "fixed_small", "vb_scale": 2.0},
        "likelihood": {"num_levels": 10, "rtol": 0.1, "probes": 7, "num_steps": 3, "dequantizer_steps": 7},
    }
    old = whole(FORMAT["configs"]["configs/lineage.py:ddpm"])
    for section, values in edges.items():
        old[section] |= {key: value for key, value in values.items() if key in old[section]}
    config = completed(read(tmp_path, old))
    assert config.sampler.to_dict() == completed(SHIPPED["configs/lineage.py:ddpm"]).sampler.to_dict()
    assert (config.loss.level_mean, config.loss.t_min) == (-1.2, 1e-5)
    assert (config.likelihood.rtol, config.likelihood.probes, config.likelihood.num_steps) == (0.1, 7, 64)
    builder.experiment(config)


@pytest.mark.parametrize(("method", "name"), [("ode", "ode"), ("vlb", "vlb"), ("bound", "bound")])
def test_the_variance_of_a_bound_was_that_of_the_sampler(tmp_path, method, name):
    old = whole(FORMAT["configs"]["configs/lineage.py:ddpm"])
    old["likelihood"]["method"] = method
    config = completed(read(tmp_path, old))
    assert config.likelihood.name == name
    assert config.likelihood.get("variance") == (None if name == "ode" else "fixed_large")


def test_moved_values(tmp_path):
    old = whole(FORMAT["configs"]["configs/base.py"])
    old["data"]["value_range"] = [0.0, 1.0]
    old["guidance"] |= {"classifier": "runs/classifier", "scale": 2.5}
    old["loss"]["label_dropout"] = 0.25
    config = completed(read(tmp_path, old))
    assert config.codec.to_dict() == {"name": "pixels", "value_range": (0.0, 1.0)}
    assert config.guidance.to_dict() == {"name": "classifier", "scale": 2.5, "workdir": "runs/classifier"}
    assert config.loss.condition_dropout == 0.25


def test_what_is_saved_is_read_again_as_it_is(tmp_path):
    config = completed(read(tmp_path, whole(FORMAT["configs"]["configs/edm/cifar10_cond_vp.py"])))
    save_config(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["version"] == 2
    assert completed(stored_config(tmp_path)).to_dict() == config.to_dict()


def test_a_later_version_is_refused_in_one_line(tmp_path):
    old = whole(FORMAT["configs"]["configs/base.py"]) | {"version": 3, "codec": {"name": "latents", "of": "vae"}}
    with pytest.raises(
        InputError, match=r"^version=3: this release of score_jax reads configs up to version 2: install"
    ):
        completed(read(tmp_path, old))


@pytest.mark.parametrize("key", MOVED)
def test_moved_keys_are_answered_with_their_new_names(tmp_path, key):
    section, _, name = key.partition(".")
    path = tmp_path / "moved.py"
    path.write_text(
        "from score_jax.configs import base\n\ndef get_config():\n"
        f"    config = base.get_config()\n    config.{section}.{name} = (0.0, 1.0)\n    return config\n"
    )
    expected = f"^{key} is now {MOVED[key]}"
    with pytest.raises(InputError, match=expected):
        verb.parse_flags(["train", f"--config={path}", f"--workdir={tmp_path}"], "")
    with pytest.raises(InputError, match=expected):
        verb.parse_flags(["train", "--config=configs/base.py", f"--workdir={tmp_path}", f"--config.{key}=1"], "")
    values = SHIPPED["configs/base.py"].to_dict()
    values[section][name] = 1
    with pytest.raises(InputError, match=expected):
        builder.experiment(ConfigDict(values))


@pytest.fixture
def workdir(tmp_path) -> Path:
    """The run of November 2026, with its checkpoint."""
    run = OLD / "2026_11"
    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("config.json", "data.json", "loss.jsonl"):
        shutil.copy(run / name, folder)
    with tarfile.open(run / "checkpoints.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def run(*arguments: str) -> None:
    done = subprocess.run(
        command(*arguments), env=os.environ | environment(devices=1), capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_old_run_resumes_with_the_losses_of_then(workdir):
    expected = json.loads((OLD / "2026_11" / "expected.json").read_text())["resumed_to_6"]
    run("train", f"--workdir={workdir}", "--config.training.steps=6")
    lines = {line["step"]: line for line in map(json.loads, (workdir / "loss.jsonl").read_text().splitlines())}
    for step in ("5", "6"):
        assert lines[int(step)]["loss"] == pytest.approx(expected["losses"][step], rel=1e-5)
        assert lines[int(step)]["grad_norm"] == pytest.approx(expected["grad_norms"][step], rel=1e-5)
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["version"] == 2 and saved["loss"]["condition_dropout"] == 0.2


@pytest.mark.slow
def test_the_old_run_samples_and_measures_as_then(workdir):
    expected = np.load(OLD / "2026_11" / "expected.npz")
    numbers = json.loads((OLD / "2026_11" / "expected.json").read_text())["likelihood"]
    run("sample", f"--workdir={workdir}")
    found = np.load(next(workdir.rglob("samples*.npz")))
    images = found["samples"] if "samples" in found else found["arr_0"]
    assert np.array_equal(images, expected["samples"])
    run("likelihood", f"--workdir={workdir}")
    assert np.load(workdir / "likelihood.npz")["bits_per_dim"] == pytest.approx(expected["bits_per_dim"], rel=1e-5)
    summary = json.loads((workdir / "likelihood.json").read_text())
    for key, value in numbers.items():
        assert summary[key] == pytest.approx(value, rel=1e-5), key


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.data.image_sizee = 3", "The config has no key 'image_sizee'. Did you mean 'image_size'?"),
        ("config.data.update(imagesize=3)", "The config has no key 'imagesize'. Did you mean 'image_size'?"),
        ("config.dataa.image_size = 3", "The config has no key 'dataa'. Did you mean 'data'?"),
        ("config.training.zzz = 3", "The config has no key 'zzz'."),
    ],
)
def test_unknown_keys_in_a_config_file_are_named(tmp_path, line, message):
    path = tmp_path / "wrong.py"
    path.write_text(
        f"from score_jax.configs import base\n\ndef get_config():\n    config = base.get_config()\n    {line}\n"
    )
    with pytest.raises(InputError) as found:
        verb.parse_flags(["train", f"--config={path}", f"--workdir={tmp_path}"], "")
    assert str(found.value) == message


@pytest.mark.parametrize("section", ["sampler", "likelihood", "guidance"])
def test_what_nothing_read_then_is_at_its_default_still(section, tmp_path):
    """Runs keep whole sections. Another default would be taken for a value that was stated, and refused where nothing
    reads it, as of an autoencoder."""
    old = completed(read(tmp_path, whole({})))[section].to_dict()
    today = defaults_of(METHODS[section][old["name"]])
    assert {key: old[key] for key in today} == today
