"""Two processes of one device train an autoencoder and a model of its latents, and sample, as one of eight does."""

import json

import numpy as np
import pytest
from latent_runs import write_configs
from processes import in_two_processes

from score_jax.builder.workdirs import load_config
from score_jax.training.log import read_curve
from tiny import here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The workdirs of autoencoder and model, by two processes and by one."""
    folder = tmp_path_factory.mktemp("latent_processes")
    of_autoencoder, of_model = write_configs(folder)
    found = []
    for run in (in_two_processes, here):
        first, model = (folder / f"{name}_{run.__name__}" for name in ("autoencoder", "model"))
        run("train", f"--config={of_autoencoder}", f"--workdir={first}")
        run("train", f"--config={of_model}", f"--workdir={model}", f"--config.training.first_stage={first}")
        run("sample", f"--workdir={model}")
        found.append((first, model))
    return found


def test_an_autoencoder_is_trained_the_same(runs):
    """Its discriminator's norms see the whole batch."""
    several, one = ([json.loads(line) for line in (first / "loss.jsonl").read_text().splitlines()] for first, _ in runs)
    assert [row["step"] for row in several] == [row["step"] for row in one] == [1, 2, 3, 4]
    for name in ("error_model", "kl_model", "adversarial_weight_model", "loss_discriminator"):
        np.testing.assert_allclose([row[name] for row in several], [row[name] for row in one], rtol=1e-3, err_msg=name)


def test_a_model_of_latents_is_trained_the_same(runs):
    several, one = (read_curve(model) for _, model in runs)
    assert list(several) == list(one) == [1, 2, 3, 4]
    np.testing.assert_allclose(list(several.values()), list(one.values()), rtol=1e-4)


def test_the_scale_of_latents_is_of_the_whole_batch(runs):
    several, one = (load_config(model).codec.scale for _, model in runs)
    assert several == pytest.approx(one, rel=1e-4)


def test_samples_are_the_same(runs):
    several, one = (np.load(model / "samples.npz")["arr_0"].astype(int) for _, model in runs)
    assert len(one) == 8 and one.std() > 1
    np.testing.assert_allclose(several, one, atol=2)
