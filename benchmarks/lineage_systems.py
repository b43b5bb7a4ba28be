"""The systems of `lineage.py`, trained: each draws images and completes them, most can say how likely an image is."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from report import Estimate, estimate
from score_jax import builder
from score_jax.configs import lineage
from score_jax.data.sources import Source
from score_jax.evaluation import digit_features
from score_jax.evaluation.frechet import bootstrap_standard_error, frechet_distance
from score_jax.evaluation.statistics import moments
from score_jax.guidance import measurements
from score_jax.jobs import evaluate, likelihood
from score_jax.jobs.feature_sets import array_features
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import Drawn, Given, draw
from score_jax.jobs.train import restore_params, train
from score_jax.processes.chain import Chain
from score_jax.runtime.sharding import make_mesh

SEED = 0


class Bits(NamedTuple):
    """Bits per dimension of held-out images.

    Attributes:
      value: mean and standard error.
      kind: "exact" of an ODE, or "bound", which is no less than the true value.
    """

    value: Estimate
    kind: str


class Images(NamedTuple):
    """Drawn or completed images, uint8, and the evaluations of the network for each."""

    pixels: np.ndarray
    nfe: float


@dataclasses.dataclass(frozen=True)
class System:
    """A trained system.

    Attributes:
      parameters: of its network.
      train_seconds: compilation and checkpoints included.
      sampler: in words.
      draw: `draw(range)`: the samples of these indices.
      complete: `complete(images, labels, kept)`: images whose pixels are held where `kept` (h, w, 1) is 1; of these
        classes, where the system knows any.
      bits: `bits(count)` of as many held-out images; None where the system gives no likelihood.
    """

    parameters: int
    train_seconds: float
    sampler: str
    draw: Callable[[range], Images]
    complete: Callable[[np.ndarray, np.ndarray, np.ndarray], Images]
    bits: Callable[[int], Bits] | None


def _size(params: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def config_of(name: str, steps: int) -> ConfigDict:
    """The config of a system under this budget."""
    config = lineage.get_config(name)
    config.training.steps = steps
    return config


def trained(config: ConfigDict, workdir: Path) -> tuple[builder.Experiment, Any, float]:
    """The experiment, its averaged parameters, and the seconds it took now or in the run that made the workdir."""
    clock = workdir / "train_seconds.txt"
    began = time.monotonic()
    train(config, workdir)
    if not clock.exists():
        clock.write_text(f"{time.monotonic() - began:.1f}\n")
    experiment = builder.experiment(config)
    params, _ = restore_params(config, experiment, workdir, make_mesh())
    return experiment, params, float(clock.read_text())


def _measured_bits(experiment: builder.Experiment, params: Any, source: Source, count: int) -> Bits:
    """Measures by the ODE in continuous time, by the variational bound of a chain, and 2015 by its own bound; given the
    class of each image where the model knows any."""
    method = "vlb" if isinstance(experiment.process, Chain) else experiment.config.likelihood.name
    kind = "exact" if method == "ode" else "bound"
    config = experiment.config.copy_and_resolve_references()
    config.likelihood.update(name=method, num_examples=count, batch_size=min(count, experiment.likelihood.batch_size))
    if method == "ode":
        config.likelihood.sensitivity_batches = 0
    measured = builder.experiment(config)
    return Bits(estimate(likelihood.measure(measured, params, make_mesh(), source).bits_per_dim), kind)


def _bits(experiment: builder.Experiment, params: Any, source: Source) -> Callable[[int], Bits] | None:
    if experiment.config.process.name == "ve_chain":
        return None
    return functools.partial(_measured_bits, experiment, params, source)


def of_config(config: ConfigDict, workdir: Path) -> System:
    """A system with a config of its own."""
    experiment, params, seconds = trained(config, workdir)

    def drawn(indices: range, given: Given) -> Images:
        size = len(indices)
        found: Drawn = draw(experiment, params, make_mesh(), indices, batch_size=size, seed=SEED, given=given)
        return Images(found.images, float(found.nfe.mean()))

    def complete(images: np.ndarray, labels: np.ndarray, kept: np.ndarray) -> Images:
        given = Given(measurement=measurements.mask(kept[None]), known=images, conditions={"label": labels})
        return drawn(range(len(images)), given)

    unconditioned = Given()
    return System(
        _size(params),
        seconds,
        config.sampler.name.replace("_", " "),
        lambda indices: drawn(indices, unconditioned),
        complete,
        _bits(experiment, params, open_split(config, "eval_split")),
    )


class Judge:
    """The classifier of the training split's labels, by whose features and verdicts all samples are judged."""

    def __init__(self, config: ConfigDict, path: Path):
        images, labels = evaluate.load_images(open_split(config, "train_split"))
        self.held_out, self.labels = evaluate.load_images(open_split(config, "eval_split"))
        self._classifier = evaluate.trained_classifier(images, labels, path)
        self._features = self._classifier.features()
        self._real = self._of(self.held_out)
        self.training = images

    def _of(self, images: np.ndarray) -> np.ndarray:
        found = array_features(images, make_mesh(), self._features, 128).features
        assert found is not None
        return found

    def fid(self, images: np.ndarray) -> Estimate:
        """fid_digits to the held-out images, and its bootstrap standard error."""
        found, real = self._of(images), moments(self._real)
        return Estimate(frechet_distance(generated=moments(found), real=real), bootstrap_standard_error(found, real))

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of images that it sees as these classes."""
        return float((digit_features.predict_classes(self._classifier, images) == labels).mean())
