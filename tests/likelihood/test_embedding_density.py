"""The exact density of a diffusion prior of embeddings, where the embeddings of each text are normal."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.codecs.embeddings import CLIP, STATISTICS
from score_jax.configs import base
from score_jax.configs.unclip import small_clip
from score_jax.configs.unclip.shared import of_embeddings, text_sizes
from score_jax.jobs.likelihood import by_ode
from score_jax.models.conditions import TOKENS
from score_jax.prediction.predictor import from_score

D, COUNT = 4, 6
ROOT = np.array([[0.9, 0.0, 0.0, 0.0], [0.5, 0.7, 0.0, 0.0], [-0.3, 0.2, 0.5, 0.0], [0.1, -0.4, 0.2, 0.3]])
COVARIANCE = ROOT @ ROOT.T
SHIFT, OF_TEXT = np.array([0.3, -0.2, 0.1, 0.4]), np.array([0.1, -0.2, 0.05, 0.2])
"""Of x0: its mean is the first, and the second times the text's embedding."""
STATISTICS_OF = {"mean": np.array([0.05, -0.1, 0.0, 0.02]), "std": np.array([0.4, 0.6, 0.5, 0.3])}


class _Exact(builder.Experiment):
    """With the true score in place of the network's, under whichever process it is asked."""

    def predictor(self, params, *, guided=False):
        def score(x, t, text):
            mean = SHIFT + OF_TEXT * text
            covariance = self.process.alpha(t) ** 2 * COVARIANCE + self.process.sigma(t) ** 2 * jnp.eye(D)
            return -jnp.linalg.solve(covariance, x[0, 0] - self.process.alpha(t) * mean)[None, None]

        def predict(x, t, conditions):
            return from_score(jax.vmap(score)(x, t, conditions["text_embedding"]), x, t, self.process)

        return predict


def prior():
    clip = small_clip.get_config()
    clip.data.update(image_size=8, max_tokens=4)
    clip.network.update(features=D, patch=4, width=8, layers=1, heads=1)
    clip.network.update(length=4, text_width=8, text_layers=1, text_heads=1)
    config = of_embeddings(clip)
    sizes = dict(width=8, layers=1, heads=1) | text_sizes(clip)
    base.replace_section(config, "network", name="prior_transformer", dtype="float32", **sizes)
    config.likelihood.update(divergence="exact", rtol=1e-8, atol=1e-8, sensitivity_batches=0)
    built = builder.experiment(config)
    return _Exact(**{field.name: getattr(built, field.name) for field in dataclasses.fields(built)})


def params_of(experiment):
    """A CLIP that says something else of each text, and statistics of embeddings."""
    keys = iter(jax.random.split(jax.random.key(0), 1000))
    clip = jax.tree.map(lambda leaf: jax.random.normal(next(keys), leaf.shape), experiment.frozen[CLIP].shapes())
    return experiment.with_frozen({}, {CLIP: clip, STATISTICS: jax.tree.map(jnp.asarray, STATISTICS_OF)})


@pytest.fixture(scope="module")
def measured():
    """The log density by the ODE of some embeddings x0 in nats, these, and the embeddings of their texts."""
    with jax.enable_x64(True):
        experiment = prior()
        params = params_of(experiment)
        tokens = jnp.array([[1, 2, 3, 0], [4, 5, 0, 0], [7, 6, 5, 4]] * 2, jnp.int32)
        text = experiment.conditions(params, {TOKENS: tokens})["text_embedding"]
        noise = jax.random.normal(jax.random.key(1), (COUNT, D)) @ ROOT.T
        x0 = SHIFT + OF_TEXT * np.asarray(text) + np.asarray(noise)
        embeddings = (x0 * STATISTICS_OF["std"] + STATISTICS_OF["mean"])[:, None, None]
        measure = jax.jit(by_ode(experiment, None))
        keys = jax.random.split(jax.random.key(2), COUNT)
        found = measure(params, keys, {"image": jnp.asarray(embeddings), TOKENS: tokens})
        assert found["ok"].all()
        flow = experiment.in_continuous_time().process
        t_min = jnp.asarray(experiment.likelihood.t_min)
        levels = float(flow.alpha(t_min)), float(flow.sigma(t_min))
        return np.asarray(found["log_prob"])[:, 0], x0, np.asarray(text), levels


def normal(x0, text, covariance, alpha=1.0, sigma=0.0):
    """The log density at x0 (n, d) in nats (n,) of embeddings with this covariance, noised."""
    rest = x0 - alpha * (SHIFT + OF_TEXT * text)
    covariance = alpha**2 * covariance + sigma**2 * np.eye(D)
    quadratic = np.einsum("ni,ij,nj->n", rest, np.linalg.inv(covariance), rest)
    return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * covariance)[1])


def test_it_is_the_normal_one_where_the_path_starts(measured):
    """But for what is left of the mean at the other end, 5e-5 of it, which the prior leaves out."""
    found, x0, text, levels = measured
    assert np.ptp(OF_TEXT * text, axis=0).max() > 0.1  # so that the mean is another for another text
    np.testing.assert_allclose(found, normal(x0, text, COVARIANCE, *levels), atol=1e-4)


def test_it_is_that_of_embeddings_but_for_the_noise_of_the_first_level(measured):
    found, x0, text, (_, sigma) = measured
    changes_by = sigma**2 * np.trace(np.linalg.inv(COVARIANCE))
    assert changes_by < 2e-3
    np.testing.assert_allclose(found, normal(x0, text, COVARIANCE), atol=changes_by)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x0, text, levels: normal(x0, text, 1.001 * COVARIANCE, *levels),
        lambda x0, text, levels: normal(x0, text, COVARIANCE + 1e-3 * np.eye(D), *levels),
        lambda x0, text, levels: normal(x0, text, np.diag(np.diag(COVARIANCE)), *levels),
        lambda x0, text, levels: normal(x0, np.roll(text, 1, axis=0), COVARIANCE, *levels),
        lambda x0, text, levels: normal(x0, text, COVARIANCE, *levels) - np.log(STATISTICS_OF["std"]).sum(),
    ],
    ids=["scale", "noise", "no_correlation", "another_text", "in_units_of_the_clip"],
)
def test_no_other_density_is(measured, wrong):
    found, x0, text, levels = measured
    assert np.abs(found - wrong(x0, text, levels)).max() > 5e-4
