"""Result files: written whole or not at all, and saying how they came about."""

import json
import os
from pathlib import Path
from typing import Any

import jax

import score_jax


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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    os.replace(temporary, path)
