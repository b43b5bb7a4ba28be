"""How well features find the text of an image and the images of a text (Radford et al. 2021, sections 3.1 and E.1)."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

Directions = Float[np.ndarray, "_ d"]
"""Features of length 1."""
_BLOCK = 1024
"""Rows of cosines that are in memory at the same time."""


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _cosines(some: Directions, others: Directions) -> Float[np.ndarray, "a b"]:
    return some.astype(np.float64) @ others.astype(np.float64).T


def text_ranks(images: Directions, texts: Directions, own: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Returns of each image how many other texts fit it at least as well as its own.

    Args:
      images: of n images.
      texts: of m texts that differ.
      own: which text is that of each image.
    """
    found = []
    for rows in _blocks(len(images)):
        cosines = _cosines(images[rows], texts)
        fit = np.take_along_axis(cosines, own[rows, None], axis=1)
        found.append(np.sum(cosines >= fit, axis=1) - 1)
    return np.concatenate(found)


def image_ranks(images: Directions, texts: Directions, own: Int[np.ndarray, "n"]) -> Int[np.ndarray, "m"]:
    """Returns of each text how many images of other texts fit it at least as well as the best of its own.

    Arguments are those of `text_ranks`; each text has an image at least.
    """
    found = []
    for rows in _blocks(len(texts)):
        cosines = _cosines(texts[rows], images)
        its = own[None] == np.arange(len(texts))[rows, None]
        best = np.max(np.where(its, cosines, -np.inf), axis=1, keepdims=True)
        found.append(np.sum((cosines >= best) & ~its, axis=1))
    return np.concatenate(found)


def recalls(
    images: Directions, texts: Directions, own: Int[np.ndarray, "n"], first: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """Returns in what share of cases a right answer is among the first k, each way, and the mean cosine of pairs.

    From images to texts there is one right answer; from texts to images every image of the text is one, as in the usual
    protocol of MS-COCO. Arguments are those of `text_ranks`, and `first` has the numbers k.
    """
    of_images, of_texts = text_ranks(images, texts, own), image_ranks(images, texts, own)
    found = {f"image_to_text_recall_at_{k}": float(np.mean(of_images < k)) for k in first}
    found |= {f"text_to_image_recall_at_{k}": float(np.mean(of_texts < k)) for k in first}
    pairs = np.sum(images.astype(np.float64) * texts[own].astype(np.float64), axis=1)
    return found | {"mean_cosine": float(pairs.mean())}


def zero_shot_accuracy(images: Directions, classes: Directions, labels: Int[np.ndarray, "n"]) -> float:
    """Returns the share of images that fit the text of their class best, of the texts of all classes.

    Args:
      images: of n images.
      classes: of the text of each class, in the order of their numbers.
      labels: the class of each image.
    """
    return float(np.mean(text_ranks(images, classes, labels) < 1))
