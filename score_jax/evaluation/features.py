"""What a metric looks at: any function from images to vectors."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8


@dataclasses.dataclass(frozen=True)
class FeatureExtractor:
    """A feature function and the name that its metrics carry.

    Attributes:
      name: "digits" makes the metrics `fid_digits` and `kid_digits`; plain FID is Inception's alone.
      apply: uint8 images (b, h, w, c) to features (b, d); jitted by the caller of `extract`.
    """

    name: str
    apply: Callable[[UInt8[Array, "b h w c"]], Float[Array, "b d"]]


def extract(extractor: FeatureExtractor, batches: Iterable[dict[str, np.ndarray]]) -> Float[np.ndarray, "n d"]:
    """Features of batches {"image": uint8 (b, h, w, c), "mask": bool (b,)}, without what only fills up a batch."""
    apply = jax.jit(extractor.apply)
    return np.concatenate([np.asarray(apply(batch["image"]))[batch["mask"]] for batch in batches])


def image_batches(images: UInt8[np.ndarray, "n h w c"], batch_size: int) -> Iterable[dict[str, np.ndarray]]:
    """Cuts images on the host into batches of one size, the last one filled up and masked."""
    for start in range(0, len(images), batch_size):
        chunk = images[start : start + batch_size]
        missing = batch_size - len(chunk)
        padded = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)))
        yield {"image": padded, "mask": np.arange(batch_size) < len(chunk)}
