"""The FID Inception's weights: the ports of pytorch-fid and torch-fidelity, which are one file under two names."""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from score_jax.convert import known_file
from score_jax.convert.correspondence import CONV, LINEAR, Counterpart, StateDict, to_ours, to_theirs
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.known_file import KnownFile
from score_jax.evaluation.inception import SIZE, InceptionWeights
from score_jax.models.scorers.inception import FIDInception

RELEASE = "fid_inception"
VARIABLE = "SCORE_JAX_INCEPTION"
"""Environment variable with the path of the weights."""
PUBLISHED = KnownFile(
    network="FID Inception",
    numbers="FID",
    start="6726825d",
    where="pt_inception-2015-12-05-6726825d.pth from https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights, "
    "or weights-inception-2015-12-05-6726825d.pth from https://github.com/toshas/torch-fidelity/releases/tag/v0.2.0",
    flag="inception_weights",
    variable=VARIABLE,
)
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
    state, sha256, published = known_file.read(path, PUBLISHED, allow_other=allow_other)
    return InceptionWeights(jax.tree.map(jnp.asarray, params_of(state)), sha256, published)


def find_inception(path: Path | None, *, allow_other: bool = False) -> InceptionWeights:
    """The weights at `path`, or where $SCORE_JAX_INCEPTION says.

    Raises:
      InputError: neither is given, or what they name is not the FID Inception.
    """
    return load_inception(known_file.find(path, PUBLISHED), allow_other=allow_other)


def convert_inception(source: Path, out: Path, *, allow_other: bool = False) -> int:
    """Writes the tensors as .safetensors, which says what it was converted from; returns the number of parameters.

    Raises:
      InputError: see `load_inception`, or `out` has another suffix.
    """
    known_file.check_out(out)
    weights = load_inception(source, allow_other=allow_other)
    return known_file.save(state_of(weights.params), out, weights.sha256)
