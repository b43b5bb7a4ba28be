"""The labels of the networks of Karras et al. 2022 (EDM, arXiv 2206.00364): class and augmentation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError
from score_jax.typing import Batch

Label = Int[Array, "b"] | Float[Array, "b _"]
"""Classes (b,), or weights of them (b, n)."""


def class_and_augmentation(
    network: nn.Module, label: Label | None, augment_labels: Float[Array, "b _"] | None, like: Batch, train: bool
) -> tuple[Float[Array, "b _"], Float[Array, "b _"]]:
    """Both labels of a batch like `like` (b, ...): zeros where none are given, or in training where a class is dropped.

    Args:
      network: has the fields `num_classes` and `augment_dim`, the widths of the labels (0: none), and `label_dropout`,
        the probability that a class is dropped.
      label: of the class.
      augment_labels: of the augmentation.
      like: of the batch's size and dtype.
      train: whether classes are dropped.

    Raises:
      InputError: labels that the network has not, or of another width.
    """
    classes = _labels_or_zeros(label, network.num_classes, like, "Class")
    if network.num_classes and train and network.label_dropout:
        dropped = jax.random.bernoulli(network.make_rng("dropout"), network.label_dropout, (like.shape[0], 1))
        classes = jnp.where(dropped, jnp.zeros_like(classes), classes)
    return classes, _labels_or_zeros(augment_labels, network.augment_dim, like, "Augmentation")


def _labels_or_zeros(labels: Label | None, width: int, like: Batch, kind: str) -> Float[Array, "b {width}"]:
    """The labels, whole numbers as one-hot; or zeros, which stand for no label."""
    if labels is None:
        return jnp.zeros((like.shape[0], width), like.dtype)
    if width and jnp.issubdtype(labels.dtype, jnp.integer):
        return jax.nn.one_hot(labels, width, dtype=like.dtype)
    if labels.shape != (like.shape[0], width):
        expected = f"shape {(like.shape[0], width)}" if width else "none, as this network has none"
        raise InputError(f"{kind} labels of shape {labels.shape} were given; expected {expected}.")
    return labels.astype(like.dtype)
