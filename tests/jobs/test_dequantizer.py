"""Noise between levels that knows the image: its density, and the bound that it tightens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import experiment

from score_jax import builder
from score_jax.data.sources import Source
from score_jax.jobs import dequantizer, likelihood
from score_jax.jobs.likelihood_summary import headline
from score_jax.losses import dequantization
from score_jax.prediction.predictor import from_score
from score_jax.runtime.sharding import make_mesh

CENTRE, STD = 100.5 / 128 - 1, 0.15 / 128
"""Of a pixel whose law is narrower than a level."""


class Narrow(builder.Experiment):
    """With the score of such pixels."""

    def predictor(self, params, *, guided=False):
        def predict(x, t, conditions):
            alpha, sigma = (level[:, None, None, None] for level in (self.process.alpha(t), self.process.sigma(t)))
            return from_score(-(x - alpha * CENTRE) / (alpha**2 * STD**2 + sigma**2), x, t, self.process)

        return predict


def narrow(**options):
    built = experiment({"name": "ve", "sigma_min": 1e-4, "sigma_max": 100.0}, batch_size=16, **options)
    return Narrow(**{field.name: getattr(built, field.name) for field in dataclasses.fields(built)})


def levels(count):
    pixels = CENTRE + STD * np.asarray(jax.random.normal(jax.random.key(7), (count, 4, 4, 1)))
    images = np.floor((pixels + 1) * 128).astype(np.uint8)
    rows = [{"image": image, "label": 0} for image in images]
    return Source("narrow pixels", rows, lambda pixels, name: pixels)


def test_the_density_of_the_noise_is_one():
    """Integrated over the unit interval, and that of the drawn noise by its own change of variables."""
    keys = jax.random.split(jax.random.key(0), 4000)
    location, log_scale = jnp.full((4000, 1), 0.7), jnp.full((4000, 1), -0.4)
    u, log_q = dequantization.draw(keys, location, log_scale)
    assert ((u > 0) & (u < 1)).all()
    np.testing.assert_allclose(jnp.mean(jnp.exp(-log_q)), 1.0, atol=0.05)  # E[1 / q] is the length of the interval
    order = jnp.argsort(u[:, 0])
    area = jnp.trapezoid(jnp.exp(log_q[order]), u[order, 0])
    np.testing.assert_allclose(area, 1.0, atol=0.01)


def test_a_fresh_dequantiser_is_uniform_noise():
    built, images = experiment(), jnp.asarray(np.stack([levels(3)[i]["image"] for i in range(3)]))
    keys = jax.random.split(jax.random.key(0), 3)
    params = dequantizer._init(built.image_shape, jax.random.key(0))
    x, log_q = dequantizer.dequantize(params, keys, images, built.codec)
    np.testing.assert_allclose(x, built.codec.dequantize(keys, images), atol=1e-6)
    np.testing.assert_allclose(log_q, 0.0, atol=1e-4)


@pytest.mark.slow
def test_a_fitted_dequantiser_tightens_the_bound(tmp_path):
    """Pixels all but always in the middle of one level: uniform noise mostly misses their law."""
    source, mesh = levels(64), make_mesh()
    built = narrow(dequantization="variational", dequantizer_steps=300)
    params = dequantizer.fitted(built, {}, mesh, source, tmp_path / "kept")
    plain, tight = (
        headline(likelihood.measure(model, {}, mesh, source, dequantizer=given).summary)[0]
        for model, given in ((narrow(), None), (built, params))
    )
    edges = (jnp.arange(257) / 128 - 1 - CENTRE) / STD
    probability = jnp.diff(jax.scipy.stats.norm.cdf(edges))
    exact = -np.mean([jnp.log2(probability[source[i]["image"]]).mean() for i in range(64)])
    assert plain > exact + 0.3
    assert exact - 0.02 < tight < exact + 0.25 * (plain - exact)
    one_step = narrow(dequantization="variational", dequantizer_steps=1)
    again = dequantizer.fitted(one_step, {}, mesh, source, tmp_path / "kept")
    jax.tree.map(np.testing.assert_array_equal, params, again)
