"""What `plan` foretold of a training, beside what its runs measure.

WORKDIR/plan.json    what `plan --workdir=WORKDIR` found last
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from score_jax.training.goodput import seconds_per_step

FILE_NAME = "plan.json"


def foretold(workdir: epath.PathLike, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Returns one line that compares the least time of a step with the measured one; None where either is unknown.

    Args:
      workdir: of the training; its plan.json is read.
      rows: lines of its runs.jsonl.
    """
    measured, path = seconds_per_step(rows), epath.Path(workdir) / FILE_NAME
    try:
        plan = json.loads(path.read_text()) if path.exists() else {}
        step = [row for row in plan.get("programs", []) if row["program"] == "train" and row["fits"]][-1]
        least = max(step["floor_seconds"].values())
        where, bound = f"{plan['chips']} chips ({plan['topology']})", step["bound_by"]
    except (ValueError, KeyError, IndexError, AttributeError, TypeError):
        return None
    if measured is None:
        return None
    return (
        f"A step took {1e3 * measured:.4g} ms; `plan` foretold at least {1e3 * least:.4g} ms on {where}, bound by "
        f"{bound}: {least / measured:.1%} of the greatest possible speed"
    )
