"""`sampler.variance=analytic` through the verbs: measured once on training data, and kept in the workdir."""

import json

import gaussian_experiment
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.jobs import analytic_variance
from score_jax.prediction.analytic_variance import Moments
from score_jax.runtime.sharding import make_mesh
from tiny import here, write_config

OPTIONS = (
    "--config.sampler.name=ancestral",
    "--config.sampler.variance=analytic",
    "--config.sampler.variance_examples=24",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def workdir(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert here("train", f"--config={config}", f"--workdir={folder}", "--config.training.steps=2") == 0
    return folder


def kept(workdir):
    return {path: path.read_bytes() for path in (workdir / analytic_variance.FOLDER).glob("*.json")}


def drawn(workdir, out, *options):
    assert here("sample", f"--workdir={workdir}", f"--out={out}", *OPTIONS, *options) == 0
    with np.load(out / "samples.npz") as z:
        return z["arr_0"]


@pytest.mark.slow
def test_it_is_measured_once(workdir, tmp_path, capsys):
    first = drawn(workdir, tmp_path / "first")
    assert (
        capsys.readouterr().out.count("Measuring the analytic variance of 5 steps on 24 examples of dead_leaves") == 1
    )
    files = kept(workdir)
    (path,) = files
    found = json.loads(files[path])
    assert path.name.startswith("2_") and len(found["times"]) == len(found["of"]["alphas"]) == 5
    assert here("export", workdir, tmp_path / "shared") == 0
    np.testing.assert_array_equal(first, drawn(tmp_path / "shared", tmp_path / "of_the_export"))
    second = drawn(workdir, tmp_path / "second")
    assert "Measuring" not in capsys.readouterr().out and kept(workdir) == files
    np.testing.assert_array_equal(first, second)
    other = drawn(
        workdir, tmp_path / "other", "--config.sampler.variance=fixed_small", "--config.sampler.variance_examples=1024"
    )
    assert not np.array_equal(first, other)
    drawn(workdir, tmp_path / "more", "--steps=6")
    assert "variance of 6 steps" in capsys.readouterr().out and len(kept(workdir)) == 2
    path.write_text(json.dumps(found | {"mean_squared_eps": [0.5]}))
    assert here("sample", f"--workdir={workdir}", f"--out={tmp_path}", *OPTIONS) == 2
    assert f"{path} is damaged: remove it" in capsys.readouterr().err


@pytest.mark.slow
def test_what_has_no_use_of_it(config, workdir, tmp_path, capsys):
    words = (*OPTIONS, "--config.training.sample_every=1")
    assert here("train", f"--config={config}", f"--workdir={tmp_path}", *words) == 2
    assert "training.sample_every=1 draws pictures while the model trains" in capsys.readouterr().err
    assert here("likelihood", f"--workdir={workdir}", "--method=vlb", *OPTIONS) == 2
    assert "likelihood.variance=auto is that of the sampler" in capsys.readouterr().err


def exact(process="vp", num_steps=4):
    experiment = gaussian_experiment.experiment(process)
    config = experiment.config.copy_and_resolve_references()
    config.sampler.update(variance="analytic", num_steps=num_steps, variance_examples=352)
    config.sampling.batch_size = 32
    config.data.dequantize = True
    return gaussian_experiment.of_config(config)


@pytest.mark.parametrize("process", ["vp", {"name": "vp_chain", "num_levels": 1000}], ids=["vp", "vp_chain"])
def test_moments_of_an_exact_model_are_those_of_its_data(process, monkeypatch):
    monkeypatch.setattr(analytic_variance, "open_training", lambda experiment: gaussian_experiment.source())
    experiment = exact(process)
    assert experiment.needs_moments
    found = analytic_variance.measured(experiment, {}, make_mesh())
    chain = experiment.sampling().process
    alpha, sigma = (np.asarray(level(jnp.asarray(found.times))) for level in (chain.alpha, chain.sigma))
    expected = sigma**2 / ((alpha * gaussian_experiment.STD) ** 2 + sigma**2)
    np.testing.assert_allclose(found.mean_squared_eps, expected, atol=0.03)
    mean_square = gaussian_experiment.MEAN**2 + gaussian_experiment.STD**2
    assert found.mean_squared_x0 == pytest.approx(mean_square, rel=0.1)
    assert not analytic_variance.with_moments(experiment, found).needs_moments


def test_moments_of_another_walk():
    experiment = exact()
    moments = Moments(np.array([0.9, 0.5]), np.array([0.5, 0.5]), 1.0)
    with pytest.raises(InputError, match="measured at 2 other times than the 4 of this walk"):
        analytic_variance.with_moments(experiment, moments).sampling()


def test_a_program_that_is_only_compiled_has_moments_of_nothing():
    supposed = analytic_variance.supposed(exact())
    assert supposed.sampling().sampler.method.nfe == 4
