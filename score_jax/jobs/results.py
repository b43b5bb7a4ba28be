"""Result files: written whole or not at all, and saying how they came about."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

import score_jax
from score_jax.files import written_whole


def provenance(**facts: Any) -> dict[str, Any]:
    """What every result file carries beside its numbers."""
    device = jax.devices()[0]
    return {
        "score_jax": score_jax.__version__,
        "jax": jax.__version__,
        "device": f"{jax.device_count()} x {device.device_kind}",
        **facts,
    }


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Atomically."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """An .npz, atomically."""
    with written_whole(path) as temporary:
        np.savez(temporary, **arrays)
