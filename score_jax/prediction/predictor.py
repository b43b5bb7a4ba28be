"""From a network's output to a `Prediction`: what samplers and likelihood see of a network.

A network is trained to output noise `eps`, data `x0`, `v`, the `velocity`, the `score`, or in the chains of DDPM the
`mean` of the level below; with (alpha, sigma) of the process each of them gives the others:

    x_t = alpha x0 + sigma eps,   score = -eps / sigma,   v = alpha eps - sigma x0
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, PyTree

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError, unknown_name
from score_jax.prediction.preconditioning import Preconditioning, denoise
from score_jax.prediction.time_labels import LABELS, chain_of
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.typing import Apply, Batch, Params, Time


@functools.partial(jax.tree_util.register_dataclass, data_fields=["x0", "eps", "score", "variance"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model predicts of x_t (b, ...), in three coordinates.

    Attributes:
      x0: the data.
      eps: the noise.
      score: grad log p_t(x_t).
      variance: what a network with learned variance says of it, in the coding that `reverse` reads; None of others.
    """

    x0: Batch
    eps: Batch
    score: Batch
    variance: Batch | None = None


Predictor = Callable[[Batch, Time], Prediction]
"""`predictor(x_t, t)` with t (b,): all that a sampler, a guidance or a likelihood needs to know of a model."""

Conditions = PyTree[Array] | None
"""What a model is given beside (x_t, t), one row per example; None: nothing."""
ConditionalPredictor = Callable[..., Prediction]
"""`predictor(x_t, t, conditions)`, or of None `predictor(x_t, t)`."""


def with_conditions(predictor: ConditionalPredictor, conditions: Conditions) -> Predictor:
    """Returns the predictor of a batch with these conditions."""
    return predictor if conditions is None else lambda x, t: predictor(x, t, conditions)


def with_params(predict: Callable[..., Prediction], params: Params) -> ConditionalPredictor:
    """Returns the model with its parameters: `predictor(x, t, conditions)` of `predict(params, x, t, **conditions)`."""
    return lambda x, t, conditions: predict(params, x, t, **conditions)


def answering_in(dtype: DTypeLike, predictor: ConditionalPredictor) -> ConditionalPredictor:
    """Returns the model evaluated in another dtype; its inputs and outputs keep the state's dtype."""

    def convert(tree: PyTree[Array], dtype: DTypeLike) -> PyTree[Array]:
        return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)

    def predict(x: Batch, t: Time, *conditions: Conditions) -> Prediction:
        return convert(predictor(*convert((x, t, *conditions), dtype)), x.dtype)

    return predict


FromOutput = Callable[[Batch, Batch, Time, NoiseSchedule], Prediction]


def _levels(process: NoiseSchedule, t: Time, x: Batch) -> tuple[Batch, Batch]:
    """alpha and sigma, to multiply x."""
    return broadcast_right(process.alpha(t), x), broadcast_right(process.sigma(t), x)


def from_eps(eps: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Makes the prediction of a network that outputs the noise (DDPM; VP and sub-VP of Song et al. 2021)."""
    alpha, sigma = _levels(process, t, x)
    return Prediction(x0=(x - sigma * eps) / alpha, eps=eps, score=-eps / sigma)


def from_score(score: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Makes the prediction of a network that outputs the score (NCSN; VE of Song et al. 2021), or of an exact score."""
    return from_eps(-broadcast_right(process.sigma(t), x) * score, x, t, process)


def from_x0(x0: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Makes the prediction of a network that outputs the data."""
    alpha, sigma = _levels(process, t, x)
    eps = (x - alpha * x0) / sigma
    return Prediction(x0=x0, eps=eps, score=-eps / sigma)


def from_v(v: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Predicts by a network that outputs v = alpha eps - sigma x0 (Salimans and Ho 2022, for any alpha, sigma)."""
    alpha, sigma = _levels(process, t, x)
    norm = alpha**2 + sigma**2
    eps = (alpha * v + sigma * x) / norm
    return Prediction(x0=(alpha * x - sigma * v) / norm, eps=eps, score=-eps / sigma)


def from_velocity(velocity: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Makes the prediction of a network that outputs dx_t/dt = alpha' x0 + sigma' eps (Lipman et al. 2023).

    Raises:
      InputError: the process is a chain of levels.
    """
    if not isinstance(process, GaussianProcess):
        raise InputError("prediction.output='velocity' needs a process in continuous time, e.g. 'flow'.")
    alpha, sigma = _levels(process, t, x)
    alpha_rate, sigma_rate = (broadcast_right(rate, x) for rate in process.rates(t))
    determinant = alpha * sigma_rate - alpha_rate * sigma
    eps = (alpha * velocity - alpha_rate * x) / determinant
    return Prediction(x0=(sigma_rate * x - sigma * velocity) / determinant, eps=eps, score=-eps / sigma)


def from_mean(mean: Batch, x: Batch, t: Time, process: NoiseSchedule) -> Prediction:
    """Makes the prediction of a network that outputs the mean of x at the level below (Ho et al. 2020).

    Raises:
      InputError: the process has no levels.
    """
    of_x, of_x0, _ = (broadcast_right(c, x) for c in chain_of(process).posterior_coefficients(t, t - 1))
    return from_x0((mean - of_x * x) / of_x0, x, t, process)


OUTPUTS: dict[str, FromOutput] = {
    "eps": from_eps,
    "score": from_score,
    "x0": from_x0,
    "v": from_v,
    "velocity": from_velocity,
    "mean": from_mean,
}


def network_predictor(apply: Apply, process: NoiseSchedule, *, output: str, label: str) -> Callable[..., Prediction]:
    """Returns the bridge from a pure network to predictions.

    Args:
      apply: `apply(params, x, label, **kwargs)`, a pure network; of twice the channels of x the second half is the
        learned variance.
      process: the process that x_t comes from.
      output: what the network outputs, a key of `OUTPUTS`.
      label: what number the network is given as its time, a key of `LABELS`.

    Returns:
      `predict(params, x, t, **kwargs) -> Prediction`; kwargs (`train`, `rngs`, a condition) go to `apply`.

    Raises:
      InputError: `output` or `label` is unknown.
    """
    if output not in OUTPUTS:
        raise unknown_name("prediction.output", output, OUTPUTS)
    if label not in LABELS:
        raise unknown_name("prediction.label", label, LABELS)

    def predict(params: Params, x: Batch, t: Time, **kwargs) -> Prediction:
        output_of_network = apply(params, x, LABELS[label](t, process), **kwargs)
        predicted, variance = jnp.split(output_of_network, [x.shape[-1]], axis=-1)
        prediction = OUTPUTS[output](predicted, x, t, process)
        return dataclasses.replace(prediction, variance=variance) if variance.size else prediction

    return predict


def classifier_logits(apply: Apply, process: NoiseSchedule, *, label: str) -> Callable[..., Array]:
    """Returns the bridge from a noisy-image classifier to logits: `logits(params, x_t, t, **kwargs)` (b, classes).

    Raises:
      InputError: `label` is unknown.
    """
    if label not in LABELS:
        raise unknown_name("prediction.label", label, LABELS)
    return lambda params, x, t, **kwargs: apply(params, x, LABELS[label](t, process), **kwargs)


def preconditioned_predictor(
    apply: Apply, process: NoiseSchedule, preconditioning: Preconditioning
) -> Callable[..., Prediction]:
    """Returns the bridge from a network of EDM (Karras et al. 2022) to predictions, under any process.

    The denoiser knows images x0 + sigma eps: it is asked about x_t / alpha at noise level sigma / alpha.

    Args:
      apply: the raw network.
      process: the process that x_t comes from.
      preconditioning: the network's.

    Returns:
      `predict(params, x, t, **kwargs) -> Prediction`; kwargs go to `apply`.
    """

    def predict(params: Params, x: Batch, t: Time, **kwargs) -> Prediction:
        alpha = process.alpha(t)
        noisy = x / broadcast_right(alpha, x)
        x0 = denoise(preconditioning, apply, params, noisy, process.sigma(t) / alpha, **kwargs)
        return from_x0(x0, x, t, process)

    return predict


def score_predictor(score: Callable[[Batch, Time], Batch], process: NoiseSchedule) -> Predictor:
    """Returns a predictor from a bare score function `score(x_t, t)`: no network needed.

    >>> import jax.numpy as jnp
    >>> from score_jax.processes.gaussian import VP
    >>> model = score_predictor(lambda x, t: -x, VP())  # the score of N(0, I), at every t
    >>> prediction = model(jnp.ones((1, 2)), jnp.array([0.5]))
    >>> print(prediction.score, prediction.x0.round(2))
    [[-1. -1.]] [[0.28 0.28]]
    """
    return lambda x, t: from_score(score(x, t), x, t, process)


def clipped(predictor: Predictor, process: NoiseSchedule, low: float = -1.0, high: float = 1.0) -> Predictor:
    """Clips every x0 to the data's range, and derives eps from it anew (Ho et al. 2020, code; "clip_denoised")."""

    def bounded(x: Batch, t: Time) -> Prediction:
        prediction = predictor(x, t)
        held = from_x0(jnp.clip(prediction.x0, low, high), x, t, process)
        return dataclasses.replace(held, variance=prediction.variance)

    return bounded


def dynamically_thresholded(predictor: Predictor, process: NoiseSchedule, quantile: float = 0.995) -> Predictor:
    """Clips every x0 to its own quantile of |x0| where that exceeds 1, and scales it back to [-1, 1].

    For images in [-1, 1] under strong guidance (Saharia et al. 2022, section 2.3; DPM-Solver++ takes 0.995).
    """

    def bounded(x: Batch, t: Time) -> Prediction:
        prediction = predictor(x, t)
        magnitude = jnp.abs(prediction.x0).reshape(x.shape[0], -1)
        bound = broadcast_right(jnp.maximum(jnp.quantile(magnitude, quantile, axis=1), 1.0), x)
        held = from_x0(jnp.clip(prediction.x0, -bound, bound) / bound, x, t, process)
        return dataclasses.replace(held, variance=prediction.variance)

    return bounded
