"""Commands as a user gives them: mistakes get one line, and a folder of pictures is enough."""

import json
import os
import shutil

import numpy as np
import pytest
from absl import flags
from PIL import Image as PILImage
from safetensors.numpy import save_file

from score_jax.cli import main as cli
from score_jax.cli.config_flags import results_folder
from score_jax.cli.likelihood import table_of
from score_jax.cli.verb import parse_flags, with_aliases
from score_jax.convert import clip
from score_jax.convert.dinov2 import random_state
from score_jax.errors import InputError
from score_jax.models.scorers.dinov2 import DINOv2
from score_jax.training.run_config import save_config
from tiny import TINIEST, here, train_classifiers_briefly, write_config

ARGUMENTS = [
    (["trian"], "Unknown verb 'trian'. Did you mean 'train'"),
    (["train", "--workdir=x"], "No config.json in x: expected the --workdir of a `train` run"),
    (["train"], "Neither --config nor --workdir is given"),
    (["train", "--config=configs/no.py", "--workdir=x"], "No config file configs/no.py"),
    (["train", "--config={config}"], "--workdir is missing"),
    (["train", "--config={config}", "--workdir=gs://b/run"], "a workdir is a folder of this machine"),
    (
        ["train", "--config={config}", "--workdir=x", "--config.training.batchsize=3"],
        "key of training: 'batchsize'. Did you mean 'batch_size'?",
    ),
    (
        ["train", "--config={config}", "--workdir=x", "--config.trainin.steps=3"],
        "section of the config 'trainin'. Did you mean 'training'?",
    ),
    (["train", "--config={config}", "--workdir=x", "--config.training.steps=many"], "invalid literal"),
    (["train", "--config={config}", "--workdri=x"], "Did you mean: workdir"),
    (["train", "--config={config}", "--workdir={tmp}/x", "--config.training.batch_size=9"], "multiple of 8"),
    (["sample", "--workdir={tmp}/none"], "No config.json in"),
    (["sample", "--workdir={trained}", "--step=9"], "No checkpoint"),
    (["likelihood", "--workdir={tmp}/none"], "No config.json in"),
    (["evaluate", "--workdir={trained}"], "No checkpoint"),
    (["sample", "--workdir={trained}", "--num_samples=0"], "sampling.num_samples=0: give at least 1"),
    (["sample", "--workdir={trained}", "--num_samples=-1"], "sampling.num_samples=-1: give at least 1"),
    (["sample", "--workdir={trained}", "--config.sampling.batch_size=0"], "sampling.batch_size=0: give at least 1"),
    (["sample", "--workdir={trained}", "--steps=0"], "sampler.num_steps=0"),
    (["evaluate", "--workdir={trained}", "--num_samples=0"], "evaluation.num_samples=0: give at least 1"),
    (["evaluate", "--workdir={trained}", "--config.evaluation.batch_size=-3"], "evaluation.batch_size=-3"),
    (["likelihood", "--workdir={trained}", "--config.likelihood.batch_size=0"], "likelihood.batch_size=0"),
    (["likelihood", "--workdir={trained}", "--config.likelihood.batch_size=-3"], "likelihood.batch_size=-3"),
    (
        ["train", "--config={config}", "--workdir={tmp}/x", "--config.seed=4294967296"],
        "seed=4294967296: give at least 0 and at most 4294967295",
    ),
    (
        ["train", "--config={config}", "--workdir={tmp}/x", "--config.seed=-1"],
        "seed=-1: give at least 0 and at most 4294967295",
    ),
    (
        ["train", "--config={config}", "--workdir={tmp}/x", "--config.seed=100000000000000000000"],
        "give at least 0 and at most 4294967295",
    ),
    (["train", "--config={config}", "--workdir={tmp}/x", "--config.seed=1e20"], "invalid literal"),
    (
        ["sample", "--workdir={trained}", "--config.sampling.seed=4294967296"],
        "sampling.seed=4294967296: give at least 0 and at most 4294967295",
    ),
    (
        ["evaluate", "--workdir={trained}", "--config.evaluation.seed=-1"],
        "evaluation.seed=-1: give at least 0 and at most 4294967295",
    ),
    (["likelihood", "--workdir={trained}", "--config.likelihood.seed=4294967296"], "likelihood.seed=4294967296"),
    (["fid", "a.npz", "b.npz", "--batch_size=0", "--features=json:loads"], "fid.batch_size=0: give at least 1"),
    (["evaluate", "--workdir={trained}", "--labels=foo"], "--labels=foo: give random, balanced, or the number"),
    (["evaluate", "--workdir={trained}", "--labels", "balance"], "--labels=balance: give random, balanced"),
    (["sample", "--workdir={trained}", "--labels="], "--labels=: give random, balanced"),
    (["evaluate", "--workdir={trained}", "--labels", "balanced"], "No checkpoint"),
    (["evaluate", "--workdir={trained}", "--protocol="], "protocol='' lacks a name"),
    (["evaluate", "--workdir={trained}", "--protocol=adm", "--features=json:loads"], "leave one of the two out"),
    (["table", "--metric=fid,", "{config}"], "--metric=fid, lacks a name"),
    (["table", "{tmp}/nowhere.json"], "nowhere.json: No such file or directory. Expected a JSON file"),
    (["table", "ours="], "'ours=' names no file"),
    (["fid", "a.npz", "--save=x.json", "--features=json:loads"], "statistics are written as an .npz file"),
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A config file, and a workdir that has a config but no checkpoint."""
    from score_jax.configs import base

    monkeypatch.setattr(os, "environ", dict(os.environ))
    save_config(tmp_path / "trained", base.get_config())
    return {"config": write_config(tmp_path), "tmp": tmp_path, "trained": tmp_path / "trained"}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_mistakes_get_one_line_and_exit_code_2(arguments, message, places, capsys):
    argv = ["score_jax", *(argument.format(**places) for argument in arguments)]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (places["tmp"] / "x" / "checkpoints").exists()


@pytest.mark.parametrize("verb", ["train", "sample", "likelihood", "evaluate", "demo"])
def test_help_explains(verb, capsys):
    assert cli.main(["score_jax", verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--workdir" in out and f"python -m score_jax {verb}" in out


def test_without_a_verb_the_verbs_are_listed(capsys):
    assert cli.main(["score_jax"]) == 0
    assert "likelihood" in capsys.readouterr().out


def test_a_workdir_of_another_config_is_refused(places, capsys):
    argv = ["score_jax", "train", f"--config={places['config']}", f"--workdir={places['trained']}"]
    assert cli.main(argv) == 2
    assert "another config: data.channels (3 there, 1 here)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_gets_one_line(tmp_path, capsys):
    full = "/dev/full"
    if not os.path.exists(full):
        pytest.skip("needs /dev/full")
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "loss.jsonl").symlink_to(full)
    assert here("train", f"--config={write_config(tmp_path, TINIEST)}", f"--workdir={workdir}") == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and "Traceback" not in error


@pytest.mark.slow
def test_a_folder_of_pictures_trains_samples_and_evaluates(tmp_path, capsys, monkeypatch):
    train_classifiers_briefly(monkeypatch)
    rng = np.random.default_rng(0)
    for label in ("light", "dark"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(0, 100, (12, 10, 3), dtype=np.uint8) + (155 if label == "light" else 0)
            PILImage.fromarray(pixels.astype(np.uint8)).save(tmp_path / "pictures" / label / f"{i}.png")
    workdir = tmp_path / "run"
    trained = here(
        "train",
        f"--config={write_config(tmp_path)}",
        f"--workdir={workdir}",
        f"--config.data.name=folder:{tmp_path / 'pictures'}",
        "--config.data.train_split=all",
        "--config.data.eval_split=all",
        "--config.data.resize_filter=box",
        "--config.training.sample_every=6",
    )
    assert trained == 0
    assert PILImage.open(workdir / "samples" / "step_00000006.png").width > 100
    assert any((workdir / "tensorboard").iterdir())
    assert here("sample", f"--workdir={workdir}") == 0
    assert np.load(workdir / "samples.npz")["arr_0"].shape == (8, 8, 8, 1)
    assert here("evaluate", f"--workdir={workdir}") == 0
    result = json.loads((workdir / "evaluation.json").read_text())
    assert result["fid_classes_real"] < result["fid_classes_noise"]
    assert "fid" not in result
    save_file(random_state(0, DINOv2(image_size=14, width=64, layers=1, heads=1)), tmp_path / "dinov2.safetensors")
    weights = (f"--dinov2_weights={tmp_path / 'dinov2.safetensors'}", "--allow_other_weights")
    assert here("evaluate", f"--workdir={workdir}", "--protocol=dgm_eval", "--reference=eval", *weights) == 0
    result = json.loads((workdir / "evaluation_dgm_eval.json").read_text())
    assert result["fd_dinov2_other"] > 0 and result["manifold_reference"] == 8
    assert result["fd_dinov2_other_infinity_high"] > result["fd_dinov2_other_infinity_low"]
    save_file(clip.random_state(0), tmp_path / "clip.safetensors")
    monkeypatch.setenv(clip.VARIABLE, str(tmp_path / "clip.safetensors"))
    asked = ("--protocol=cmmd", "--reference=eval", "--allow_other_weights")
    assert here("evaluate", f"--workdir={workdir}", *asked) == 0
    assert json.loads((workdir / "evaluation_cmmd.json").read_text())["cmmd_other"] > 0
    shutil.rmtree(workdir / "checkpoints")
    capsys.readouterr()
    assert here("sample", f"--workdir={workdir}") == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].count("No checkpoint") == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--workdir=~/x", "--workdir={home}/x"),
        ("--config.data.name=folder:~/photos", "--config.data.name=folder:{home}/photos"),
        ("~/a.npz", "{home}/a.npz"),
        ("~", "{home}"),
        ("folder:~/a", "folder:{home}/a"),
        ("--prompt=a~b", "--prompt=a~b"),
        ("x=~/y", "x=~/y"),
        ("--save=~other/x", "--save=~other/x"),
    ],
)
def test_the_home_folder_is_meant_by_a_leading_tilde(word, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/me")
    assert cli._in_home(word) == expected.format(home="/me")


@pytest.mark.parametrize(
    ("kept", "words", "expected"),
    [
        ("250", ["--steps=25"], ("25", 25)),
        ("250", ["--config.sampler.num_steps=30"], ("30", 30)),
        ("250", ["--steps=25", "--config.sampler.respacing=ddim10"], ("ddim10", 25)),
        ("250", [], ("250", 1000)),
        ("", ["--steps=25"], ("", 25)),
    ],
)
def test_steps_are_the_respacing_of_a_chain_that_has_one(kept, words, expected, tmp_path):
    from score_jax.configs import base

    config = base.get_config()
    config.sampler.update(respacing=kept, num_steps=1000)
    save_config(tmp_path, config)
    values = parse_flags(with_aliases(["sample", f"--workdir={tmp_path}", *words]), "")
    assert (values.config.sampler.respacing, values.config.sampler.num_steps) == expected


def test_results_go_where_a_folder_can_be(tmp_path):
    (tmp_path / "notes.txt").touch()
    values = flags.FlagValues()
    for name in ("out", "workdir"):
        flags.DEFINE_string(name, None, "a folder", flag_values=values)
    values(["score_jax"])
    with pytest.raises(InputError, match="--workdir is missing"):
        results_folder(values)
    values.workdir = str(tmp_path)
    assert results_folder(values) == tmp_path
    values.out = str(tmp_path / "notes.txt" / "new")
    with pytest.raises(InputError, match=r"--out=.*notes.txt is a file; give a folder"):
        results_folder(values)


def test_a_likelihood_says_what_its_grid_misses(tmp_path):
    summary = {"method": "ode", "step": 3, "bpd_ode_uniform": 2.5, "bpd_ode_uniform_standard_error": 0.1}
    summary |= {"count": 8, "nfe_mean": 33.0, "of": "data"}
    (tmp_path / "likelihood.json").write_text(json.dumps(summary | {"solver_error": {"mean": 1e-4, "largest": 3e-3}}))
    said = "ode: by the solver's own estimate the grid misses 0.0001 bits/dim on average and 0.003"
    assert said in table_of(tmp_path, 3)
    (tmp_path / "likelihood.json").write_text(json.dumps(summary | {"solver_error": None}))
    assert "misses" not in table_of(tmp_path, 3)
