"""Parameters alone, for sharing: what a conversion or an export writes, and what `sample` reads without a checkpoint.

params.safetensors    one file
params/               or a folder of orbax's
"""

import contextlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from score_jax.errors import InputError, named, quoted
from score_jax.runtime.file_kinds import kind_of
from score_jax.runtime.files import written_whole
from score_jax.training.checkpoint import directory_of
from score_jax.training.run_config import stored_config
from score_jax.typing import Params

FILE_NAME, FOLDER_NAME = "params.safetensors", "params"
NAMES = ("ema", "raw", "unknown")
"""Of parameters: averaged over training, as they were trained, or one of both that nothing tells."""
_RECORDS = {"convert.json": "weights", "export.json": "parameters"}
"""What wrote parameters alone says there which ones they are."""


def _name(path: tuple) -> str:
    return ".".join(key.key for key in path)


def save_params(workdir: Path, params: PyTree) -> Path:
    """Writes the parameters into a workdir, whole or not at all, in place of older ones; returns the file."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    # safetensors writes the memory as it lies, so a transposed array would come back as another one.
    tensors = {_name(path): np.asarray(leaf, order="C") for path, leaf in leaves}
    with written_whole(workdir / FILE_NAME) as temporary:
        save_file(tensors, temporary)
    _forget(workdir, FOLDER_NAME)
    return workdir / FILE_NAME


def save_params_orbax(workdir: Path, params: PyTree) -> Path:
    """Writes the parameters as a folder of orbax's; an older one is replaced."""
    folder = (workdir / FOLDER_NAME).absolute()
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder, params, force=True)
    _forget(workdir, FILE_NAME)
    return folder


def _forget(workdir: Path, other: str) -> None:
    """Removes what described or held the parameters that were replaced, which would be taken for the new ones'."""
    for name in (other, *_RECORDS):
        path = workdir / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def has_params(workdir: Path) -> bool:
    """Returns whether a workdir holds parameters alone, in either form."""
    return (workdir / FILE_NAME).is_file() or (workdir / FOLDER_NAME).is_dir()


def parameters_name(workdir: Path) -> str:
    """Returns which parameters the verbs take from a workdir, one of `NAMES`: what a result of them says.

    The averaged ones of a run with checkpoints; else those that a conversion or an export wrote, as it kept them in
    convert.json or export.json. A conversion of an earlier version that took what the file had is "unknown".

    Raises:
      InputError: config.json is missing or no config.
    """
    if (
        not has_params(workdir)
        or directory_of(workdir, stored_config(workdir).training.get("checkpoints", "")).is_dir()
    ):
        return "ema"
    for record, key in _RECORDS.items():
        try:
            facts = json.loads((workdir / record).read_bytes())
        except (OSError, ValueError, RecursionError):  # absent, or no record of ours
            continue
        name = facts.get(key) if isinstance(facts, dict) else None
        if isinstance(name, str) and name in NAMES:
            return name
    return "unknown"


def _load_orbax(folder: Path, shapes: PyTree, sharding: jax.sharding.Sharding) -> Params:
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)
    try:
        with ocp.StandardCheckpointer() as reader:
            return reader.restore(folder.absolute(), like)
    except Exception as error:  # whatever a damaged file makes a reader raise
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"{folder} is damaged or of another network: {reason}. Check the config, or export again."
        ) from error


def _head(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(1024)
    return b""


def load_params(workdir: Path, shapes: PyTree, sharding: jax.sharding.Sharding) -> Params:
    """Returns the parameters of a workdir, placed by `sharding`.

    Args:
      workdir: where `save_params` or `save_params_orbax` wrote.
      shapes: shapes and dtypes that the network expects.
      sharding: where each array shall live.

    Raises:
      InputError: the file is missing or damaged, or is of another network.
    """
    path = workdir / FILE_NAME
    if not path.exists() and (workdir / FOLDER_NAME).is_dir():
        return _load_orbax(workdir / FOLDER_NAME, shapes, sharding)
    try:
        with safe_open(path, framework="numpy") as file:
            found = set(file.keys())
            expected = {_name(key): leaf for key, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
            if found != set(expected):
                example = sorted(found ^ set(expected))[0]
                raise InputError(f"{path} is of another network ({named(example)} is in one alone): check the config.")

            def load(key: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
                array = file.get_tensor(_name(key))
                if array.shape != leaf.shape:
                    what = f"{_name(key)} has shape {quoted(array.shape)}, the config's network {leaf.shape}"
                    raise InputError(f"{path} is of another network: {what}. Check the config.")
                return jax.device_put(array.astype(leaf.dtype), sharding)

            return jax.tree_util.tree_map_with_path(load, shapes)
    except (OSError, SafetensorError, TypeError, KeyError, AttributeError) as error:  # the last three: types like fp8
        kind = kind_of(_head(path))
        reason = f"it is {kind}" if kind else named((str(error) or type(error).__name__).splitlines()[0])
        raise InputError(f"Cannot read {path}: {reason}. Convert the weights again.") from None
