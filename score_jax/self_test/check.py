"""What a check of the self-test is: a measurement with the bound that rounding sets, and a verdict in one line."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from score_jax.runtime.jax_versions import INSTALL

EPS = float(np.finfo(np.float32).eps)
"""Distance from 1 to the next float32: 1.2e-7."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """An error beside what rounding explains.

    Attributes:
      error: the largest, relative to what the check states.
      bound: the most that rounding explains.
      place: where it is.
      remark: what else was found.
    """

    error: float
    bound: float
    place: str = ""
    remark: str = ""

    @property
    def excess(self) -> float:
        """The error in units of its bound; infinite where it is not a number."""
        if math.isnan(self.error):
            return math.inf
        if self.bound == 0:
            return 0.0 if self.error == 0 else math.inf
        return self.error / self.bound


@dataclasses.dataclass(frozen=True)
class Skipped:
    """No measurement here, and why."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the self-test.

    Attributes:
      name: what is tested.
      measure: does it.
      wrong: what is wrong where it fails: a sentence without its end.
      mend: what to do then.
    """

    name: str
    measure: Callable[[], Measured | Skipped]
    wrong: str
    mend: str = INSTALL


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a check.

    Attributes:
      name: that of the check.
      error: the largest error; None where there is none, or it is not finite.
      bound: the most that rounding explains.
      ok: whether the error is within it, or the check does not apply here.
      message: of a failure, what is wrong and what to do, in one line; else a remark, or "".
    """

    name: str
    error: float | None
    bound: float | None
    ok: bool
    message: str


def largest(*measured: Measured) -> Measured:
    """That which exceeds its bound most."""
    return max(measured, key=lambda m: m.excess)


def compared(
    got: object, want: Float[np.ndarray, "..."], scale: Float[np.ndarray, "..."] | float, bound: float, place: str = ""
) -> Measured:
    """The largest |got - want| / scale.

    Args:
      got: what the device computed, an array of the shape of `want`.
      want: the same in float64.
      scale: what the error is relative to; zeros are taken as the smallest float32.
      bound: the most that rounding explains.
      place: where this is.
    """
    found = np.asarray(got).astype(np.float64)
    if found.shape != want.shape:
        raise ValueError(f"a result has shape {found.shape} instead of {want.shape}")
    return Measured(float(np.max(np.abs(found - want) / np.maximum(scale, np.finfo(np.float32).tiny))), bound, place)


def summed(terms: int) -> float:
    """Bound for a sum of products in float32, relative to the root of the sum of their squares: 4 eps sqrt(terms).

    In the worst order of summation, one after the other, rounding is a random walk whose standard deviation is
    eps sqrt(terms / 8); bfloat16 factors are wrong by 1e-2, TF32 ones by 1e-3.
    """
    return 4 * EPS * math.sqrt(terms)


def run_check(check: Check) -> Result:
    """Runs a check; whatever it raises is a failure."""
    try:
        measured = check.measure()
    except Exception as failure:
        first = (str(failure).strip().splitlines() or [""])[0][:200]
        raised = f"{type(failure).__name__}{': ' if first else ''}{first}"
        return Result(check.name, None, None, False, f"{check.name} cannot be tested ({raised}): {check.mend}.")
    if isinstance(measured, Skipped):
        return Result(check.name, None, None, True, f"not tested: {measured.reason}")
    error = measured.error if math.isfinite(measured.error) else None
    if measured.excess <= 1:
        return Result(check.name, error, measured.bound, True, measured.remark)
    size = "not a number" if error is None else f"{error:.1e}"
    where = f" {measured.place}" if measured.place else ""
    numbers = f"the error{where} is {size}, rounding explains {measured.bound:.1e}"
    return Result(check.name, error, measured.bound, False, f"{check.wrong} ({numbers}): {check.mend}.")
