"""Guidance of an edit by text: losses of the predicted x0, and their gradient (Avrahami et al. 2022).

A loss is given the x0 that the model predicts of x_t, and the image that CLIP looks at,

    seen = sigma x0 + (1 - sigma) x_t        (their code; of processes with alpha² + sigma² = 1)

the predicted x0 where there is much noise, the state where there is little. Constants are those of the published code.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import reduce
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.guidance.classifier import by_gradient
from score_jax.guidance.views import Views
from score_jax.prediction.predictor import Prediction, Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Image, Time

Features = Float[Array, "n d"]
Distance = Callable[[Image, Time], Float[Array, "b"]]
"""`distance(image, t)`: of each image from what is wanted; t may choose the views that are drawn of it."""
Loss = Callable[[Image, Image, Time], Float[Array, "b"]]
"""`loss(x0, seen, t)`: of each image."""
Pull = Callable[[Image, Time], tuple[Prediction, Image]]
"""`pull(x_t, t)`: what the model predicts, and where a loss of it falls."""

_LEAST_NORM = 1e-12


def _directions(x: Features) -> Features:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), _LEAST_NORM)


def spherical_distance(x: Features, y: Float[Array, "#n d"]) -> Float[Array, "n"]:
    """Returns 2 arcsin(|u - v| / 2)² of the directions u, v of the rows: half the squared angle between them.

    Args:
      x: features (n, d).
      y: (n, d), or one row for all.
    """
    square = jnp.sum((_directions(x) - _directions(y)) ** 2, axis=-1)
    apart = square > 0  # where not, the distance is 0 and so is its gradient, which a root would lose
    chord = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)
    return 2 * jnp.arcsin(chord / 2) ** 2


def beyond_range(x0: Image) -> Float[Array, "b"]:
    """Returns how far images leave [-1, 1]: mean square over pixels and channels."""
    return reduce((x0 - jnp.clip(x0, -1.0, 1.0)) ** 2, "b h w c -> b", "mean")


def distance_to_text(
    embed: Callable[[Image], Features], text: Features, views: Callable[[Image, Time], Views]
) -> Distance:
    """Returns the mean distance of an image's views from a text.

    Args:
      embed: features of images in [0, 1].
      text: features (1, d) of the text, or (b, d) of each image's own.
      views: `views(images, t)`: n views of each of b images in [-1, 1], (n b, h, w, c), the first view of all of them
        first.
    """

    def distance(image: Image, t: Time) -> Float[Array, "b"]:
        features = embed((views(image, t) + 1) / 2)
        texts = jnp.tile(text, (len(features) // len(text), 1))
        return reduce(spherical_distance(features, texts), "(n b) -> b", "mean", b=image.shape[0])

    return distance


def edit_loss(distance: Distance, mask: Float[Array, "1 h w 1"], *, text_scale: float, range_scale: float) -> Loss:
    """Returns text_scale times the CLIP distance within the mask, plus range_scale times `beyond_range`.

    Args:
      distance: from the text.
      mask: 1 where the image is edited.
      text_scale: 1000 as published.
      range_scale: 50 as published.
    """

    def loss(x0: Image, seen: Image, t: Time) -> Float[Array, "b"]:
        return text_scale * distance(seen * mask, t) + range_scale * beyond_range(x0)

    return loss


def background_loss(
    perceptual: Callable[[Image, Image], Float[Array, "b"]],
    image: Image,
    mask: Float[Array, "1 h w 1"],
    *,
    perceptual_scale: float,
    square_scale: float,
) -> Loss:
    """How far what is seen outside the mask is from the image, which is not masked: as published, and off there.

    Args:
      perceptual: LPIPS of two batches.
      image: that is edited (b, h, w, c), or one for all.
      mask: 1 where it is.
      perceptual_scale: factor of LPIPS, 1000 as published.
      square_scale: factor of the mean square, 10000 as published (there over the batch too).
    """

    def loss(x0: Image, seen: Image, t: Time) -> Float[Array, "b"]:
        outside, whole = seen * (1 - mask), jnp.broadcast_to(image, seen.shape)
        square = reduce((outside - whole) ** 2, "b h w c -> b", "mean")
        return perceptual_scale * perceptual(outside, whole) + square_scale * square

    return loss


def pull(loss: Loss, predictor: Predictor, process: NoiseSchedule) -> Pull:
    """Returns the model's prediction and -grad of the loss through it with respect to x_t, of one evaluation."""

    def of(x: Image, t: Time) -> tuple[Prediction, Image]:
        sigma = broadcast_right(process.sigma(t), x)

        def total(x: Image) -> tuple[Float[Array, ""], Prediction]:
            prediction = predictor(x, t)
            x0 = prediction.x0
            return -jnp.sum(loss(x0, sigma * x0 + (1 - sigma) * x, t)), prediction

        gradient, prediction = jax.grad(total, has_aux=True)(x)
        return prediction, gradient

    return of


def pulled(loss: Loss, predictor: Predictor, process: NoiseSchedule) -> Predictor:
    """Returns the score plus the gradient, as `classifier.by_gradient`, of one evaluation."""
    both = pull(loss, predictor, process)

    def guided(x: Image, t: Time) -> Prediction:
        prediction, gradient = both(x, t)
        return by_gradient(lambda x, t: prediction, process, lambda x, t: gradient)(x, t)

    return guided
