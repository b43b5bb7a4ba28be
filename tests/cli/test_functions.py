"""`evaluate --sampler` and `likelihood --model`: verbs of a function that the user names."""

import dataclasses
import json

import numpy as np
import pytest

import score_jax as sj
from score_jax.evaluation.features import plain_features
from score_jax.jobs.extractors import NETWORKS
from score_jax.runtime.exit_codes import STOPPED
from tiny import checked, here

MODULE = """
import os, signal
import numpy as np

def draw(key, indices, labels):
    rows = [np.random.default_rng(int(i)).integers(0, 256, (4, 4, 1), np.uint8) for i in np.asarray(indices)]
    return np.stack(rows)

def make_draw(shift=0, stop_at=None):
    def shifted(key, indices, labels):
        if stop_at == int(indices[0]):
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(key, indices + shift, labels)
    return shifted

def means(images):
    return images.mean((2, 3)) / 255.0

def score(x, t):
    return -x

def make_score(scale):
    return lambda x, t: -scale * x

number = 3
"""
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 1), np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "of_a_user.py").write_text(MODULE)
    np.savez(tmp_path / "real.npz", arr_0=IMAGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def of_a_user_means(images):
    """Few enough features for 24 images."""
    return images.mean((2, 3)) / 255.0


EVALUATE = ("evaluate", "--reference=real.npz", "--num_samples=24", "--features=of_a_user:means", "--batch_size=1")
LIKELIHOOD = ("likelihood", "--images=real.npz", "--process=vp", "--output=score", "--config.likelihood.batch_size=8")
SCORE = (*LIKELIHOOD, "--model=of_a_user:score")
FAST = ("--config.likelihood.rtol=1e-2", "--config.likelihood.atol=1e-2", "--config.likelihood.sensitivity_batches=0")


@pytest.mark.slow
def test_an_evaluation_is_that_of_python_and_goes_on_where_it_was_stopped(folder, capsys):
    import of_a_user

    assert here(*EVALUATE, "--sampler=of_a_user:draw", "--workdir=whole") == 0
    assert "fid_means" in capsys.readouterr().out
    whole = json.loads((folder / "whole" / "evaluation.json").read_text())
    how = dict(protocol=None, features=of_a_user.means, batch_size=1)
    assert sj.evaluate(of_a_user.draw, reference="real.npz", num_samples=24, **how) == whole

    stopping = (*EVALUATE, "--sampler=of_a_user:make_draw", "--workdir=parts")
    assert here(*stopping, '--sampler_args={"stop_at": 8}') == STOPPED
    assert "Evaluation stopped on SIGTERM: 16 of 24 examples are done" in capsys.readouterr().out
    assert here(*stopping, "--sampler_args={}") == 0
    again = json.loads((folder / "parts" / "evaluation.json").read_text())
    for name in ("fid_means", "kid_means", "first_samples"):
        assert again[name] == whole[name]
    assert here(*stopping, '--sampler_args={"shift": 5}') == 0
    assert json.loads((folder / "parts" / "evaluation.json").read_text())["fid_means"] != whole["fid_means"]


def test_several_protocols_measure_one_drawing(folder, monkeypatch, capsys):
    """Three evaluators, of which one rounds and one sees otherwise; each with its own reference."""
    features = {"extractor": lambda *_: plain_features("", of_a_user_means), "warning": lambda _: ""}
    means = dataclasses.replace(NETWORKS["inception"], find=lambda *_, **__: None, **features)
    monkeypatch.setitem(NETWORKS, "inception", means)
    several = ("evaluate", "--sampler=of_a_user:draw", "--num_samples=24", "--batch_size=1", "--workdir=several")
    assert here(*several, "--protocol=edm,jax_fid,adm", "--reference=real.npz,real.npz,real.npz") == 0
    said = capsys.readouterr().out
    for name in ("edm", "jax_fid", "adm"):
        found = json.loads((folder / "several" / f"evaluation_{name}.json").read_text())
        assert found["protocol"] == name and f"evaluation_{name}.json" in said
    assert here(*several, "--protocol=edm,edm", "--reference=real.npz") == 2
    assert "protocol=edm,edm names edm twice: leave one out." in capsys.readouterr().err
    assert here(*several, "--protocol=edm,jax_fid", "--reference=real.npz,a,b") == 2
    assert "3 references for 2 protocols" in capsys.readouterr().err


def test_a_likelihood_is_that_of_python(folder, capsys):
    import of_a_user

    made = ("--model=of_a_user:make_score", '--model_args={"scale": 1.0}')
    assert here(*LIKELIHOOD, *FAST, *made, "--workdir=bits") == 0
    how = dict(output="score", batch_size=8, rtol=1e-2, atol=1e-2, sensitivity_batches=0)
    found = sj.bits_per_dim(of_a_user.score, sj.VP(), IMAGES, **how)
    written = checked(folder / "bits" / "likelihood.json")
    assert written["bpd_ode_uniform"] == found.mean
    assert f"{found.mean:.4f} +- {found.standard_error:.4f} bits/dim of 24 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (*EVALUATE, "--sampler=of_a_user:drew"),
            "of_a_user:drew: module 'of_a_user' has no attribute 'drew'",
        ),
        (
            (*EVALUATE, "--sampler=nobody:draw"),
            "nobody:draw: No module named 'nobody'. Expected module:function",
        ),
        ((*EVALUATE, "--sampler=of_a_user:number"), "expected a function, found int"),
        ((*EVALUATE, "--sampler=of_a_user:make_draw", "--sampler_args={"), "Expected a JSON object"),
        ((*EVALUATE, "--sampler=of_a_user:make_draw", "--sampler_args=3"), "expected a JSON object, such as"),
        ((*EVALUATE, "--sampler=of_a_user:draw", "--value_range=low"), "--value_range=low: expected two numbers"),
        ((*EVALUATE, "--sampler=of_a_user:draw", "--protocol=adm"), "measures a network's features"),
        ((*LIKELIHOOD, "--model=of_a_user:drew"), "--model=of_a_user:drew"),
        ((*SCORE, "--process=pv"), "Unknown process.name 'pv'. Known: cosine, edm"),
        (
            (*LIKELIHOOD, "--model=of_a_user:score", '--process={"name": "vp", "beta": 1}'),
            "Unknown key of process: 'beta'",
        ),
        ((*SCORE, "--process={"), "Expected a name, or a JSON object"),
        (
            (*LIKELIHOOD, "--model=of_a_user:score", "--probes=3"),
            "Unknown word --probes=3: expected --config.likelihood",
        ),
        (
            (*LIKELIHOOD, "--model=of_a_user:score", "--config.likelihood.rtol=-1"),
            "likelihood.rtol=-1.0: give more than 0",
        ),
    ],
)
def test_what_cannot_be_is_one_line(folder, capsys, words, message):
    assert here(*words, "--workdir=run") == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"score_jax {words[0]}: ") and message in said


@pytest.mark.parametrize(
    ("words", "shown"),
    [(("evaluate", "--sampler=x:y"), "draw(key, indices, labels)"), (("likelihood", "--model=x:y"), "model(x, t)")],
)
def test_help_says_what_the_function_is(capsys, words, shown):
    with pytest.raises(SystemExit) as ended:
        here(*words, "--help")
    assert ended.value.code == 0 and shown in capsys.readouterr().out
