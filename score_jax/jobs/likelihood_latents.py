"""What an autoencoder of a model of latents says of images, as the bound on images asks it."""

import jax.numpy as jnp
from jaxtyping import Array, UInt8

from score_jax.builder import Experiment
from score_jax.codecs.latents import Latents
from score_jax.errors import InputError
from score_jax.models.autoencoders.posterior import Posterior, posterior_of
from score_jax.typing import Batch, Params, Resized


def latents_of(experiment: Experiment) -> Latents:
    """Returns the codec of a model of latents that its autoencoder draws.

    Raises:
      InputError: the model is of other data, or its autoencoder says no distribution.
    """
    codec = experiment.codec
    if not isinstance(codec, Latents):
        raise InputError(
            "--method=images is for models of latents (codec.name=latents), and this model is of the data themselves: "
            "give --method=ode."
        )
    if not codec.stochastic:
        raise InputError(
            "--method=images needs the distribution q(z | x) of an autoencoder_kl, and an autoencoder_vq has no "
            "posterior: measure the density of latents by --method=ode."
        )
    return codec


def latents_with(experiment: Experiment, params: Params) -> Latents:
    """Returns that codec with the parameters of its autoencoder."""
    codec = experiment.codec_with(params)
    assert isinstance(codec, Latents)
    return codec


def posterior(coder: Latents, images: UInt8[Array, "b h w c"]) -> Posterior:
    """Returns what the encoder says of z, in the precision of the solve."""
    moments = coder.first_stage.encode(coder.params, coder.pixels.encode(images))
    return posterior_of(moments.astype(jnp.result_type(float)))


def decoded(coder: Latents, z: Batch) -> Resized:
    """Returns what the decoder makes of z, in levels; they are not limited to 0..255."""
    images = coder.images(coder.scale * z).astype(z.dtype)
    return (images - coder.pixels.low) * coder.pixels.levels_per_unit
