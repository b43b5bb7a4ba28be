"""One weight that is not a number: every verb says so in one line, and no file holds a number that is none."""

import functools
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax import builder
from score_jax.cli import main as cli
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.evaluation.digit_features import Classifier, save_classifier
from score_jax.models.classifiers.digit_classifier import DigitClassifier
from score_jax.runtime.results import write_arrays, write_json
from score_jax.samplers.ode import AdaptiveODE
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A model with one weight that is not a number."""
    workdir = tmp_path_factory.mktemp("broken")
    config = base.get_config()
    network = {"name": "adm", "channels": 32, "channel_mult": (1,), "num_res_blocks": 1, "attention_resolutions": ()}
    base.replace_section(config, "network", dropout=0.0, dtype="float32", learn_sigma=False, **network)
    base.replace_section(config, "process", name="vp_chain", num_levels=40)
    config.loss.time_sampling = "uniform"
    config.data.update(name="dead_leaves", image_size=8, channels=1, train_split="train[:32]", eval_split="test[:4]")
    config.sampler.update(name="ddim", num_steps=2)
    config.sampling.update(num_samples=8, batch_size=8)
    config.evaluation.update(num_samples=8, batch_size=1)
    config.likelihood.update(batch_size=8, sensitivity_batches=0)
    params = builder.experiment(config).network.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    leaves[-1] = leaves[-1].at[(0,) * leaves[-1].ndim].set(np.nan)
    save_config(workdir, config)
    save_params(workdir, jax.tree.unflatten(tree, leaves))
    features = DigitClassifier(2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    save_classifier(workdir / "digit_classifier.npz", Classifier(features, 2))
    PILImage.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(workdir / "image.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    PILImage.fromarray(mask).save(workdir / "mask.png")
    return workdir


VERBS = {
    "sample": ["sample"],
    "edit": ["edit", "--image={workdir}/image.png", "--mask={workdir}/mask.png"],
    "evaluate": ["evaluate"],
    "vlb": ["likelihood", "--method=vlb"],
    "bound": ["likelihood", "--method=bound"],
    "grid": ["likelihood", "--method=ode", "--config.likelihood.control=grid", "--config.likelihood.num_steps=3"],
    "ode": ["likelihood", "--method=ode"],
    "encode": ["encode"],
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_says_that_its_numbers_are_none(verb, broken, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    # A solve that gets nowhere gives up sooner.
    monkeypatch.setattr("score_jax.builder.likelihood.AdaptiveODE", functools.partial(AdaptiveODE, max_steps=8))
    words = [word.format(workdir=broken) for word in VERBS[verb]]
    assert cli.main(["score_jax", *words, f"--workdir={broken}"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"score_jax {words[0]}: ") and ("finite" in said or "gave up" in said)
    assert "NaN" not in said and "nan" not in said.lower()
    for file in broken.glob("*.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)


def test_a_likelihood_without_a_mean_counts_who_has_none(broken, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert cli.main(["score_jax", "likelihood", "--method=vlb", f"--workdir={broken}"]) == 2
    assert "4 of 4 examples have no likelihood (the first is number 0" in capsys.readouterr().err
    summary = json.loads((broken / "likelihood_vlb.json").read_text())
    assert summary["failed"] == 4 and summary["first_failed"] == 0
    assert not any(key.startswith("bpd") for key in summary)
    assert np.isnan(np.load(broken / "likelihood_vlb.npz")["bits_per_dim"]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("-inf")])
def test_a_result_that_is_none_is_not_written(tmp_path, value):
    file = tmp_path / "result.json"
    write_json(file, {"fid": 1.0})
    with pytest.raises(InputError, match=r"by_class\[1\].kid is "):
        write_json(file, {"fid": 2.0, "by_class": [{"kid": 0.1}, {"kid": value}]})
    assert json.loads(file.read_text()) == {"fid": 1.0} and list(tmp_path.iterdir()) == [file]


def test_arrays_lie_in_the_file_that_is_named(tmp_path):
    write_arrays(tmp_path / "name", {"x": np.arange(3)})
    assert [file.name for file in tmp_path.iterdir()] == ["name"]
    np.testing.assert_array_equal(np.load(tmp_path / "name")["x"], [0, 1, 2])
