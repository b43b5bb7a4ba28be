"""A trained classifier, for the gradient that guides another model."""

from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder import Experiment
from score_jax.builder.workdirs import load_config
from score_jax.errors import InputError
from score_jax.jobs.sample import Given
from score_jax.jobs.train import restore_params


def classifier_of(experiment: Experiment) -> Experiment | None:
    """Returns the classifier that the config names in `guidance.workdir`; None where it names none.

    Raises:
      InputError: the workdir has no classifier, or one of another process, image size or classes.
    """
    name = experiment.config.guidance.get("workdir", "")
    if not name:
        return None
    config = load_config(Path(name))
    classifier = builder.experiment(config)
    if "classifier" not in classifier.parts:
        raise InputError(f"guidance.workdir={name} is no classifier: train one with loss.name=classifier.")
    for what, ours, theirs in (
        ("process", experiment.config.process, config.process),
        ("image shape", experiment.image_shape, classifier.image_shape),
        ("range of values", experiment.codec.bounds, classifier.codec.bounds),
        ("first stage", *(_autoencoder(c) for c in (experiment.config, config))),
        ("number of classes", experiment.num_classes or classifier.label_classes, classifier.label_classes),
    ):
        if ours != theirs:
            raise InputError(
                f"The classifier in {name} has the {what} {theirs}, but the model has {ours}: train a "
                "classifier that fits the model."
            )
    return classifier


def _autoencoder(config: ConfigDict) -> tuple[Any, float]:
    """Whose latents are modelled, and their scale."""
    return config.get("first_stage", ConfigDict()).to_dict(), config.codec.get("scale", 1.0)


def load_classifier(experiment: Experiment, mesh: Mesh) -> Given:
    """What `draw` needs of the classifier that the config names in `guidance.workdir`; nothing where it names none.

    Raises:
      InputError: as `classifier_of`, the workdir has no parameters, or the model cannot be guided as the config asks.
    """
    experiment.check_guidance()
    classifier = classifier_of(experiment)
    if classifier is None:
        return Given()
    workdir = Path(experiment.config.guidance.workdir)
    params, _ = restore_params(classifier.config, classifier, workdir, mesh)
    return Given(classifier=classifier, classifier_params=params)
