"""What a metric looks at: any function from images to vectors."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from score_jax.errors import InputError
from score_jax.evaluation.input_rule import InputRule, prepared, prepared_alone

Apply = Callable[[PyTree[Array], Array], dict[str, Float[Array, "b _"]]]
Logits = Callable[[Float[np.ndarray, "n d"], bool], Float[np.ndarray, "n k"]]


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """A feature function and the name that its metrics carry.

    Attributes:
      name: "digits" makes the metrics `fid_digits` and `kid_digits`; plain FID is Inception's alone, whose name is "".
      apply: parameters and prepared images to "features" (b, d) and, where sFID is wanted, "spatial" (b, s); jitted by
        its callers, as is `prepare`.
      prepare: uint8 images (b, h, w, c) of any one size to what `apply` takes.
      prepare_alone: the same of one image (h, w, c) on the host, for sets of images of many sizes; None: by `prepare`,
        compiled for each size.
      params: the parameters.
      identity: tells this network from all others; None where that is not known.
      logits: of "features", with the last layer's bias or without; None where there are none.
    """

    name: str
    apply: Apply
    prepare: Callable[[UInt8[Array, "b h w c"]], Array] = lambda images: images
    prepare_alone: Callable[[UInt8[np.ndarray, "h w c"]], np.ndarray] | None = None
    params: PyTree[Array] = ()
    identity: str | None = None
    logits: Logits | None = None


def network_features(
    name: str, apply: Apply, rule: InputRule, params: PyTree[Array], sha256: str, logits: Logits | None = None
) -> FeatureExtractor:
    """Makes the extractor of a network that sees images by a rule, and is known by a hash of its weights."""
    return FeatureExtractor(
        name,
        apply,
        lambda images: prepared(images, rule),
        lambda image: prepared_alone(image, rule),
        params,
        sha256[:16],
        logits,
    )


def plain_features(name: str, function: Callable[[UInt8[Array, "b h w c"]], Float[Array, "b d"]]) -> FeatureExtractor:
    """Makes an extractor of a function of images; InputError where it gives no vectors, or is not JAX's."""

    def apply(params: PyTree[Array], images: UInt8[Array, "b h w c"]) -> dict[str, Array]:
        try:
            vectors = function(images)
        except jax.errors.JAXTypeError as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"The features {name!r} cannot be compiled: write them with jax.numpy. {reason}") from None
        shape = getattr(vectors, "shape", None)
        if shape is None or len(shape) != 2 or shape[0] != len(images):
            found = type(vectors).__name__ if shape is None else shape
            raise InputError(
                f"The features {name!r} of images {images.shape} are {found}: expected vectors ({len(images)}, d)."
            )
        return {"features": vectors}

    return FeatureExtractor(name, apply)
