"""The contrastive loss of CLIP (Radford et al. 2021, arXiv 2103.00020, figure 3), and what it sees of images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from score_jax.typing import KeyBatch, Scalar

LARGEST_SCALE = 100.0
"""Of cosines in the softmax: the learned temperature is at least 1 / 100 (Radford et al. 2021, section 2.5)."""


def logits_of(images: Float[Array, "b d"], texts: Float[Array, "texts d"], scale: Scalar) -> Float[Array, "b texts"]:
    """Returns the scaled cosine of each image (rows) and each text.

    Args:
      images: features of length 1.
      texts: likewise.
      scale: one over the temperature.
    """
    # At a scale of 100 the errors of a product in bfloat16, which TPUs take by default, would be as large as the logits
    # that are to be told apart.
    return scale * jnp.matmul(images, texts.T, precision=jax.lax.Precision.HIGHEST)


def same_texts(ids: Int[Array, "b tokens"]) -> Bool[Array, "b b"]:
    """Returns which texts have the same tokens."""
    return jnp.all(ids[:, None] == ids[None, :], axis=-1)


def contrastive(logits: Float[Array, "b b"], same: Bool[Array, "b b"]) -> Float[Array, "b"]:
    """Returns the symmetric cross entropy of each pair of a batch, in nats.

    Of pair i it is the mean of -log softmax over row i and over column i at (i, i). A text with the same tokens as that
    of pair i is no negative of it, and neither is that text's image: to tell these apart is no task.

    Args:
      logits: of each image (rows) and each text, of the whole batch.
      same: which texts have the same tokens.

    >>> print(contrastive(jnp.zeros((2, 2)), jnp.eye(2, dtype=bool)))  # nothing is known: log 2
    [0.6931472 0.6931472]
    """
    own, others = _own(logits), same & ~jnp.eye(len(logits), dtype=bool)
    masked = jnp.where(others, -jnp.inf, logits)
    by_image, by_text = (jax.nn.logsumexp(masked, axis=axis) for axis in (1, 0))
    return (by_image + by_text) / 2 - own


def _own(logits: Float[Array, "b b"]) -> Float[Array, "b"]:
    """The diagonal. A gather of it would bring the whole matrix to every device, in a branch of the program."""
    return jnp.sum(jnp.where(jnp.eye(len(logits), dtype=bool), logits, 0), axis=1)


def is_best(logits: Float[Array, "b b"], same: Bool[Array, "b b"]) -> Bool[Array, "b"]:
    """Returns of which images no other text of the batch fits better than their own."""
    others = jnp.where(same, -jnp.inf, logits)
    return _own(logits) > jnp.max(others, axis=1)


def shifted(keys: KeyBatch, images: Shaped[Array, "b h w c"], most: int) -> Shaped[Array, "b h w c"]:
    """Returns images of any type, moved right and down by whole pixels, each by numbers of its own key.

    The numbers are uniform on -most, ..., most; pixels at the edges fill what comes in.
    """
    _, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")

    def cut(key: Array, image: Array) -> Array:
        top, left = jax.random.randint(key, (2,), 0, 2 * most + 1)
        return jax.lax.dynamic_slice(image, (top, left, 0), (height, width, channels))

    return jax.vmap(cut)(keys, padded)
