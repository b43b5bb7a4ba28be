"""The form in which benchmarks state claims: one JSON object, or a table for a person."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

T = TypeVar("T")


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


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds that it took, and what it returned."""
    began = time.perf_counter()
    found = function()
    return time.perf_counter() - began, found


def ratio_claim(name: str, pairs: list[tuple[float, float]], target: float, how: str) -> Claim:
    """Their median time over ours, of pairs (ours, theirs) of seconds measured in turns, and how the pairs spread."""
    here, there = np.array(pairs).T
    how += f": {np.median(here):.3g} s here, {np.median(there):.3g} there"
    how += f", {len(pairs)} pairs, {(there / here).min():.2f} to {(there / here).max():.2f}"
    return Claim(name, float(np.median(there) / np.median(here)), "", target, ">=", how)


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
