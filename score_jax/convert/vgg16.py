"""VGG16's weights: torchvision's vgg16-397923af.pth, which torch-fidelity takes too."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from score_jax.convert import known_file
from score_jax.convert.correspondence import CONV, LINEAR, Counterpart, StateDict, Table, to_ours, to_theirs
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.known_file import KnownFile
from score_jax.errors import InputError
from score_jax.evaluation.vgg16 import VGG16Weights
from score_jax.models.scorers.vgg16 import POOLED, VGG16_WIDTHS, VGG16Hidden, Widths, parameter_shapes

RELEASE = "vgg16"
VARIABLE = "SCORE_JAX_VGG16"
"""Environment variable with the path of the weights."""
FILE = "vgg16-397923af.pth from https://download.pytorch.org/models/vgg16-397923af.pth"
PUBLISHED = KnownFile(
    network="VGG16",
    numbers="precision and recall",
    start="397923af",
    where=FILE,
    flag="vgg16_weights",
    variable=VARIABLE,
)
_CLASSES = r"classifier\.6\."
_HIDDEN = {"hidden_1": "classifier.0", "hidden_2": "classifier.3"}


def _places() -> dict[str, tuple[int, int]]:
    """Block and index of each convolution in torchvision's `features`, where activations and pools count."""
    places, index = {}, 0
    for block, widths in enumerate(VGG16_WIDTHS, 1):
        for i in range(1, len(widths) + 1):
            places[f"conv{block}_{i}"] = block, index
            index += 2
        index += 1
    return places


PLACES = _places()


def convolution(name: str, leaf: str) -> Counterpart:
    """The tensor of a convolution's kernel or bias, where PyTorch calls the convolution `name`."""
    return Counterpart(f"{name}.weight", CONV) if leaf == "kernel" else Counterpart(f"{name}.bias")


def table(path: ParameterPath) -> Counterpart:
    """The tensor of a parameter of `models.scorers.vgg16.VGG16Hidden`, or of its convolutions, in torchvision's."""
    *_, module, leaf = path
    if module in _HIDDEN:
        if leaf == "bias":
            return Counterpart(f"{_HIDDEN[module]}.bias")
        flattened = module == "hidden_1"  # channels first there
        layout, sizes = ("o (c h w) -> (h w c) o", {"h": POOLED, "w": POOLED}) if flattened else (LINEAR, {})
        return Counterpart(f"{_HIDDEN[module]}.weight", layout, sizes)
    return convolution(f"features.{PLACES[module][1]}", leaf)


def widths_of(state: StateDict, table: Table) -> Widths:
    """The channels of the convolutions of a state dict.

    Raises:
      InputError: it lacks one.
    """
    names = {convolution: table(("vgg", convolution, "kernel")).name for convolution in PLACES}
    missing = [name for name in names.values() if name not in state or state[name].ndim != 4 or not state[name].size]
    if missing:
        raise InputError(f"The weights are not those of VGG16 (a convolution has no {missing[0]}).")
    found: Any = tuple(
        tuple(len(state[name]) for convolution, name in names.items() if convolution.startswith(f"conv{block}_"))
        for block in range(1, len(VGG16_WIDTHS) + 1)
    )
    return found


def vgg16_of(state: StateDict) -> tuple[VGG16Hidden, PyTree]:
    """The network of torchvision's state dict, and its parameters.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    widths, bias = widths_of(state, table), f"{_HIDDEN['hidden_2']}.bias"
    if bias not in state or state[bias].ndim != 1 or not state[bias].size:
        raise InputError(f"The weights are not those of VGG16 with its hidden layers ({bias} is missing).")
    module = VGG16Hidden(widths, len(state[bias]))
    return module, jax.tree.map(jnp.asarray, to_ours(state, parameter_shapes(module), table, buffers=_CLASSES))


def state_of(params: PyTree) -> dict[str, np.ndarray]:
    """Back to torchvision's names and layouts, without the layer of the classes."""
    return to_theirs(params, table)


def random_state(seed: int, module: VGG16Hidden) -> dict[str, np.ndarray]:
    """Weights that keep numbers in range, under torchvision's names: for tests and benchmarks."""
    rng = np.random.default_rng(seed)
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), parameter_shapes(module))
    state = {}
    for name, tensor in state_of(zeros).items():
        n = rng.standard_normal(tensor.shape, np.float32)
        state[name] = 0.1 * n if n.ndim == 1 else n * np.float32(math.sqrt(2 / math.prod(n.shape[1:])))
    return state


def load_vgg16(path: Path, *, allow_other: bool = False) -> VGG16Weights:
    """The weights of the published file, or of what `convert_vgg16` made of it.

    Args:
      path: .pth or .safetensors.
      allow_other: take weights that are not the published ones.

    Raises:
      InputError: the file is missing or damaged, of another network, or not the published one.
    """
    state, sha256, published = known_file.read(path, PUBLISHED, allow_other=allow_other)
    try:
        return VGG16Weights(*vgg16_of(state), sha256, published)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def find_vgg16(path: Path | None, *, allow_other: bool = False) -> VGG16Weights:
    """The weights at `path`, or where $SCORE_JAX_VGG16 says.

    Raises:
      InputError: neither is given, or what they name is not that file.
    """
    return load_vgg16(known_file.find(path, PUBLISHED), allow_other=allow_other)


def convert_vgg16(source: Path, out: Path, *, allow_other: bool = False) -> int:
    """Writes the tensors as .safetensors, which says what it was converted from; returns the number of parameters.

    Raises:
      InputError: see `load_vgg16`, or `out` has another suffix.
    """
    known_file.check_out(out)
    weights = load_vgg16(source, allow_other=allow_other)
    return known_file.save(state_of(weights.params), out, weights.sha256)
