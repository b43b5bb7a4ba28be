"""`inspect`: what a run's checkpoints hold, and whether they are whole; no config, network or accelerator is needed."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from safetensors import SafetensorError, safe_open

from score_jax.builder.sections import refuse_cascade
from score_jax.errors import InputError
from score_jax.jobs.foretold import foretold
from score_jax.training.checkpoint import Checkpoints, directory_of
from score_jax.training.goodput import goodput, read_runs
from score_jax.training.mirror import FOLDER
from score_jax.training.run_config import stored_config
from score_jax.training.weights import FILE_NAME


def _checkpoints_in(path: str) -> tuple[epath.Path, int | None]:
    """The folder of checkpoints that a path names, and the step where it names one checkpoint."""
    folder = epath.Path(path) if "://" in path else epath.Path(Path(path).absolute())
    if folder.name.isdecimal() and (folder / "state").is_dir():
        return folder.parent, int(folder.name)
    if "://" not in path and (Path(path) / "config.json").is_file():
        config = stored_config(Path(path))
        refuse_cascade(config)
        folder = directory_of(Path(path), config.training.get("checkpoints", ""))
    return folder, None


def _bytes_on_disk(folder: epath.Path) -> int:
    return sum(_bytes_on_disk(path) if path.is_dir() else path.stat().length for path in folder.iterdir())


def _group(name: str) -> str:
    """ "params" of "params.Dense_0.kernel"."""
    return name.partition(".")[0]


def _told(step: int, checkpoints: Checkpoints) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {}
    finite, (data, said) = True, checkpoints.said(step)
    for name, array in checkpoints.arrays(step, said):
        finite = finite and bool(not np.issubdtype(array.dtype, np.floating) or np.isfinite(array).all())
        group = groups.setdefault(_group(name), {"arrays": 0, "elements": 0, "bytes": 0, "dtypes": []})
        group["arrays"] += 1
        group["elements"] += array.size
        group["bytes"] += array.nbytes
        group["dtypes"] = sorted({*group["dtypes"], str(array.dtype)})
    about = {key: said.get(key) for key in ("score_jax", "jax")}
    config = said.get("config", {})
    return {
        "step": step,
        "whole": True,
        "checked": bool(said),
        "finite": finite,
        "batches": data.get("batches"),
        "groups": groups,
        "written_by": about,
        "network": config.get("network", {}).get("name"),
        "data": config.get("data", {}).get("name"),
    }


def inspect(path: str, step: int | None = None) -> dict[str, Any]:
    """What is there, JSON-able: "directory", "checkpoints", a row each, newest first, with "problem" where damaged, and
    "goodput", what the training cost, where that was written down, and "foretold", a step's time beside that of `plan`.

    Args:
      path: a workdir, a folder of checkpoints, or one of them; local or gs://.
      step: of the one to look at; None: all.

    Raises:
      InputError: there is no checkpoint.
    """
    directory, named = _checkpoints_in(path)
    step = named if step is None else step
    if not (directory.is_dir() and any(child.name.isdecimal() for child in directory.iterdir())):
        raise InputError(f"No checkpoints in {directory}: expected a workdir, or a folder of checkpoints.")
    rows = []
    with Checkpoints(directory) as checkpoints:
        for each in checkpoints.steps[::-1] if step is None else [step]:
            try:
                rows.append(_told(each, checkpoints))
            except InputError as error:
                if step is not None:
                    raise
                rows.append({"step": each, "whole": False, "problem": str(error)})
            rows[-1]["bytes_on_disk"] = _bytes_on_disk(directory / str(each))
    runs = next(filter(None, (read_runs(place) for place in (directory / FOLDER, directory.parent))), [])
    cost = goodput(runs)
    return {
        "directory": str(directory),
        "checkpoints": rows,
        "goodput": None if cost is None else dataclasses.asdict(cost) | {"said": str(cost)},
        "foretold": foretold(directory.parent, runs),
    }


def arrays_of(path: str, step: int | None = None) -> list[tuple[str, tuple[int, ...], str]]:
    """Returns name, shape and dtype of each array of the newest checkpoint, the given one, or a file of parameters.

    Raises:
      InputError: there is nothing to read, or it is damaged.
    """
    file = Path(path) / FILE_NAME if "://" not in path else Path(path)
    file = Path(path) if path.endswith(".safetensors") else file
    if file.is_file():
        try:
            with safe_open(file, framework="numpy") as tensors:
                slices = {name: tensors.get_slice(name) for name in sorted(tensors.keys())}
                return [(name, tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()]
        except (OSError, SafetensorError) as error:
            raise InputError(f"Cannot read {file}: {error}.") from None
    directory, named = _checkpoints_in(path)
    with Checkpoints(directory) as checkpoints:
        wanted = named if step is None else step
        wanted = checkpoints.latest or 0 if wanted is None else wanted
        arrays = checkpoints.arrays(wanted, checkpoints.said(wanted)[1])
        return sorted((name, array.shape, str(array.dtype)) for name, array in arrays)


def table(found: dict[str, Any]) -> str:
    """Returns the report as lines for a reader."""
    lines = [found["directory"]]
    for row in found["checkpoints"]:
        size = f"{row['bytes_on_disk'] / 2**20:.1f} MiB"
        if not row["whole"]:
            lines.append(f"step {row['step']:>9}  {size:>12}  DAMAGED: {row['problem']}")
            continue
        verdict = "whole" if row["checked"] else "readable (written before there were fingerprints)"
        verdict += "" if row["finite"] else ", NOT FINITE"
        lines.append(f"step {row['step']:>9}  {size:>12}  {verdict}, {row['batches']} batches of data taken")
    newest = next((row for row in found["checkpoints"] if row["whole"]), None)
    if newest is not None:
        by = newest["written_by"]
        lines += ["", f"step {newest['step']}: {newest['network']} on {newest['data']}, by score_jax {by['score_jax']}"]
        for name, group in newest["groups"].items():
            count, size = f"{group['elements']:,} numbers", f"{group['bytes'] / 2**20:.1f} MiB"
            dtypes = " ".join(group["dtypes"])
            lines.append(f"  {name:<12}{count:>22} in {group['arrays']:>5} arrays, {size:>14}, {dtypes}")
    if found["goodput"] is not None:
        lines += ["", found["goodput"]["said"]]
    if found["foretold"] is not None:
        lines.append(found["foretold"])
    return "\n".join(lines)
