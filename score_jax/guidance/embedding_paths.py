"""Paths between embeddings of images, towards a text, and along components (Ramesh et al. 2022, section 3)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.guidance.measurements import slerp
from score_jax.models.clip.clip import directions
from score_jax.typing import Scalar

Embeddings = Float[Array, "b d"]


def _length(z: Embeddings) -> Float[Array, "b 1"]:
    return jnp.linalg.norm(z, axis=-1, keepdims=True)


def between(z: Embeddings, other: Embeddings, weight: Scalar) -> Embeddings:
    """Embeddings on the arcs from z (weight 0) to `other` (1): directions by slerp, lengths linearly (section 3.2).

    Not all embeddings have length 1: Karlo's have not.

    >>> print(between(jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 4.0]]), 0.5).round(3))
    [[2.121 2.121]]
    """
    turned = slerp(directions(z), directions(other), weight)
    return turned * ((1 - weight) * _length(z) + weight * _length(other))


def text_difference(new: Embeddings, base: Embeddings) -> Embeddings:
    """The direction, of length 1, from what the text `base` says to what `new` says (section 3.3).

    Args:
      new: embeddings of texts.
      base: of the texts that describe the images as they are.
    """
    return directions(directions(new) - directions(base))


def towards(z: Embeddings, direction: Embeddings, theta: Scalar) -> Embeddings:
    """Embeddings turned from z (theta 0) by the share theta of the way to a direction; lengths stay (section 3.3).

    The paper's theta goes from 0 to 0.25 or 0.5.
    """
    return between(z, direction * _length(z), theta)


def from_components(z: Embeddings, mean: Float[Array, "d"], basis: Float[Array, "d k"], count: int) -> Embeddings:
    """Embeddings from their first `count` principal components alone (section 5.2, figure 7).

    Args:
      z: embeddings.
      mean: of the embeddings of which the components are.
      basis: components in columns, the largest variance first.
      count: of them.
    """
    kept = basis[:, :count]
    return (z - mean[None]) @ kept @ kept.T + mean[None]
