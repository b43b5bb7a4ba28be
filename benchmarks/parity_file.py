"""Files of an original's numbers, in the format that tests/parity/files/README.md describes."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def save(
    path: Path,
    system: str,
    case: str,
    arrays: dict[str, Any],
    *,
    source: dict[str, str],
    config: dict[str, Any],
    how: str,
    limit: float,
    versions: dict[str, str] | None,
) -> None:
    """Writes a file.

    Args:
      path: an .npz.
      system: whose numbers they are.
      case: of which handler.
      arrays: by `params/`, `in/`, `out/` and `out64/`; each output in both precisions.
      source: repository and commit.
      config: what the handler needs to know.
      how: remarks for a reader.
      limit: of the error, over an output's scale.
      versions: of what computed them.
    """
    rounding = {}
    for key in (key for key in arrays if key.startswith("out/")):
        double = arrays[key.replace("out/", "out64/")]
        rounding[key] = {"scale": float(np.abs(double).max()), "max_abs": float(np.abs(arrays[key] - double).max())}
    meta = {
        "format": 1,
        "system": system,
        "case": case,
        "source": source,
        "config": config,
        "how": how,
        "rounding_f32_vs_f64": rounding,
        "tolerance": {"rtol": 0.0, "atol_of_scale": limit},
        "versions": versions,
    }
    np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)
