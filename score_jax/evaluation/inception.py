"""The features behind FID: images to Inception's input and through it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import Protocol
from score_jax.evaluation.resize import Resize, matrices, padded_length, resize, resize_by
from score_jax.models.scorers.inception import FIDInception
from score_jax.typing import Params

SIZE = 299
"""Height and width of what the network sees."""


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionWeights:
    """The network's parameters.

    Attributes:
      params: of `models.inception.FIDInception`.
      sha256: of the published file they came from.
      published: whether that is the file that all evaluators use.
    """

    params: Params
    sha256: str
    published: bool


def prepared(images: UInt8[Array, "b h w c"], how: Resize, centre: float) -> Float[Array, "b 299 299 3"]:
    """Images of any one size, grey or RGB, as the network sees them: (x - centre) / centre of levels 0 to 255."""
    return _centred(resize(images.astype(jnp.result_type(float)), (SIZE, SIZE), how), centre)


def _centred(levels: Float[Array, "b 299 299 c"], centre: float) -> Float[Array, "b 299 299 3"]:
    return jnp.broadcast_to((levels - centre) / centre, (*levels.shape[:3], 3))


@functools.partial(jax.jit, static_argnames=("how", "centre"))
def _prepared_by(images, rows, columns, how: Resize, centre: float) -> Float[Array, "b 299 299 3"]:
    return _centred(resize_by(images.astype(rows.dtype), rows, columns, how), centre)


@functools.lru_cache(maxsize=1024)
def _padded_matrix(length: int, how: Resize) -> Float[np.ndarray, "299 _"]:
    """That of one axis, with zeros for the pixels that are not there."""
    matrix, _ = matrices((length, length), (SIZE, SIZE), how)
    return np.pad(matrix, ((0, 0), (0, padded_length(length) - length))).astype(jnp.result_type(float))


def prepared_alone(image: UInt8[np.ndarray, "h w c"], how: Resize, centre: float) -> Float[np.ndarray, "299 299 3"]:
    """`prepared` of one image among images of many sizes: padded to one of few sizes, each compiled once."""
    rows, columns = (_padded_matrix(length, how) for length in image.shape[:2])
    height, width, _ = image.shape
    padded = np.pad(image, ((0, rows.shape[1] - height), (0, columns.shape[1] - width), (0, 0)))
    return np.asarray(_prepared_by(padded[None], rows, columns, how, centre)[0])


def logits(params: Params, pool3: Float[np.ndarray, "n 2048"], biased: bool) -> Float[np.ndarray, "n 1008"]:
    """Returns the class scores of pool3, in float64; the Inception Score has them without the bias."""
    found = pool3.astype(np.float64) @ np.asarray(params["fc_kernel"], np.float64)
    return found + np.asarray(params["fc_bias"], np.float64) if biased else found


def inception_extractor(weights: InceptionWeights, protocol: Protocol) -> FeatureExtractor:
    """The features of a protocol: pool3 and, where it has sFID, the flattened maps, rows first, channels last."""

    def apply(params: Params, images: Float[Array, "b 299 299 3"]) -> dict[str, Float[Array, "b _"]]:
        layers = FIDInception().apply({"params": params}, images)
        assert isinstance(layers, dict)
        spatial = {"spatial": layers["spatial"].reshape(len(images), -1)} if protocol.spatial else {}
        return {"features": layers["pool3"], **spatial}

    return FeatureExtractor(
        "",
        apply,
        lambda images: prepared(images, protocol.resize, protocol.centre),
        lambda image: prepared_alone(image, protocol.resize, protocol.centre),
        weights.params,
        weights.sha256[:16],
        lambda features, biased: logits(weights.params, features, biased),
    )
