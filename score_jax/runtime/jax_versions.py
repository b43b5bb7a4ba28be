"""Releases of jax that are known to compute wrong numbers, and the refusal to compute with one of them."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping

import jax

from score_jax.errors import InputError

ALLOW = "SCORE_JAX_ALLOW_KNOWN_WRONG_JAX"
"""Environment variable: 1 computes all the same."""
INSTALL = "install jax 0.10.1 (Python 3.11) or 0.12 (Python 3.12 or newer)"
"""What mends a jax that computes wrong numbers: the releases that the tests run with."""


@dataclasses.dataclass(frozen=True)
class Defect:
    """What is wrong with a release.

    Attributes:
      what: which numbers are wrong, and where it is reported: the end of a sentence.
      platform: where: as `jax.default_backend` names it, or "all".
    """

    what: str
    platform: str


KNOWN_WRONG: dict[tuple[str, str], Defect] = {
    # jax 0.10.2 is right with jaxlib 0.10.1: the compiler is jaxlib's.
    ("jaxlib", "0.10.2"): Defect(
        "sums of products over many rows take rows from elsewhere, without an error (jax-ml/jax#39103)", "cpu"
    ),
}
"""By distribution and public version."""


def known_defects() -> dict[str, Defect]:
    """Those of what is installed, by "distribution version"; no backend is started, nor jaxlib loaded."""
    found = {}
    for name in {name for name, _ in KNOWN_WRONG}:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        version = installed.partition("+")[0]  # 0.10.2+local is 0.10.2; 0.10.2.1 may be mended
        if defect := KNOWN_WRONG.get((name, version)):
            found[f"{name} {version}"] = defect
    return found


def said_of(release: str, defect: Defect) -> str:
    """One line about a defect, without what to do."""
    where = "everywhere" if defect.platform == "all" else f"on {defect.platform.upper()}s"
    return f"{release} computes wrong numbers {where}: {defect.what}"


def refuse_known_wrong(environment: Mapping[str, str]) -> None:
    """Refuses to compute with a release that is known to be wrong where JAX computes.

    Starts JAX's backend only if such a release is installed. Where JAX computes on an accelerator, a defect of CPUs is
    let pass: the host computes no model.

    Args:
      environment: its variable `ALLOW`, set to 1, lets everything pass.

    Raises:
      InputError: the release is known to be wrong here.
    """
    if environment.get(ALLOW) == "1":
        return
    for release, defect in known_defects().items():
        if defect.platform in ("all", jax.default_backend()):
            raise InputError(f"{said_of(release, defect)}: {INSTALL}, or set {ALLOW}=1 to go on all the same.")
