"""Embeddings of images as x0: what a CLIP that is not trained any more says of an image (unCLIP, section 2.2)."""

import dataclasses
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Shaped

from score_jax.typing import KeyBatch, Params, Resized, Rounding

CLIP, STATISTICS = "clip", "embedding_statistics"
"""Names, among what is not trained, of the network that makes embeddings, and of their mean and deviation."""


@runtime_checkable
class ImageEncoder(Protocol):
    """What is asked of a CLIP, such as `models.clip.image_text.ImageText`."""

    @property
    def features(self) -> int:
        """Numbers that stand for an image."""

    def encode_image(self, params: Params, images: Shaped[Array, "b h w c"]) -> Float[Array, "b _"]:
        """Embeddings of images in uint8."""


def embeddings_of(clip: ImageEncoder, params: Params | None, images: Shaped[Array, "b h w c"]) -> Float[Array, "b _"]:
    """Embeddings in the network's own units; floating point is that already.

    Args:
      clip: the network.
      params: of it; None: of a codec that was not given any, which can take no images.
      images: in uint8, or embeddings (b, 1, 1, d).
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images.reshape(len(images), -1).astype(jnp.result_type(float))
    assert params is not None, "a codec of embeddings is used with its parameters, `at` them"
    return clip.encode_image(params, images)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """The mean and the standard deviation of each number of an embedding, measured once on images of training.

    Attributes:
      features: numbers of an embedding.
    """

    features: int
    least: ClassVar[int] = 4096
    """Images that are measured at least."""

    def shapes(self) -> PyTree:
        """Shapes and dtypes of both."""
        each = jax.ShapeDtypeStruct((self.features,), jnp.float32)
        return {"mean": each, "std": each}

    def measured(
        self, of_images: Float[np.ndarray, "n d"], of_texts: Float[np.ndarray, "n d"] | None
    ) -> dict[str, Float[Array, "_"]]:
        """Those of embeddings of images; a number that is always the same gets a deviation of 1."""
        std = jnp.std(of_images, axis=0)
        return {"mean": jnp.mean(of_images, axis=0), "std": jnp.where(std > 0, std, 1.0)}


@dataclasses.dataclass(frozen=True, eq=False)
class ImageEmbeddings:
    """x0 = an image's embedding, as an image of one pixel, each number less its mean and over its standard deviation.

    Embeddings of length 1 have numbers near 1 / sqrt(d), which noise of a usual schedule drowns; hence the statistics,
    as Karlo takes them. A density of x0 is one of embeddings so scaled, not of images.

    Attributes:
      clip: the network.
      params: of it; None: until `at` is called with them, only shapes are known.
      mean: of each number (d,), or None likewise.
      std: of each number (d,), or None likewise.
    """

    clip: ImageEncoder
    params: Params | None = None
    mean: Float[Array, "_"] | None = None
    std: Float[Array, "_"] | None = None
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    bounds: ClassVar[tuple[float, float]] = (-10.0, 10.0)
    width: ClassVar[float] = 20.0
    centered: ClassVar[bool] = False
    log_bin_width: ClassVar[float] = 0.0
    levels_per_unit: ClassVar[float] = 1.0
    stochastic: ClassVar[bool] = False

    @property
    def statistics(self) -> Statistics:
        """What is measured of embeddings."""
        return Statistics(self.clip.features)

    def at(self, frozen: PyTree) -> "ImageEmbeddings":
        """The codec with the parameters of its network and the statistics."""
        own = frozen[STATISTICS]
        return dataclasses.replace(self, params=frozen[CLIP], mean=own["mean"], std=own["std"])

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(1, 1, d), of images of any shape."""
        return 1, 1, self.clip.features

    def embed(self, images: Shaped[Array, "b h w c"]) -> Float[Array, "b _"]:
        """As `embeddings_of`."""
        return embeddings_of(self.clip, self.params, images)

    def encode(self, images: Shaped[Array, "b h w c"]) -> Resized:
        """x0 of images, or of embeddings (b, 1, 1, d) in the network's own units."""
        mean, std = self._statistics()
        return ((self.embed(images) - mean[None]) / std[None])[:, None, None]

    def dequantize(self, keys: KeyBatch, images: Shaped[Array, "b h w c"]) -> Resized:
        """The same: embeddings have no levels."""
        return self.encode(images)

    def decode(
        self, x0: Float[Array, "*batch h w c"], rounding: Rounding = "truncated"
    ) -> Float[Array, "*batch h w c"]:
        """Embeddings in the network's own units, in float32."""
        mean, std = self._statistics()
        axes = (None,) * (x0.ndim - 1)
        return (x0 * std[axes] + mean[axes]).astype(jnp.float32)

    def _statistics(self) -> tuple[Float[Array, "_"], Float[Array, "_"]]:
        assert self.mean is not None and self.std is not None, "a codec of embeddings is used with its statistics"
        return self.mean, self.std
