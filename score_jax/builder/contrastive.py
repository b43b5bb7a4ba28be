"""The `loss` section of CLIPs: from its options to what is trained."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from score_jax.arrays import fold_in_each
from score_jax.builder.first_stage import MODEL
from score_jax.builder.loss_options import ContrastiveOptions
from score_jax.builder.options import Options
from score_jax.errors import InputError
from score_jax.losses import contrastive
from score_jax.models.clip.clip import directions
from score_jax.models.clip.image_text import TEMPERATURE, ImageText
from score_jax.models.conditions import TOKENS
from score_jax.training.objective import Batch, Group, Groups, Objective, Outcome, Surroundings
from score_jax.training.optimizer import at_most
from score_jax.typing import KeyArray, KeyBatch, Params, Time


def build_contrastive(
    c: Options, network: ImageText, tx: optax.GradientTransformation, of_group: Mapping[str, Any]
) -> Groups:
    """Returns the one group of a CLIP's training, whose temperature stays within its bound.

    Args:
      c: the options of the objective.
      network: the CLIP.
      tx: the optimizer.
      of_group: other fields of the group.

    Raises:
      InputError: the options are not those of CLIPs, or images are shifted out of themselves.
    """
    if not isinstance(c, ContrastiveOptions):
        raise InputError("A CLIP is trained by loss.name=contrastive: give that.")
    size = network.image_shape[0]
    if c.shift >= size:
        raise InputError(
            f"loss.shift={c.shift} moves images of {size} pixels out of themselves: give less than {size}."
        )
    bounded = at_most(tx, TEMPERATURE, math.log(contrastive.LARGEST_SCALE))
    return {MODEL: Group(network.init, bounded, _objective(network, c.shift), **of_group)}


def _objective(network: ImageText, shift: int) -> Objective:
    """The contrastive loss over the whole batch, of all devices together: its arrays are global."""

    def outcome(
        params: Params, around: Surroundings, batch: Batch, times: Time, keys: KeyBatch, dropout_key: KeyArray
    ) -> Outcome:
        images = contrastive.shifted(fold_in_each(keys, 0), batch["image"], shift) if shift else batch["image"]
        ids, scale = batch[TOKENS], network.scale(params)
        of_images, of_texts = network.encode_image(params, images), network.encode_text(params, ids)
        logits = contrastive.logits_of(directions(of_images), directions(of_texts), scale)
        same = contrastive.same_texts(ids)
        values = contrastive.contrastive(logits, same)
        right = contrastive.is_best(jax.lax.stop_gradient(logits), same)
        metrics = {"accuracy": right.astype(values.dtype), "scale": scale * jnp.ones_like(values)}
        return Outcome(values, metrics, around.statistics)

    return Objective(outcome, whole_batch=True)
