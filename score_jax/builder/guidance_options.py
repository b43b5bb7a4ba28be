"""The `guidance` section: how samples are guided towards their condition."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFree(Options):
    """Classifier-free guidance (Ho and Salimans 2022), in an interval of noise levels (Kynkaanniemi et al. 2024)."""

    SECTION: ClassVar[str] = "guidance"
    scale: float = option(1.0, "guidance scale; 1: no guidance")
    sigma_low: float = option(0.0, "guidance is on where sigma / alpha is above sigma_low", least=0.0)
    sigma_high: float = option(
        0.0, "guidance is on where sigma / alpha is at most sigma_high; 0: no upper bound", least=0.0
    )
    candidates: int = count(
        1, "embeddings that a prior draws for each sample, of which the closest to the text's is kept (unCLIP: 2)"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByClassifier(Options):
    """Guidance by a classifier of noisy images (Dhariwal and Nichol 2021, algorithms 1 and 2)."""

    SECTION: ClassVar[str] = "guidance"
    scale: float = option(1.0, "factor of the classifier's gradient; 1: the posterior of the class, by Bayes' rule")
    workdir: str = option("", "workdir of the classifier's run")


GUIDANCES: Mapping[str, type[Options]] = {"classifier_free": ClassifierFree, "classifier": ByClassifier}
