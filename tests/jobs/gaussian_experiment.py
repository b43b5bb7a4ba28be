"""An experiment whose model is exact: images with independent normal pixels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import builder
from score_jax.arrays import broadcast_right
from score_jax.configs import base
from score_jax.data.sources import Source
from score_jax.prediction.predictor import from_score
from score_jax.runtime.stop import Stop

MEAN, STD = 0.1, 0.3
"""Of a pixel, in the model's range."""
SIZE, COUNT = 4, 22


class StopAfter(Stop):
    """Asks to end once it has been asked more than so often."""

    def __init__(self, questions):
        super().__init__()
        self.left = questions

    def __bool__(self):
        self.left -= 1
        return self.left < 0


def experiment(process="vp", value_range=(-1.0, 1.0), predict=None, **options):
    """`options` are of the likelihood section."""
    config = base.get_config()
    base.replace_section(config, "process", **({"name": process} if isinstance(process, str) else process))
    network = dict(channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=())
    base.replace_section(config, "network", name="adm", dropout=0.0, learn_sigma=False, dtype="float32", **network)
    if "num_levels" in config.process:
        config.prediction.label = "index"
    config.data.update(image_size=SIZE, channels=1)
    config.codec.value_range = value_range
    chosen = {
        "ode": dict(divergence="exact", sensitivity_batches=0),
        "vlb": dict(clip=False),
        "bound": dict(clip=False),
    }
    config.likelihood.update({"batch_size": 8} | chosen.get(options.get("name", "ode"), {}) | options)
    config.sampler.name = "ancestral"
    return of_config(config)


def of_config(config):
    """The exact model of a config as `experiment` makes them."""
    built = builder.experiment(config)
    return _Exact(**{field.name: getattr(built, field.name) for field in dataclasses.fields(built)})


class _Exact(builder.Experiment):
    """With the true score in place of the network's, under whichever process it is asked."""

    def predictor(self, params, *, guided=False):
        middle, half = sum(self.codec.bounds) / 2, self.codec.width / 2
        mean, variance = middle + half * MEAN, (half * STD) ** 2

        def predict(x, t, conditions):
            alpha, sigma = (broadcast_right(level, x) for level in (self.process.alpha(t), self.process.sigma(t)))
            score = -(x - alpha * mean) / (alpha**2 * variance + sigma**2)
            return from_score(score, x, t, self.process)

        return predict


def source():
    """Images of that law, rounded to 8 bits."""
    pixels = MEAN + STD * np.asarray(jax.random.normal(jax.random.key(7), (COUNT, SIZE, SIZE, 1)))
    images = np.clip(np.floor((pixels + 1) / 2 * 256), 0, 255).astype(np.uint8)
    return Source("normal pixels", [{"image": image, "label": 0} for image in images], lambda pixels, name: pixels)


def log_density(x, value_range=(-1.0, 1.0), noise=0.0):
    """Of dequantised images (n, h, w, c) with so much noise, nats (n,)."""
    middle, half = sum(value_range) / 2, (value_range[1] - value_range[0]) / 2
    each = jax.scipy.stats.norm.logpdf(x, middle + half * MEAN, ((half * STD) ** 2 + noise**2) ** 0.5)
    return jnp.sum(each, axis=(1, 2, 3))
