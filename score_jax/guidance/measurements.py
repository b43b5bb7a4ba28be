"""Conditions on what is known of an image, as wrappers of a step or of a sampler's state: no loop is written twice.

A measurement y = A x0 is held by replacing, in the state, what A sees by y brought to the state's noise level:

    x <- x - A⁺ A x + A⁺ (alpha y + sigma A z)          (Song et al. 2021, appendix I; A A⁺ = 1)

This is exact where A has orthonormal rows (a mask, a change of basis), and otherwise draws noise of covariance A A^T.
The replaced part follows its own law, not the one given the rest, so samples are biased towards disharmony between the
two; more steps, a corrector, or repeats at each level lessen it.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise, later
from score_jax.typing import Batch, Time

Linear = Callable[[Batch], Batch]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A linear operator on images and a right inverse of it.

    Attributes:
      operator: A: images (b, ...) to measurements (b, ...).
      inverse: A⁺: measurements to images, with A A⁺ = 1.
      of_pixels: whether it measures some of the numbers of an image, each by itself.
    """

    operator: Linear
    inverse: Linear
    of_pixels: bool = False

    def seen(self, x: Batch) -> Batch:
        """A⁺ A x: what of the image is measured."""
        return self.inverse(self.operator(x))


def mask(known: Float[Array, "..."] | Float[np.ndarray, "..."]) -> Measurement:
    """Makes the measurement of inpainting: pixels are known where `known` (like an image, or a batch) is 1."""
    return Measurement(lambda x: x * known, lambda y: y * known, of_pixels=True)


_GREY = np.full(3, 3**-0.5)
"""The direction of grey among the colours, of length 1."""


def grey() -> Measurement:
    """Makes the measurement of colorization: the channel sum of (b, h, w, 3) over sqrt(3) is known, (b, h, w, 1)."""

    def operator(x: Batch) -> Batch:
        return x @ jnp.asarray(_GREY[:, None], x.dtype)

    return Measurement(operator, lambda y: y @ jnp.asarray(_GREY[None, :], y.dtype))


def in_basis(matrix: Float[np.ndarray, "c c"], channel: int) -> Measurement:
    """Makes a measurement of one channel of x @ matrix, (b, ..., 1), with the inverse of the matrix.

    Raises:
      InputError: the matrix has no inverse.
    """
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError as error:
        raise InputError("The basis of a measurement needs an inverse, but this matrix is singular.") from error
    column, row = matrix[:, channel, None], inverse[None, channel, :]
    return Measurement(lambda x: x @ jnp.asarray(column, x.dtype), lambda y: y @ jnp.asarray(row, y.dtype))


def matrix(rows: Float[np.ndarray, "m d"]) -> Measurement:
    """Makes any linear measurement of the flattened image, (b, m), with the pseudo-inverse of its matrix.

    For images of other than flat shape use `Measurement` with functions of yours.

    Raises:
      InputError: the rows are not independent, so no image need have the measured values.
    """
    if np.linalg.matrix_rank(rows) < len(rows):
        raise InputError(
            f"The {len(rows)} rows of a measurement are not linearly independent: leave out the rows that "
            "follow from others."
        )
    pseudo = np.linalg.pinv(rows)
    return Measurement(lambda x: x @ jnp.asarray(rows.T, x.dtype), lambda y: y @ jnp.asarray(pseudo.T, y.dtype))


def replace(measurement: Measurement, x: Batch, known: Batch) -> Batch:
    """Replaces the measured part of x by A⁺ known."""
    return x - measurement.seen(x) + measurement.inverse(known)


def noised(process: NoiseSchedule, measurement: Measurement, y: Batch, t: Time, z: Batch) -> Batch:
    """Returns the measurement of an image at time t: alpha y + sigma A z."""
    alpha, sigma = broadcast_right(process.alpha(t), y), broadcast_right(process.sigma(t), y)
    return alpha * y + sigma * measurement.operator(z)


def held_after(step, process: NoiseSchedule, measurement: Measurement, y: Batch, draws: int, *, at_start: bool = False):
    """Makes a step whose result has the measurement y at the noise level of its end.

    Args:
      step: the rule to wrap.
      process: its process.
      measurement: what is known.
      y: its value.
      draws: of the step; the measurement's noise is drawn after them.
      at_start: at the level it comes from instead, as score_sde has it; the mean then keeps the step's noise where
        nothing is known, and has the clean measurement.
    """

    noisily = _held_noisily(step, process, measurement, y, draws, at_start=at_start)

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x, mean = noisily(noise, x, t, s, predictor)
        clean = broadcast_right(process.alpha(t if at_start else s), y) * y
        return x, replace(measurement, x if at_start else mean, clean)

    return wrapped


def _held_noisily(step, process: NoiseSchedule, measurement: Measurement, y: Batch, draws: int, *, at_start: bool):
    """What `held_after` does to the state; what else the step returns stays as it is."""

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x, other = step(noise, x, t, s, predictor)
        z, level = later(noise, draws)(0), t if at_start else s
        return replace(measurement, x, noised(process, measurement, y, level, z)), other

    return wrapped


def held_before(step, measurement: Measurement, known: Callable[[Noise, Time], Batch], *, after: bool = False):
    """Makes a step whose start has the measurement `known(noise, t)`; with `after`, its result has it too.

    NCSNv2's inpainting draws the corruption anew at each step; NCSN's once per level, and writes it after steps too.
    """

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        value = known(noise, t)
        x, mean = step(noise, replace(measurement, x, value), t, s, predictor)
        if not after:
            return x, mean
        return replace(measurement, x, value), replace(measurement, mean, value)

    return wrapped


def blended_after(step, process: NoiseSchedule, measurement: Measurement, y: Batch, draws: int):
    """Makes a step whose result has the measurement y at the noise level of its start (Avrahami et al. 2022).

    What else the step returns, its mean or the predicted x0, stays as it is. Arguments are those of `held_after`.
    """
    return _held_noisily(step, process, measurement, y, draws, at_start=True)


def ending_in_x0(step):
    """Makes a step that returns its predicted x0 in place of its mean, so that sampling ends in the predicted x0.

    Of a rule that asks the model once, about its x and t.
    """

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        prediction = predictor(x, t)
        x, _ = step(noise, x, t, s, lambda x, t: prediction)
        return x, prediction.x0

    return wrapped


def slerp(a: Batch, b: Batch, weight: Float[Array, ""] | float) -> Batch:
    """Interpolates latents (b, ...) on the sphere: a at weight 0, b at 1 (Song et al. 2021a, appendix D.5)."""
    flat_a, flat_b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
    cosine = jnp.sum(flat_a * flat_b, axis=1) / jnp.sqrt(jnp.sum(flat_a**2, axis=1) * jnp.sum(flat_b**2, axis=1))
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    straight = angle < 1e-6
    safe = jnp.where(straight, 1.0, angle)
    of_a = jnp.where(straight, 1 - weight, jnp.sin((1 - weight) * safe) / jnp.sin(safe))
    of_b = jnp.where(straight, weight, jnp.sin(weight * safe) / jnp.sin(safe))
    return broadcast_right(of_a, a) * a + broadcast_right(of_b, b) * b
