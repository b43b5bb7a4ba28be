"""A bound on the probability of images under a model of latents.

    log p(x) >= E[log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x)]       z_k ~ q(z | x)

q(z | x) is around what the autoencoder says of an image, p(z) the density of x0 = scale z by the probability-flow ODE,
and p(x | z) a probability of 8-bit levels around what the decoder makes of z; `jobs.likelihood_calibration` has fitted
what they leave free.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from score_jax.arrays import fold_in_each, normal_per_example
from score_jax.builder import Experiment
from score_jax.jobs.likelihood_calibration import Calibration
from score_jax.jobs.likelihood_latents import decoded, latents_of, latents_with, posterior
from score_jax.jobs.likelihood_ode import Measure, density_by_ode
from score_jax.likelihood.bits import bits_per_dim, importance_weighted
from score_jax.likelihood.latent_bound import terms, widened
from score_jax.typing import Params

TERMS = ("reconstruction", "prior", "entropy")


def by_images(experiment: Experiment, calibration: Calibration, *, closer: bool = False) -> Measure:
    """Measures the bound, and each of its terms of each draw; `closer`: the ODE at tolerances ten times smaller.

    Raises:
      InputError: the model is of other data than latents, or its autoencoder says no distribution.
    """
    latents_of(experiment)
    c, of_x0 = experiment.exact(), density_by_ode(experiment, closer=closer)
    dim = math.prod(experiment.image_shape)

    def measure(params: Params, keys, batch):
        images, coder = batch["image"], latents_with(experiment, params)
        density = of_x0(params, keys, batch)
        q = widened(posterior(coder, images), calibration.posterior, calibration.log_width)

        def once(k) -> dict[str, Array]:
            found, values = terms(
                q,
                normal_per_example(fold_in_each(fold_in_each(keys, 1), k), q.mean),
                coder.scale,
                log_prob=lambda x0: density(x0, k),
                log_likelihood=lambda z: calibration.decoder.log_prob(images, decoded(coder, z)),
            )
            return values | {name: getattr(found, name) for name in TERMS} | {"log_weight": found.log_weight}

        columns = {name: values.T for name, values in jax.lax.map(once, jnp.arange(c.importance_samples)).items()}
        each, together = jnp.mean(columns["log_weight"], axis=1), importance_weighted(columns["log_weight"])
        return columns | {
            "bits_per_dim": bits_per_dim(each, dim, 0.0),
            "bits_per_dim_iw": bits_per_dim(together, dim, 0.0),
        }

    return measure
