"""Networks that all evaluators take from one published file: it is known by its SHA-256, and what is converted from it
says so.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from score_jax.convert.correspondence import StateDict
from score_jax.convert.readers import given_or_in_environment, read_checkpoint
from score_jax.errors import InputError
from score_jax.runtime.files import written_whole

_SOURCE = "source_sha256"


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """One published file.

    Attributes:
      network: what it is of, for messages.
      numbers: what is measured by it, for messages.
      start: how its SHA-256 begins.
      where: to get it.
      flag: that names it on the command line.
      variable: environment variable that does.
    """

    network: str
    numbers: str
    start: str
    where: str
    flag: str
    variable: str


def find(path: Path | None, known: KnownFile) -> Path:
    """The path that is given, or that the environment says.

    Raises:
      InputError: neither.
    """
    found = given_or_in_environment(path, known.variable)
    if found is None:
        raise InputError(
            f"The weights of the {known.network} are not named: get {known.where}, and name the file with "
            f"--{known.flag} or ${known.variable}."
        )
    return found


def read(path: Path, known: KnownFile, *, allow_other: bool) -> tuple[StateDict, str, bool]:
    """The tensors of a file, the SHA-256 of what was published, and whether that is the known file.

    Args:
      path: a file of any format, or what `save` wrote.
      known: what it should be.
      allow_other: take another one.

    Raises:
      InputError: the file is missing, damaged, has no named tensors, or is another one.
    """
    state: Any = read_checkpoint(path)
    sha256 = _source_of(path)
    published = sha256.startswith(known.start)
    if not published and not allow_other:
        raise InputError(
            f"{path} is not the published {known.network} (sha256 {sha256[:8]}, expected {known.start}), so its "
            f"{known.numbers} cannot be compared with published ones: get {known.where}, or give --allow_other_weights."
        )
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no named tensors: get {known.where}.")
    return state, sha256, published


def _source_of(path: Path) -> str:
    """SHA-256 of the file, or of the one it was converted from."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise InputError(f"Cannot read {path}: {error}. Convert the weights again.") from None
        if _SOURCE in metadata:
            return metadata[_SOURCE]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_out(out: Path) -> None:
    """Raises InputError where a name is not one of the files that `save` writes."""
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: expected a name ending in .safetensors.")


def save(state: dict[str, np.ndarray], out: Path, sha256: str) -> int:
    """Writes tensors as .safetensors, with the SHA-256 of what was published; returns how many numbers they hold."""
    with written_whole(out) as temporary:
        save_file(state, temporary, metadata={_SOURCE: sha256})
    return sum(tensor.size for tensor in state.values())
