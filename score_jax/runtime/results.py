"""Result files: written whole or not at all, saying how they came about, and without a number that is none."""

import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal, cast

import jax
import numpy as np
import PIL

import score_jax
from score_jax.errors import InputError
from score_jax.runtime.files import written_whole

SCHEMA = "score_jax/result/1"
"""The form of the files of measurements; another number where a reader of the old one would misread it."""
Kind = Literal["evaluation", "comparison", "likelihood", "reconstruction", "retrieval"]


def provenance(**facts: Any) -> dict[str, Any]:
    """Returns what every result file carries beside its numbers."""
    device = jax.devices()[0]
    return {
        "score_jax": score_jax.__version__,
        "jax": jax.__version__,
        "pillow": PIL.__version__,  # its filters, which resize images, differ between releases
        "device": f"{jax.device_count()} x {device.device_kind}",
        **facts,
    }


def measurement(kind: Kind, measured: Iterable[str], **facts: Any) -> dict[str, Any]:
    """Returns what the file of a measurement carries beside its numbers, in the form of docs/result.schema.json.

    Args:
      kind: what was measured.
      measured: keys of the numbers that are the result, among others that say how it came about.
      facts: how it came about.
    """
    return {"schema": SCHEMA, "kind": kind, "measured": list(measured)} | provenance(**facts)


def _not_finite(values: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a tree of dictionaries and lists that are NaN or infinite, with the way to each."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _not_finite(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list | tuple):
        for place, value in enumerate(values):
            yield from _not_finite(value, f"{path}[{place}]")
    elif isinstance(values, float) and not math.isfinite(values):
        yield path, values


def check_result(values: dict[str, Any]) -> None:
    """Raises InputError where a number of a result is NaN or infinite: it is no result."""
    found = list(_not_finite(values))
    if found:
        (name, value), more = found[0], len(found) - 1
        others = f" (and {more} more)" if more else ""
        raise InputError(
            f"{name} is {value}{others}, which is no result: look for numbers that are not finite in the weights, "
            "the images or the statistics."
        )


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a result, atomically.

    Raises:
      InputError: a number of it is NaN or infinite.
    """
    check_result(values)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Writes an .npz, atomically."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # by the open file: a name without the suffix would get one


def write_joined(
    path: Path, name: str, pieces: Iterable[np.ndarray], count: int, others: Mapping[str, np.ndarray]
) -> None:
    """Writes an .npz of an array whose pieces are never in memory together, atomically: as `write_arrays` of the whole.

    Args:
      path: of the file.
      name: of the array.
      pieces: its rows (k, ...), in their order.
      count: of all rows.
      others: further arrays.
    """
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            written = 0
            for piece in pieces:
                if not written:
                    about = {"descr": np.lib.format.dtype_to_descr(piece.dtype), "fortran_order": False}
                    header = about | {"shape": (count, *piece.shape[1:])}
                    np.lib.format.write_array_header_1_0(cast(IO[bytes], member), header)
                member.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
                written += len(piece)
            assert written == count, "the header says so"
        for other, array in others.items():
            with archive.open(f"{other}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(cast(IO[bytes], member), array, allow_pickle=False)
