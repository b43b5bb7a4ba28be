"""The `cascade` section: which runs draw one after another, and how."""

import dataclasses
from typing import ClassVar

from score_jax.builder.options import Options, count, option

SETTINGS = ("sampler", "guidance")
"""Sections of a run that a stage may state anew; what it leaves out stays as in the run's own config."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageOptions(Options):
    """A trained model of a cascade. The first stage draws from noise, each other stage enlarges its images."""

    SECTION: ClassVar[str] = "cascade.stage"
    workdir: str = option("", "workdir of the stage's run")
    step: int = count(-1, "step of the stage's checkpoint; -1: the newest", least=-1)
