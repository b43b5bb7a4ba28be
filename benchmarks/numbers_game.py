"""How far do protocols, rounding, sample count, labels and seeds move a FID of the same samples?

    python benchmarks/numbers_game.py [--json] [--quick] [--inception_weights=FILE]

"Samples" are digits of MNIST that the reference does not have, with a little noise, as a good model might draw them:
what differs between two rows of a table is how they were measured. Without the published weights of Inception random
ones stand in their place: then the sizes of the numbers mean nothing, and the ratios between them do.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

import score_jax as sj
from report import Claim, emit
from score_jax.convert.inception import random_state
from score_jax.data.sources import open_images
from score_jax.evaluation.digit_features import train_classifier
from score_jax.jobs.evaluate import load_images

PROTOCOLS = ("edm", "adm", "score_sde", "pytorch_fid", "jax_fid", "clean_fid")
"""By what they change: one after another of rounding, input scale, and resize."""
_NOISE = 0.02


class Digits:
    """Images in [0, 1] by class, as a class-conditional model that is nearly right would draw them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self._images = jnp.asarray(images, jnp.float32) / 255
        order = np.argsort(labels, kind="stable")
        self._order, self._starts = jnp.asarray(order), jnp.asarray(np.searchsorted(labels[order], np.arange(11)))

    def draw(self, key, indices, labels):
        """Images (b, h, w, 1) of these classes, with noise."""

        def one(index, label):
            key_image, key_noise = jax.random.split(jax.random.fold_in(key, index))
            low, high = self._starts[label], self._starts[label + 1]
            image = self._images[self._order[jax.random.randint(key_image, (), low, high)]]
            return jnp.clip(image + _NOISE * jax.random.normal(key_noise, image.shape), 0, 1)

        return jax.vmap(one)(jnp.asarray(indices), jnp.asarray(labels))


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels of the reference, and of what samples are made of."""
    (images, labels), (others, of_others) = (
        load_images(open_images("mnist_5k", name, lambda pixels, _: pixels)) for name in ("train", "test")
    )
    return images, labels, others, of_others


def rows_of_protocols(digits: Digits, reference: np.ndarray, weights: Path, count: int) -> dict[str, float]:
    """FID under each protocol, of one drawing."""
    how: dict[str, Any] = dict(weights={"inception": weights}, allow_other_weights=True, batch_size=16)
    found = sj.evaluate(
        digits.draw,
        reference=reference[:count],
        num_samples=count,
        protocol=PROTOCOLS,
        value_range=(0.0, 1.0),
        num_classes=10,
        labels="balanced",
        **how,
    )
    return {name: next(v for k, v in found[name].items() if k.startswith("fid")) for name in PROTOCOLS}


def rows_of_samples(digits: Digits, reference: np.ndarray, features: Any, counts: list[int]) -> dict[str, Any]:
    """fid_digits by the number of samples, by their labels and by seeds."""
    how: dict[str, Any] = dict(reference=reference, protocol=None, features=features, batch_size=250)
    how |= dict(value_range=(0.0, 1.0))

    def fid(count: int, seed: int = 0, **labels: Any) -> float:
        found = sj.evaluate(digits.draw, num_samples=count, seed=seed, **how, **labels)
        return found["fid_digits"]

    balanced, most = dict(num_classes=10, labels="balanced"), counts[-1]
    nine = dict(labels=np.arange(most) % 9)
    return {
        "count": {count: fid(count, **balanced) for count in counts},
        "seed": [fid(most, seed, **balanced) for seed in range(5)],
        "random": [fid(most, seed, num_classes=10) for seed in range(5)],
        "without a class": fid(most, **nine),
    }


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--inception_weights", type=Path, help="the published weights (default: random ones)")
    arguments = parser.parse_args()
    began = time.monotonic()
    images, labels, others, of_others = split()
    digits = Digits(others, of_others)
    classifier = train_classifier(images, labels).features()

    def digit_features(batch):
        return classifier.apply(classifier.params, batch)["features"]

    digit_features.__name__ = "digits"
    counts = [250, 2000] if arguments.quick else [250, 500, 1000, 2000, 4000]
    samples = rows_of_samples(digits, images, digit_features, counts)
    with tempfile.TemporaryDirectory() as name:
        weights = arguments.inception_weights or Path(name) / "random.safetensors"
        if arguments.inception_weights is None:
            save_file(random_state(0), weights)
        protocols = rows_of_protocols(digits, images, weights, 24 if arguments.quick else 400)
    return emit("numbers_game", claims_of(protocols, samples), began, as_json=arguments.json)


def claims_of(protocols: dict[str, float], samples: dict[str, Any]) -> list[Claim]:
    """That each choice moves the number; how far is what the value says."""
    base, claims = protocols["edm"], []
    for name, value in protocols.items():
        if name != "edm":
            how = f"FID {value:.5g} of the samples whose FID is {base:.5g} under edm"
            claims.append(Claim(f"protocol_{name}", abs(value / base - 1), "of edm's", 0.001, ">=", how))
    counts = samples["count"]
    few, most = min(counts), max(counts)
    how = ", ".join(f"{count} samples {value:.3f}" for count, value in counts.items())
    claims.append(Claim("few_samples", counts[few] / counts[most], "times", 1.1, ">=", f"fid_digits of {how}"))
    seeds, random = np.array(samples["seed"]), np.array(samples["random"])
    how = f"fid_digits of {most} balanced samples, five seeds: {seeds.min():.3f} to {seeds.max():.3f}"
    claims.append(Claim("seeds", float(np.ptp(seeds) / seeds.mean()), "of the mean", 0.01, ">=", how))
    how = f"mean of five seeds with random labels {random.mean():.3f}, with balanced ones {seeds.mean():.3f}"
    claims.append(Claim("random_labels", float(random.mean() / seeds.mean()), "times", 0.95, ">=", how))
    how = f"nine classes of ten: {samples['without a class']:.3f}"
    claims.append(Claim("lost_class", samples["without a class"] / seeds.mean(), "times", 1.5, ">=", how))
    return claims


if __name__ == "__main__":
    sys.exit(main())
