"""Parameters alone, for sharing: what a conversion or an export writes, and what `sample` reads without a checkpoint.

params.safetensors    one file
params/               or a folder of orbax's
"""

from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from score_jax.errors import InputError
from score_jax.files import written_whole
from score_jax.typing import Params

FILE_NAME, FOLDER_NAME = "params.safetensors", "params"


def _name(path: tuple) -> str:
    return ".".join(key.key for key in path)


def save_params(workdir: Path, params: PyTree) -> Path:
    """Writes the parameters into a workdir, whole or not at all; returns the file."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    # safetensors writes the memory as it lies, so a transposed array would come back as another one.
    tensors = {_name(path): np.ascontiguousarray(leaf) for path, leaf in leaves}
    with written_whole(workdir / FILE_NAME) as temporary:
        save_file(tensors, temporary)
    return workdir / FILE_NAME


def save_params_orbax(workdir: Path, params: PyTree) -> Path:
    """The same as a folder of orbax's; an older one is replaced."""
    folder = (workdir / FOLDER_NAME).absolute()
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder, params, force=True)
    return folder


def has_params(workdir: Path) -> bool:
    """Whether a workdir holds parameters alone, in either form."""
    return (workdir / FILE_NAME).is_file() or (workdir / FOLDER_NAME).is_dir()


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


def load_params(workdir: Path, shapes: PyTree, sharding: jax.sharding.Sharding) -> Params:
    """The parameters of a workdir, placed by `sharding`.

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
                raise InputError(f"{path} is of another network ({example!r} is in one alone): check the config.")

            def load(key: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
                array = file.get_tensor(_name(key))
                if array.shape != leaf.shape:
                    what = f"{_name(key)} has shape {array.shape}, the config's network {leaf.shape}"
                    raise InputError(f"{path} is of another network: {what}. Check the config.")
                return jax.device_put(array.astype(leaf.dtype), sharding)

            return jax.tree_util.tree_map_with_path(load, shapes)
    except (OSError, SafetensorError) as error:
        raise InputError(f"Cannot read {path}: {error}. Convert the weights again.") from None
