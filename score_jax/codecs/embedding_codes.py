"""Codes of an image's embedding as x0: its principal components, each in one of some buckets (unCLIP, section 2.2)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, Shaped

from score_jax.arrays import cosine
from score_jax.codecs.embeddings import CLIP, STATISTICS, ImageEncoder, embeddings_of
from score_jax.typing import KeyBatch, Params, Resized, Rounding

Edges = Float[Array, "... buckets"]


def bucket(values: Float[Array, "*batch"], edges: Edges) -> Int[Array, "*batch"]:
    """The number of edges below each value: of n increasing edges, of n + 1 buckets from 0 on.

    Args:
      values: of any shape.
      edges: (n,), or of the last axis of the values (..., n).

    >>> print(bucket(jnp.array([-1.0, 0.5, 3.0]), jnp.array([0.0, 1.0])))
    [0 1 2]
    """
    return jnp.sum(values[..., None] > jnp.broadcast_to(edges, (*values.shape, edges.shape[-1])), axis=-1)


def principal_components(
    embeddings: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """The mean of embeddings, and their principal components in columns, in float64, the largest variance first.

    Of a component's two directions, the one is taken whose largest number is positive.
    """
    mean = embeddings.astype(np.float64).mean(axis=0)
    centred = embeddings.astype(np.float64) - mean
    _, directions = np.linalg.eigh(centred.T @ centred)  # by increasing variance
    basis = directions[:, ::-1]
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)
    return mean, basis * np.sign(largest)


@dataclasses.dataclass(frozen=True)
class CodeStatistics:
    """Principal components of embeddings and the buckets of each, measured once on images of training.

    The edges of a bucket are quantiles, so that all buckets hold the same share of the images; a bucket stands for the
    mean of its values.

    Attributes:
      features: numbers of an embedding.
      components: that are kept, those of the largest variance.
      buckets: of a component.
      alignments: buckets of the cosine between an image and its text.
    """

    features: int
    components: int
    buckets: int
    alignments: int

    @property
    def least(self) -> int:
        """Images that are measured at least: some for each bucket."""
        return 16 * max(self.buckets, self.alignments)

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters."""
        shapes = {
            "mean": (self.features,),
            "basis": (self.features, self.components),
            "edges": (self.components, self.buckets - 1),
            "centres": (self.components, self.buckets),
            "alignment_edges": (self.alignments - 1,),
        }
        return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}

    def measured(
        self, of_images: Float[np.ndarray, "n d"], of_texts: Float[np.ndarray, "n d"] | None
    ) -> dict[str, Float[Array, "..."]]:
        """Those of embeddings of images and of their texts."""
        assert of_texts is not None, "codes are of images with texts"
        mean, basis = principal_components(of_images)
        basis = basis[:, : self.components]
        values = (of_images.astype(np.float64) - mean) @ basis
        edges = np.quantile(values, np.arange(1, self.buckets) / self.buckets, axis=0).T
        centres = [_means(own, at, self.buckets) for own, at in zip(values.T, edges, strict=True)]
        cosines = np.asarray(cosine(jnp.asarray(of_images), jnp.asarray(of_texts)))
        alignment_edges = np.quantile(cosines, np.arange(1, self.alignments) / self.alignments)
        found = {
            "mean": mean,
            "basis": basis,
            "edges": edges,
            "centres": np.stack(centres),
            "alignment_edges": alignment_edges,
        }
        return {name: jnp.asarray(value, jnp.float32) for name, value in found.items()}


def _means(values: np.ndarray, edges: np.ndarray, buckets: int) -> np.ndarray:
    """The mean of the values in each bucket; of an empty one, the edge below."""
    places = np.searchsorted(edges, values)
    counts, sums = np.bincount(places, minlength=buckets), np.bincount(places, values, minlength=buckets)
    below = np.concatenate([edges[:1], edges])
    return np.where(counts > 0, sums / np.maximum(counts, 1), below)


@dataclasses.dataclass(frozen=True, eq=False)
class EmbeddingCodes:
    """x0 = the buckets (1, 1, k) of the first k principal components of an image's embedding, the largest first.

    Codes are whole numbers in floating point. Quantising loses something: `decode(encode(images))` is no image's
    embedding, but one near it.

    Attributes:
      clip: the network that makes embeddings.
      statistics: what is measured of them: sizes.
      params: of the CLIP; None: until `at` is called with them, only shapes are known.
      measured: the parameters of the statistics, or None likewise.
    """

    clip: ImageEncoder
    statistics: CodeStatistics
    params: Params | None = None
    measured: PyTree = None
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    centered: ClassVar[bool] = False
    log_bin_width: ClassVar[float] = 0.0
    levels_per_unit: ClassVar[float] = 1.0
    stochastic: ClassVar[bool] = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest code."""
        return 0.0, self.statistics.buckets - 1.0

    @property
    def width(self) -> float:
        """The distance of the bounds."""
        return self.statistics.buckets - 1.0

    def at(self, frozen: PyTree) -> "EmbeddingCodes":
        """The codec with the parameters of its network and the statistics."""
        return dataclasses.replace(self, params=frozen[CLIP], measured=frozen[STATISTICS])

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(1, 1, k), of images of any shape."""
        return 1, 1, self.statistics.components

    def embed(self, images: Shaped[Array, "b h w c"]) -> Float[Array, "b _"]:
        """As `embeddings_of`."""
        return embeddings_of(self.clip, self.params, images)

    def encode(self, images: Shaped[Array, "b h w c"]) -> Resized:
        """Codes of images, or of embeddings (b, 1, 1, d) in the network's own units."""
        own, embeddings = self._measured, self.embed(images)
        components = (embeddings - own["mean"][None]) @ own["basis"]
        return bucket(components, own["edges"][None]).astype(embeddings.dtype)[:, None, None]

    def dequantize(self, keys: KeyBatch, images: Shaped[Array, "b h w c"]) -> Resized:
        """The same: codes are drawn as they are."""
        return self.encode(images)

    def decode(
        self, x0: Float[Array, "*batch h w c"], rounding: Rounding = "truncated"
    ) -> Float[Array, "*batch h w _"]:
        """Embeddings in the network's own units, in float32, of the means of the buckets."""
        own = self._measured
        codes = jnp.clip(jnp.round(x0), *self.bounds).astype(jnp.int32)
        of_component = jnp.arange(self.statistics.components).reshape((1,) * (x0.ndim - 1) + (-1,))
        components = own["centres"][of_component, codes]
        mean = jnp.expand_dims(own["mean"], tuple(range(x0.ndim - 1)))
        return (components @ own["basis"].T + mean).astype(jnp.float32)

    def alignment(self, of_images: Float[Array, "b d"], of_texts: Float[Array, "b d"]) -> Int[Array, "b"]:
        """The bucket of the cosine of images and their texts."""
        return bucket(cosine(of_images, of_texts), self._measured["alignment_edges"])

    @property
    def _measured(self) -> PyTree:
        assert self.measured is not None, "a codec of embeddings is used with its statistics"
        return self.measured
