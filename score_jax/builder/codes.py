"""Models that draw codes one after another: what their sections stand for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.builder.loss_options import CrossEntropy
from score_jax.builder.options import Options
from score_jax.builder.sampler_options import OneByOne
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.conditioning.alignment import ALIGNMENT
from score_jax.conditioning.conditioners import Conditioner, conditions_of
from score_jax.conditioning.dropout import with_dropout
from score_jax.errors import InputError
from score_jax.guidance.classifier_free import Pair
from score_jax.models.network import Network
from score_jax.prediction.codes import CodeModel, log_prob, of_network
from score_jax.prediction.predictor import Conditions
from score_jax.samplers.codes import Choice, draw_alignment, draw_codes
from score_jax.samplers.sample import Samples
from score_jax.training.objective import Objective, Outcome, Surroundings
from score_jax.typing import Batch, KeyArray, KeyBatch, Params, Time

_ALIGNMENT_STREAM = 0xA116


def build_code_loss(
    c: CrossEntropy, codec: EmbeddingCodes, network: Network, conditioners: Mapping[str, Conditioner]
) -> Objective:
    """Returns what training minimises: minus the log-probability of an example's codes, nats per code."""

    def outcome(
        params: Params, around: Surroundings, batch, times: Time, keys: KeyBatch, dropout_key: KeyArray
    ) -> Outcome:
        coder = codec.at(around.frozen)
        x0 = coder.encode(batch["image"])
        given = conditions_of(network.conditions, conditioners, batch, x0, coder, around.frozen)
        given = with_dropout(keys, given, network.conditions, dict.fromkeys(network.conditions, c.condition_dropout))
        conditions = network.encode(params, around.frozen, given)
        values = -log_prob(of_network(network, params), x0, conditions) / codec.statistics.components
        return Outcome(values, {}, around.statistics)

    return Objective(outcome)


def check_guidance(c: Options) -> None:
    """Raises InputError where guidance is asked for at some noise levels, and there is no noise."""
    for key in ("sigma_low", "sigma_high"):
        if getattr(c, key, 0):
            raise InputError(f"guidance.{key}={getattr(c, key):g}, but codes have no noise levels: leave it out.")


@dataclasses.dataclass(frozen=True, eq=False)
class CodeSampling:
    """How such a model is sampled; `draw` and `see` are as those of `Sampling`.

    Attributes:
      choice: how a code is drawn.
      alignments: buckets of how well an image goes with its text.
      least: the share of images above which the bucket is drawn.
    """

    choice: Choice
    alignments: int
    least: float

    def see(self, model: CodeModel) -> CodeModel:
        """The model as it is."""
        return model

    def draw(
        self,
        model: CodeModel,
        key: KeyArray,
        indices: Int[Array, "b"],
        shape: tuple[int, ...],
        *,
        num_saved: int = 0,
        initial: Batch | None = None,
        conditions: Mapping[str, Conditions],
    ) -> Samples:
        """Draws samples; sample i depends on `key` and on the global index i alone.

        Args:
          model: with guidance of a `Pair` of conditions, or without.
          key: one key for the whole set.
          indices: global indices (b,) of the samples to draw.
          shape: of one sample, (1, 1, k).
          num_saved: 0, as no trajectory is kept.
          initial: None, as nothing is begun with.
          conditions: "model" are the model's.

        Raises:
          InputError: a trajectory or an initial state is asked for.
        """
        if num_saved or initial is not None:
            raise InputError("A model of codes keeps no trajectory and begins with nothing: leave both out.")
        keys = keys_per_example(key, indices)
        aligned = draw_alignment(fold_in_each(keys, _ALIGNMENT_STREAM), self.alignments, self.least)
        own: Any = conditions["model"]
        if isinstance(own, Pair):
            own = dataclasses.replace(own, given={**own.given, ALIGNMENT: aligned})
        else:
            own = {**own, ALIGNMENT: aligned}
        codes = draw_codes(model, keys, shape[-1], own, self.choice)
        x = codes.reshape(len(codes), *shape).astype(jnp.result_type(float))
        nfe = jnp.full(indices.shape, shape[-1] * model.evaluations)
        return Samples(x, nfe, jnp.ones(indices.shape, bool), jnp.zeros((0, *x.shape), x.dtype), jnp.zeros(0))


def build_code_sampling(c: OneByOne, codec: EmbeddingCodes) -> CodeSampling:
    """Builds how a model of these codes is sampled."""
    return CodeSampling(Choice(c.softmax_temperature, c.top_p), codec.statistics.alignments, c.alignment_above)
