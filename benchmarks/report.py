"""The form in which benchmarks state claims: one JSON object, or a table for a person."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import time
from typing import Any, NamedTuple

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Claim:
    """One measured number against its target.

    Attributes:
      name: stable name.
      value: as measured in this run.
      unit: of the value.
      target: what is claimed.
      sense: "<=" or ">=": how the value must stand to the target.
      how: what was measured.
    """

    name: str
    value: float
    unit: str
    target: float
    sense: str
    how: str

    @property
    def holds(self) -> bool:
        """Whether the claim is true today."""
        return self.value <= self.target if self.sense == "<=" else self.value >= self.target

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self) | {"holds": self.holds}


class Estimate(NamedTuple):
    """A mean over examples and its standard error."""

    mean: float
    error: float


def estimate(values) -> Estimate:
    """Of values (n,)."""
    values = np.asarray(values, np.float64)
    return Estimate(float(values.mean()), float(values.std() / len(values) ** 0.5))


def emit(benchmark: str, claims: list[Claim], began: float, *, as_json: bool) -> int:
    """Prints the claims; returns the exit code, 1 where one does not hold."""
    if as_json:
        versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "diffrax", "flax", "numpy")}
        device = jax.devices()[0]
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {jax.device_count()} x {device.device_kind}"
        print(
            json.dumps(
                {
                    "benchmark": benchmark,
                    "machine": machine,
                    "versions": versions | {"python": platform.python_version()},
                    "seconds": round(time.monotonic() - began, 1),
                    "claims": [claim.as_dict() for claim in claims],
                }
            )
        )
    else:
        for claim in claims:
            verdict = "holds" if claim.holds else "FAILS"
            bound = f"{claim.sense} {claim.target:<8g} {claim.unit:<6}"
            print(f"{verdict}  {claim.name:<44}{claim.value:12.3g} {bound} {claim.how}")
    return 0 if all(claim.holds for claim in claims) else 1
