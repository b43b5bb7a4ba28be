"""Two processes of one device train a model of latents, of an autoencoder of one process, as one of eight does."""

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
    """The workdirs of the model, by two processes and by one."""
    folder = tmp_path_factory.mktemp("latent_processes")
    of_autoencoder, of_model = write_configs(folder)
    first, found = folder / "autoencoder", []
    here("train", f"--config={of_autoencoder}", f"--workdir={first}")
    for run in (in_two_processes, here):
        found.append(folder / f"model_{run.__name__}")
        run("train", f"--config={of_model}", f"--workdir={found[-1]}", f"--config.training.first_stage={first}")
    return found


def test_a_model_of_latents_is_trained_the_same(runs):
    several, one = map(read_curve, runs)
    assert list(several) == list(one) == [1, 2, 3, 4]
    np.testing.assert_allclose(list(several.values()), list(one.values()), rtol=1e-4)


def test_the_scale_of_latents_is_of_the_whole_batch(runs):
    several, one = (load_config(model).codec.scale for model in runs)
    assert several == pytest.approx(one, rel=1e-4)
