"""What `plan` foretold of a training, beside what its runs measure.

WORKDIR/plan.json    what `plan --workdir=WORKDIR` found last
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from score_jax.training.goodput import goodput, seconds_per_step

FILE_NAME = "plan.json"


def _printable(text: Any) -> str:
    """A text from a file, without what a terminal would take for a command."""
    return "".join(filter(str.isprintable, str(text)[:100]))


def foretold(workdir: epath.PathLike, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns one line that compares the least time of a step with the measured one; None where either is unknown.

    Args:
      workdir: of the training; its plan.json and config.json are read. A plan of another batch is passed over.
      rows: lines of its runs.jsonl.
    """
    measured, cost, folder = seconds_per_step(rows), goodput(rows), epath.Path(workdir)
    if not measured or cost is None:
        return None
    try:
        plan, config = (json.loads((folder / name).read_text()) for name in (FILE_NAME, "config.json"))
        step = [row for row in plan["programs"] if row["program"] == "train" and row["fits"]][-1]
        if step["batch_size"] != config["training"]["batch_size"]:
            return None
        least = max(float(seconds) for seconds in step["floor_seconds"].values())
        where = f"{int(plan['chips'])} chips ({_printable(plan['topology'])}), bound by {_printable(step['bound_by'])}"
    except (OSError, ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError, RecursionError):
        return None
    if not 0 < least < math.inf:
        return None
    return (
        f"A step took {1e3 * measured:.4g} ms on {_printable(cost.devices)}; `plan` foretold at least "
        f"{1e3 * least:.4g} ms on {where}: {least / measured:.1%} of the greatest possible speed there"
    )
