"""Vector quantisation (van den Oord et al. 2017; Esser et al. 2021): each vector becomes the nearest of a codebook."""

import dataclasses

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, Int

from score_jax.arrays import sum_per_example
from score_jax.errors import InputError
from score_jax.typing import Image

_ENTRIES_AT_ONCE = 1024
"""Of the codebook, to which distances are held in memory."""
_EPS = 1e-10


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantized:
    """Latents whose vectors are of the codebook.

    Attributes:
      values: the latents; their gradient passes to what was quantised as if nothing had been (straight-through).
      indices: which vectors of the codebook they are.
      loss: of codebook and encoder, the mean over an example's numbers; its mean over the batch is the original's.
      perplexity: exp of the entropy of the codes of the whole batch, between 1 and their number.
      used: how many different codes the batch has.
    """

    values: Float[Array, "b h w c"]
    indices: Int[Array, "b h w"]
    loss: Float[Array, "b"]
    perplexity: Float[Array, ""]
    used: Int[Array, ""]


def quantize(
    codebook: Float[Array, "n c"], z: Float[Array, "b h w d"], *, beta: float = 0.25, legacy: bool = True
) -> Quantized:
    """Replaces each vector of z by the nearest of the codebook, by squared Euclidean distance, the first of equals.

    With sg for "no gradient" and q for the quantised z,

        loss = mean (sg(q) - z)² + beta mean (q - sg(z))²       legacy, of all published models
        loss = beta mean (sg(q) - z)² + mean (q - sg(z))²       otherwise, as in van den Oord et al. 2017, eq. 3

    Args:
      codebook: its vectors.
      z: latents (b, h, w, d), d being c.
      beta: weight of one of the terms.
      legacy: beta weighs the term of the codebook, and not that of the encoder.

    Raises:
      InputError: the vectors of z are not as long as those of the codebook.
    """
    if z.shape[-1] != codebook.shape[-1]:
        raise InputError(
            f"Latents of {z.shape[-1]} channels for a codebook of {codebook.shape[-1]}: give latents that this "
            "autoencoder encoded."
        )
    indices = nearest(codebook, z)
    q = codebook[indices]
    numbers = z[0].size
    of_encoder = sum_per_example(jnp.square(jax.lax.stop_gradient(q) - z)) / numbers
    of_codebook = sum_per_example(jnp.square(q - jax.lax.stop_gradient(z))) / numbers
    loss = of_encoder + beta * of_codebook if legacy else beta * of_encoder + of_codebook
    perplexity, used = usage(indices, len(codebook))
    return Quantized(z + jax.lax.stop_gradient(q - z), indices, loss, perplexity, used)


def nearest(codebook: Float[Array, "n c"], z: Image) -> Int[Array, "b h w"]:
    """Returns the index of the nearest vector of the codebook, the first of equals.

    It goes over the codebook in parts, so that the distances to all of it never are in memory at once.
    """
    dtype = jnp.promote_types(jnp.promote_types(codebook.dtype, z.dtype), jnp.float32)
    codebook, z = (jax.lax.stop_gradient(a.astype(dtype)) for a in (codebook, z))
    n = len(codebook)
    part = min(n, _ENTRIES_AT_ONCE)
    padded = jnp.pad(codebook, ((0, -n % part), (0, 0)))
    square = jnp.where(jnp.arange(len(padded)) < n, jnp.sum(jnp.square(padded), axis=1), jnp.inf)
    parts = rearrange(padded, "(k p) c -> k p c", p=part), rearrange(square, "(k p) -> k p", p=part)

    def closer(best, entries):
        distance, index, first = best
        vectors, squares = entries
        # |z - e|² without |z|², which is the same for all e.
        products = jnp.einsum("bhwc,pc->bhwp", z, vectors, precision=jax.lax.Precision.HIGHEST)
        distances = squares[None, None, None] - 2 * products
        here = jnp.min(distances, axis=-1)
        at = first + jnp.argmin(distances, axis=-1).astype(jnp.int32)
        better = here < distance
        return (jnp.where(better, here, distance), jnp.where(better, at, index), first + part), None

    start = jnp.full(z.shape[:-1], jnp.inf, dtype), jnp.zeros(z.shape[:-1], jnp.int32), jnp.int32(0)
    (_, index, _), _ = jax.lax.scan(closer, start, parts)
    return index


def usage(indices: Int[Array, "b h w"], codebook_size: int) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Returns the perplexity of a batch's codes, and how many different ones there are.

    exp(-sum p ln(p + 1e-10)), p being the share of each code.
    """
    counts = jnp.zeros(codebook_size, jnp.int32).at[indices.reshape(-1)].add(1)
    share = counts.astype(float) / indices.size
    return jnp.exp(-jnp.sum(share * jnp.log(share + _EPS))), jnp.sum(counts > 0)
