"""The `loss` section of autoencoders: from its options to the two networks that are trained against each other."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from score_jax.arrays import fold_in_each, normal_per_example
from score_jax.builder.first_stage_options import FirstStageOptions
from score_jax.builder.options import Options
from score_jax.codecs.codec import Codec
from score_jax.errors import InputError
from score_jax.losses import adversarial, first_stage
from score_jax.models.autoencoders.first_stage import FirstStage
from score_jax.models.autoencoders.posterior import posterior_of
from score_jax.models.discriminators.patch import PatchDiscriminator
from score_jax.models.scorers.lpips import LPIPS, as_rgb
from score_jax.training.objective import Batch, Group, Groups, Objective, Outcome, Surroundings
from score_jax.typing import Image, KeyArray, KeyBatch, Params, Time

MODEL, DISCRIMINATOR = "model", "discriminator"
"""Names of the groups that are trained."""
LPIPS_NAME = "lpips"
"""Of the perceptual distance's parameters, which are not trained."""
_LAST = ("decoder", "conv_out", "kernel")
"""The last layer of an autoencoder, by whose gradients the two losses are balanced."""


def build_adversaries(
    c: Options, network: FirstStage, codec: Codec, tx: optax.GradientTransformation, of_group: Mapping[str, Any]
) -> tuple[Groups, PyTree]:
    """Returns the groups of an autoencoder's training, and what the discriminator's norms begin with.

    The autoencoder is stepped first; the discriminator then sees what the new one reconstructs of the same images, of
    new draws (Esser et al. 2021, section 3.1, in the order of the original's code).

    Args:
      c: the options of the objective.
      network: the autoencoder.
      codec: between images of 8 bits and what it encodes.
      tx: the optimizer of both.
      of_group: other fields of both groups.

    Raises:
      InputError: the options are not those of autoencoders.
    """
    if not isinstance(c, FirstStageOptions):
        raise InputError("An autoencoder is trained by loss.name=first_stage: give that.")
    training = _Adversaries(c, network, codec)
    model = Group(network.init, tx, Objective(training.of_autoencoder, whole_batch=True), **of_group)
    if not c.adversarial_weight:
        return {MODEL: model}, None
    discriminator = Group(training.init, tx, Objective(training.of_discriminator, whole_batch=True), **of_group)
    return {MODEL: model, DISCRIMINATOR: discriminator}, training.statistics()


def _replaced(params: Params, path: tuple[str, ...], leaf: Array) -> Params:
    """Nested dictionaries with another leaf."""
    name, *rest = path
    return params | {name: _replaced(params[name], tuple(rest), leaf) if rest else leaf}


def _leaf(params: Params, path: tuple[str, ...]) -> Array:
    return functools.reduce(lambda tree, name: tree[name], path, params)


class _Adversaries:
    """Both objectives, and what they share."""

    def __init__(self, c: FirstStageOptions, network: FirstStage, codec: Codec):
        self._c, self._network, self._codec = c, network, codec
        self._critic = PatchDiscriminator(c.discriminator_channels, c.discriminator_layers)
        self._losses = adversarial.DISCRIMINATOR_LOSSES[c.adversary]

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters of the discriminator."""
        return self._variables(key)["params"]

    def _variables(self, key: KeyArray) -> Any:
        return self._critic.init(key, jnp.zeros((1, *self._network.image_shape)), train=False)

    def statistics(self) -> PyTree:
        """The discriminator's running means, zeros, and variances, ones."""
        shapes = jax.eval_shape(self._variables, jax.random.key(0))["batch_stats"]
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.full(leaf.shape, float(path[-1].key == "var"), leaf.dtype), shapes
        )

    def _judged(self, params: Params, statistics: PyTree, images: Image) -> tuple[Array, PyTree]:
        """Logits of images by the batch's own statistics, and the running ones after it."""
        variables = {"params": params, "batch_stats": statistics}
        logits, changed = self._critic.apply(variables, images, train=True, mutable=["batch_stats"])
        return logits, changed["batch_stats"]

    def _reconstructed(
        self, params: Params, keys: KeyBatch, images: Image, dropout_key: KeyArray
    ) -> tuple[Image, Float[Array, "b"], dict[str, Array]]:
        """Reconstructions of images, the regulariser's loss, and what there is to say of the latents."""
        c, network = self._c, self._network
        draws, kwargs = fold_in_each(keys, 0), {"train": True, "rngs": {"dropout": dropout_key}}
        moments = network.encode(params, images, **kwargs)
        if network.stochastic:
            posterior = posterior_of(moments)
            z = posterior.draw(normal_per_example(draws, posterior.mean))
            kl = posterior.kl()
            return network.decode_as_is(params, z, **kwargs), c.kl_weight * kl, {"kl": kl}
        quantized = network.quantize(params, moments, beta=c.beta, legacy=c.legacy_beta)
        each = jnp.ones_like(quantized.loss)
        found = {
            "quantization": quantized.loss,
            "perplexity": quantized.perplexity * each,
            "codes_used": quantized.used * each,
        }
        return network.decode_as_is(params, quantized.values, **kwargs), c.codebook_weight * quantized.loss, found

    def _nll(self, frozen: PyTree, images: Image, reconstructions: Image) -> tuple[Float[Array, "b"], Array]:
        """The reconstruction's part of the loss, and the mean error of each image."""
        c, perceptual = self._c, None
        if c.perceptual_weight:
            pair = (as_rgb(reconstructions), as_rgb(images))
            perceptual = jnp.asarray(LPIPS().apply({"params": frozen[LPIPS_NAME]}, *pair))
        errors = first_stage.errors(
            images, reconstructions, perceptual, kind=c.pixels, perceptual_weight=c.perceptual_weight
        )
        mean = first_stage.mean_nll(errors)
        return (first_stage.summed_nll(errors, c.log_var) if self._network.stochastic else mean), mean

    def of_autoencoder(
        self, params: Params, around: Surroundings, batch: Batch, times: Time, keys: KeyBatch, dropout_key: KeyArray
    ) -> Outcome:
        """The autoencoder's objective: reconstruction, regulariser, and the discriminator's opinion."""
        images = self._codec.encode(batch["image"])
        reconstructions, regulariser, metrics = self._reconstructed(params, keys, images, dropout_key)
        nll, error = self._nll(around.frozen, images, reconstructions)
        metrics |= {"error": error}
        if DISCRIMINATOR not in around.groups:
            return Outcome(nll + regulariser, metrics, around.statistics)
        critic = around.groups[DISCRIMINATOR]
        logits, statistics = self._judged(critic, around.statistics, reconstructions)
        generator = adversarial.generator(logits)

        def by_last_layer(kernel: Array) -> Image:
            return self._reconstructed(_replaced(params, _LAST, kernel), keys, images, dropout_key)[0]

        def mean_generator(images: Image) -> Array:
            return jnp.mean(adversarial.generator(self._judged(critic, around.statistics, images)[0]))

        fixed = jax.lax.stop_gradient(reconstructions)
        _, pull = jax.vjp(by_last_layer, _leaf(params, _LAST))
        of_nll = jax.grad(lambda fake: jnp.mean(self._nll(around.frozen, images, fake)[0]))(fixed)
        weight = adversarial.adaptive_weight(
            pull(of_nll)[0], pull(jax.grad(mean_generator)(fixed))[0], self._c.adversarial_weight
        )
        factor = adversarial.factor_at(around.step, self._c.adversarial_start, self._c.adversarial_factor)
        metrics |= {"generator": generator, "adversarial_weight": weight * jnp.ones_like(generator)}
        return Outcome(nll + regulariser + weight * factor * generator, metrics, statistics)

    def of_discriminator(
        self, params: Params, around: Surroundings, batch: Batch, times: Time, keys: KeyBatch, dropout_key: KeyArray
    ) -> Outcome:
        """The discriminator's objective: to tell images from their reconstructions."""
        images = self._codec.encode(batch["image"])
        reconstructions, _, _ = self._reconstructed(around.groups[MODEL], keys, images, dropout_key)
        real, statistics = self._judged(params, around.statistics, images)
        fake, statistics = self._judged(params, statistics, reconstructions)
        factor = adversarial.factor_at(around.step, self._c.adversarial_start, self._c.adversarial_factor)
        metrics = {"logits_real": jnp.mean(real, axis=(1, 2, 3)), "logits_fake": jnp.mean(fake, axis=(1, 2, 3))}
        return Outcome(factor * self._losses(real, fake), metrics, statistics)
