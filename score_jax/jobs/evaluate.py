"""`evaluate`: fresh samples against held-out data, beside what real data and pure noise reach."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from score_jax.data.loader import eval_batches
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.evaluation import digit_features
from score_jax.evaluation.features import FeatureExtractor, extract, image_batches
from score_jax.evaluation.frechet import bootstrap_standard_error, frechet_distance
from score_jax.evaluation.kernel_distance import kernel_distance
from score_jax.evaluation.statistics import Moments, moments


def load_images(source: Source) -> tuple[UInt8[np.ndarray, "n h w c"], Int[np.ndarray, "n"]]:
    """All images and labels of a source, in memory."""
    batches = list(eval_batches(source, 256, 0, 1))
    images, labels, mask = (np.concatenate([b[k] for b in batches]) for k in ("image", "label", "mask"))
    return images[mask], labels[mask]


def trained_classifier(
    images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, "n"], path: Path
) -> digit_features.Classifier:
    """The classifier kept at `path`, trained on these images first if there is none."""
    if not path.exists():
        print("Training the classifier whose features fid_digits compares.", flush=True)
        digit_features.save_classifier(path, digit_features.train_classifier(images, labels))
    return digit_features.load_classifier(path)


@dataclasses.dataclass(frozen=True)
class Distance:
    """Distances of one set of images to the held-out images.

    Attributes:
      count: images in the set.
      frechet: Frechet distance.
      frechet_error: its bootstrap standard error.
      kernel: squared MMD.
      kernel_spread: its standard deviation over subsets.
    """

    count: int
    frechet: float
    frechet_error: float
    kernel: float
    kernel_spread: float


def distance(features: Float[np.ndarray, "n d"], real_features: Float[np.ndarray, "m d"], real: Moments) -> Distance:
    """Distances of features to the held-out ones, whose moments are `real`."""
    kernel, spread = kernel_distance(generated=features, real=real_features)
    frechet = frechet_distance(generated=moments(features), real=real)
    return Distance(len(features), frechet, bootstrap_standard_error(features, real), kernel, spread)


def compare(
    samples: UInt8[np.ndarray, "n h w c"],
    training: UInt8[np.ndarray, "m h w c"],
    held_out: UInt8[np.ndarray, "k h w c"],
    extractor: FeatureExtractor,
    seed: int,
) -> dict[str, Distance]:
    """Distances to the held-out images of the samples, of as many training images, and of as much uniform noise.

    Raises:
      InputError: too few images for a covariance.
    """
    if min(len(samples), len(training), len(held_out)) < 4:
        raise InputError(
            f"{len(samples)} samples, {len(training)} training and {len(held_out)} held-out images: a distance needs "
            "at least 4 of each. Raise evaluation.num_samples or add images."
        )
    rng = np.random.default_rng(seed)
    real = training[rng.permutation(len(training))[: len(samples)]]
    sets = {"samples": samples, "real": real, "noise": rng.integers(0, 256, samples.shape, dtype=np.uint8)}

    def features(images: np.ndarray) -> np.ndarray:
        return extract(extractor, image_batches(images, 128))

    real_features = features(held_out)
    real_moments = moments(real_features)
    return {name: distance(features(images), real_features, real_moments) for name, images in sets.items()}


def summary(distances: dict[str, Distance], extractor: FeatureExtractor, config: ConfigDict) -> dict:
    """The distances under names that say which features they compare."""
    fid, kid = f"fid_{extractor.name}", f"kid_{extractor.name}"
    values: dict = {"sampler": config.sampler.to_dict(), "num_samples": distances["samples"].count}
    for name, d in distances.items():
        suffix = "" if name == "samples" else f"_{name}"
        values |= {f"{fid}{suffix}": d.frechet, f"{fid}{suffix}_standard_error": d.frechet_error}
        values |= {f"{kid}{suffix}": d.kernel, f"{kid}{suffix}_spread": d.kernel_spread}
    return values
