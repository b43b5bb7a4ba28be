"""LPIPS's weights: torchvision's VGG16 and the heads of the `lpips` package, or its state dict, which has both.

Heads that taming-transformers downloads (vgg.pth) have the package's names.
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from score_jax.convert import vgg16
from score_jax.convert.correspondence import Counterpart, StateDict, to_ours, to_theirs
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.readers import read_tensors
from score_jax.convert.vgg16 import FILE, PLACES, convolution
from score_jax.errors import InputError
from score_jax.models.scorers.lpips import LPIPS, LPIPSNetwork, parameter_shapes
from score_jax.models.scorers.vgg16 import VGG16_WIDTHS, Widths

_WHERE = (
    f"{FILE}, and the heads lpips/weights/v0.1/vgg.pth of the package (pip download lpips) or of "
    "https://github.com/richzhang/PerceptualSimilarity"
)
_BESIDES_VGG = r"classifier\.|lins?\d*\.|scaling_layer\."
_BESIDES_HEADS = r"net\.|lins\.|scaling_layer\."  # the package registers its heads twice


def table(path: ParameterPath) -> Counterpart:
    """The tensor of a parameter of `models.lpips.LPIPS` in the package's state dict."""
    *modules, leaf = path
    if not modules:
        return Counterpart(f"lin{leaf.removeprefix('head')}.model.1.weight", "1 c 1 1 -> c")
    block, index = PLACES[modules[-1]]
    return convolution(f"net.slice{block}.{index}", leaf)


def _normalisation(state: StateDict) -> dict[str, Any]:
    """What the package's state dict says of it; the numbers are the published ones, and buffers there."""
    found = {name: state.get(f"scaling_layer.{name}") for name in ("shift", "scale")}
    for name, values in found.items():
        if values is not None and values.size != 3:
            raise InputError(f"scaling_layer.{name} has {values.size} numbers, not one for each of 3 channels.")
    return {name: tuple(values.ravel().tolist()) for name, values in found.items() if values is not None}


def lpips_of(vgg: StateDict, heads: StateDict) -> LPIPSNetwork:
    """The network of published tensors.

    Args:
      vgg: torchvision's, or the package's state dict.
      heads: the package's heads, or its state dict.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    of_vgg = vgg16.table if any(name.startswith("features.") for name in vgg) else table
    widths = vgg16.widths_of(vgg, of_vgg)
    module = LPIPS(widths, **(_normalisation(vgg) | _normalisation(heads)))
    wanted = parameter_shapes(module)
    params = to_ours(vgg, {"vgg": wanted.pop("vgg")}, of_vgg, buffers=_BESIDES_VGG)
    params |= to_ours(heads, wanted, table, buffers=_BESIDES_HEADS)
    return LPIPSNetwork(module, jax.tree.map(jnp.asarray, params))


def state_of(params: PyTree) -> dict[str, np.ndarray]:
    """Back to the package's names and layouts."""
    return to_theirs(params, table)


def random_state(seed: int, widths: Widths = VGG16_WIDTHS) -> dict[str, np.ndarray]:
    """Weights that keep numbers in range, under the package's names: for tests and benchmarks."""
    rng = np.random.default_rng(seed)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), parameter_shapes(LPIPS(widths)))
    state: dict[str, np.ndarray] = {}
    for name, tensor in state_of(zeros).items():
        n = rng.standard_normal(tensor.shape, np.float32)
        if name.startswith("lin"):
            state[name] = np.abs(n) / n.size
        else:
            state[name] = 0.1 * n if n.ndim == 1 else n * np.float32(math.sqrt(2 / math.prod(n.shape[1:])))
    return state


def load_lpips(vgg: Path, heads: Path) -> LPIPSNetwork:
    """The network of published files, which may be one that has both parts.

    Args:
      vgg: torchvision's vgg16-397923af.pth, or a state dict of the package.
      heads: weights/v0.1/vgg.pth of the package, taming-transformers' vgg.pth, or a state dict of the package.

    Raises:
      InputError: a file is missing or damaged, or of another network.
    """
    states = [read_tensors(path, f"get {_WHERE}") for path in (vgg, heads)]
    try:
        return lpips_of(*states)
    except InputError as error:
        raise InputError(f"{vgg} with the heads {heads}: {error} Get {_WHERE}.") from None
