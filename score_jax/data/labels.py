"""Labels: integers that name a class of the model, checked wherever they come in."""

from typing import Any

import numpy as np
from jaxtyping import Int

from score_jax.errors import InputError, quoted


def checked_labels(labels: np.ndarray, count: int, num_classes: int, name: str) -> Int[np.ndarray, "n"]:
    """Returns the labels of `count` images, as int32.

    Args:
      labels: what a file has as labels.
      count: images.
      num_classes: classes that the model knows.
      name: what to call the file in an error.

    Raises:
      InputError: they are no integers (count,), or one of them names no class; with its place and value.
    """
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"The labels of {name} are {labels.dtype} of shape {labels.shape}: expected {count} integers, shape "
            f"({count},), from 0 to {num_classes - 1}."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise _no_class(int(labels[wrong[0]]), int(wrong[0]), num_classes, name)
    return labels.astype(np.int32)


def _no_class(label: Any, index: int, num_classes: int, name: str) -> InputError:
    return InputError(
        f"Image {index} of {name} has the label {quoted(label)}, but the model knows the classes 0 to "
        f"{num_classes - 1}: correct the labels, or give the network as many classes as the data."
    )


def checked_label(label: Any, index: int, num_classes: int, name: str) -> np.int32:
    """Returns the label of one image, for a model of these classes; 0 for a model without, unless it is an integer.

    Raises:
      InputError: it is no integer, or names no class.
    """
    found = np.asarray(label)
    whole = found.ndim == 0 and np.issubdtype(found.dtype, np.integer)
    if num_classes and not (whole and 0 <= found < num_classes):
        raise _no_class(found.tolist(), index, num_classes, name)
    return np.int32(found) if whole else np.int32(0)
