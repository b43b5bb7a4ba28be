"""Classifier-free guidance of a model of codes: of its logits (Ramesh et al. 2022, section 2.2.1, name no rule)."""

import jax
from jaxtyping import Array, Float, Int, PyTree

from score_jax.guidance.classifier_free import Pair
from score_jax.prediction.codes import CodeModel, Logits
from score_jax.typing import Batch


def guided(model: CodeModel, scale: float) -> CodeModel:
    """Returns the model with reference + scale (given - reference) as its logits, of a `Pair` of conditions.

    The logits are log-probabilities, so that the law is p_given^scale p_reference^(1 - scale), normalised.
    """

    def mixed(given: Float[Array, "..."], reference: Float[Array, "..."]) -> Float[Array, "..."]:
        given, reference = jax.nn.log_softmax(given), jax.nn.log_softmax(reference)
        return reference + scale * (given - reference)

    def logits(x0: Batch, pair: Pair) -> Float[Array, "b k buckets"]:
        return mixed(model.logits(x0, pair.given), model.logits(x0, pair.reference))

    def begin(pair: Pair) -> tuple[Logits, PyTree]:
        given, of_given = model.begin(pair.given)
        reference, of_reference = model.begin(pair.reference)
        return mixed(given, reference), (of_given, of_reference)

    def go_on(code: Int[Array, "b"], memory: PyTree, pair: Pair) -> tuple[Logits, PyTree]:
        given, of_given = model.go_on(code, memory[0], pair.given)
        reference, of_reference = model.go_on(code, memory[1], pair.reference)
        return mixed(given, reference), (of_given, of_reference)

    return CodeModel(logits, begin, go_on, 2 * model.evaluations)
