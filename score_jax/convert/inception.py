"""The FID Inception's weights: the ports of pytorch-fid and torch-fidelity, which are one file under two names."""

import functools
import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from score_jax.convert.correspondence import CONV, LINEAR, Counterpart, StateDict, to_ours, to_theirs
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.readers import given_or_in_environment, read_checkpoint
from score_jax.errors import InputError
from score_jax.evaluation.inception import SIZE, InceptionWeights
from score_jax.models.scorers.inception import FIDInception
from score_jax.runtime.files import written_whole

RELEASE = "fid_inception"
VARIABLE = "SCORE_JAX_INCEPTION"
"""Environment variable with the path of the weights."""
_PUBLISHED = "6726825d"  # how the published file's SHA-256 begins; its name ends in it
_WHERE = (
    "pt_inception-2015-12-05-6726825d.pth from https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights, or "
    "weights-inception-2015-12-05-6726825d.pth from https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0"
)
_SOURCE = "source_sha256"
_BUFFERS = r".*num_batches_tracked$"
_LEAVES = {
    "kernel": ("conv.weight", CONV),
    "scale": ("bn.weight", None),
    "bias": ("bn.bias", None),
    "mean": ("bn.running_mean", None),
    "var": ("bn.running_var", None),
}


def table(path: ParameterPath) -> Counterpart:
    """The tensor of a parameter of `models.inception.FIDInception`, or of one of its blocks."""
    *modules, leaf = path
    if leaf == "fc_kernel":
        return Counterpart("fc.weight", LINEAR)
    if leaf == "fc_bias":
        return Counterpart("fc.bias")
    name, layout = _LEAVES[leaf]
    name = ".".join([*modules, name])
    return Counterpart(name) if layout is None else Counterpart(name, layout)


@functools.cache
def _shapes() -> PyTree:
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(FIDInception().init, jax.random.key(0), images)["params"]


def random_state(seed: int) -> dict[str, np.ndarray]:
    """Weights that keep numbers in range, under the ports' names: for tests and benchmarks."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, zeros in state_of(jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), _shapes())).items():
        n = rng.standard_normal(zeros.shape, np.float32)
        fan_in = max(1, math.prod(zeros.shape[1:]))
        if name.endswith("running_var"):
            state[name] = np.exp(0.2 * n)
        elif zeros.ndim == 1:
            state[name] = 0.1 * n + name.endswith("bn.weight")
        else:
            state[name] = n * np.float32(math.sqrt((2 if zeros.ndim == 4 else 1) / fan_in))
    return state


def params_of(state: StateDict) -> PyTree:
    """The parameters from a state dict of the ports.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    return to_ours(state, _shapes(), table, buffers=_BUFFERS)


def state_of(params: PyTree) -> dict[str, np.ndarray]:
    """Back to the ports' names and layouts."""
    return to_theirs(params, table)


def load_inception(path: Path, *, allow_other: bool = False) -> InceptionWeights:
    """The weights of a published file, or of what `convert_inception` made of it.

    Args:
      path: .pth or .safetensors.
      allow_other: take weights that are not the published ones.

    Raises:
      InputError: the file is missing or damaged, of another network, or not the published one.
    """
    state: Any = read_checkpoint(path)
    sha256 = _source_of(path)
    published = sha256.startswith(_PUBLISHED)
    if not published and not allow_other:
        raise InputError(
            f"{path} is not the published FID Inception (sha256 {sha256[:8]}, expected {_PUBLISHED}), so its FID "
            f"cannot be compared with published ones: get {_WHERE}, or give --allow_other_weights."
        )
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no named tensors: get {_WHERE}.")
    return InceptionWeights(jax.tree.map(jnp.asarray, params_of(state)), sha256, published)


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


def find_inception(path: Path | None, *, allow_other: bool = False) -> InceptionWeights:
    """The weights at `path`, or where $SCORE_JAX_INCEPTION says.

    Raises:
      InputError: neither is given, or what they name is not the FID Inception.
    """
    found = given_or_in_environment(path, VARIABLE)
    if found is None:
        raise InputError(
            f"FID needs Inception's weights: get {_WHERE}, and name the file with --inception_weights or ${VARIABLE}."
        )
    return load_inception(found, allow_other=allow_other)


def convert_inception(source: Path, out: Path, *, allow_other: bool = False) -> int:
    """Writes the tensors as .safetensors, which says what it was converted from; returns the number of parameters.

    Raises:
      InputError: see `load_inception`, or `out` has another suffix.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: expected a name ending in .safetensors.")
    weights = load_inception(source, allow_other=allow_other)
    with written_whole(out) as temporary:
        save_file(state_of(weights.params), temporary, metadata={_SOURCE: weights.sha256})
    return sum(leaf.size for leaf in jax.tree.leaves(weights.params))
