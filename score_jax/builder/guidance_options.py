"""The `guidance` section: how samples are guided towards their condition."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, option


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFree(Options):
    """Classifier-free guidance (Ho and Salimans 2022), in an interval of noise levels (Kynkaanniemi et al. 2024)."""

    SECTION: ClassVar[str] = "guidance"
    scale: float = option(1.0, "guidance scale; 1: the model as it was trained")
    sigma_low: float = option(0.0, "guidance acts where sigma / alpha is above this", least=0.0)
    sigma_high: float = option(0.0, "and at most this; 0: no bound", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByClassifier(Options):
    """Guidance by a classifier of noisy images (Dhariwal and Nichol 2021, algorithms 1 and 2)."""

    SECTION: ClassVar[str] = "guidance"
    scale: float = option(1.0, "factor on the classifier's gradient; 1: its own posterior")
    workdir: str = option("", "folder of the classifier's run")


GUIDANCES: Mapping[str, type[Options]] = {"classifier_free": ClassifierFree, "classifier": ByClassifier}
