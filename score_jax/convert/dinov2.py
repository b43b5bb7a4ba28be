"""DINOv2's weights: the files of facebookresearch/dinov2's hub, and folders of Hugging Face's transformers."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors.numpy import save_file

from score_jax.convert.correspondence import LINEAR, SAME, Counterpart, StateDict, Table, sha256_of, to_ours, to_theirs
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.diffusers import part_tensors
from score_jax.convert.diffusers_sections import check_only, read_json
from score_jax.convert.fused import joined, split
from score_jax.convert.readers import given_or_in_environment, read_tensors
from score_jax.errors import InputError, named, quoted
from score_jax.evaluation.dinov2 import ARCHITECTURE, DINOv2Weights
from score_jax.models.scorers.dinov2 import HEAD_CHANNELS, PATCH, DINOv2, architecture_of, parameter_shapes
from score_jax.runtime.files import written_whole

RELEASE = "dinov2"
VARIABLE = "SCORE_JAX_DINOV2"
"""Environment variable with the path of the weights."""
_WHERE = (
    "dinov2_vitl14_pretrain.pth of https://github.com/facebookresearch/dinov2, or the folder of facebook/dinov2-large "
    "of https://huggingface.co"
)
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_TOKENS = {"class_token": "1 1 c -> c", "mask_token": "1 c -> c"} | dict.fromkeys(
    ("position", "register_tokens"), "1 n c -> n c"
)
_PARTS = tuple(f"attention.attention.{part}." for part in ("query", "key", "value"))
_FUSED = "attention.attention.qkv."
"""Of transformers' three projections, joined as ours and the hub's are."""
_CONFIG = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "mlp_ratio": 4,
    "num_channels": 3,
    "patch_size": PATCH,
    "qkv_bias": True,
}
"""What transformers lets one vary and DINOv2 does not."""


@dataclasses.dataclass(frozen=True)
class Names:
    """What a release calls the tensors.

    Attributes:
      places: of modules and parameters outside the blocks.
      blocks: what the blocks' names begin with.
      layers: within a block, of modules with an end that is the leaf's; "_gated" is of networks with SwiGLU.
      scale: what a factor of LayerScale is called, its number in braces.
    """

    places: Mapping[str, str]
    blocks: str
    layers: Mapping[str, str]
    scale: str


HUB = Names(
    places={
        "class_token": "cls_token",
        "mask_token": "mask_token",
        "position": "pos_embed",
        "register_tokens": "register_tokens",
        "patches": "patch_embed.proj",
        "norm_out": "norm",
    },
    blocks="blocks",
    layers={
        "norm_1": "norm1.",
        "qkv": "attn.qkv.",
        "attention_out": "attn.proj.",
        "norm_2": "norm2.",
        "hidden": "mlp.fc1.",
        "out": "mlp.fc2.",
        "hidden_gated": "mlp.w12.",
        "out_gated": "mlp.w3.",
    },
    scale="ls{}.gamma",
)
TRANSFORMERS = Names(
    places={
        "class_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "position": "embeddings.position_embeddings",
        "register_tokens": "embeddings.register_tokens",
        "patches": "embeddings.patch_embeddings.projection",
        "norm_out": "layernorm",
    },
    blocks="encoder.layer",
    layers={
        "norm_1": "norm1.",
        "qkv": _FUSED,
        "attention_out": "attention.output.dense.",
        "norm_2": "norm2.",
        "hidden": "mlp.fc1.",
        "out": "mlp.fc2.",
        "hidden_gated": "mlp.weights_in.",
        "out_gated": "mlp.weights_out.",
    },
    scale="layer_scale{}.lambda1",
)


def table(names: Names, *, swiglu: bool) -> Table:
    """Of a release's state dicts; transformers' once its projections are joined."""

    def counterpart(path: ParameterPath) -> Counterpart:
        *modules, leaf = path
        match modules:
            case []:
                return Counterpart(names.places[leaf], _TOKENS[leaf])
            case [block] if block.startswith("blocks_"):
                i = leaf.removeprefix("scale_")
                return Counterpart(f"{names.blocks}.{block.removeprefix('blocks_')}.{names.scale.format(i)}")
            case [block, layer]:
                gated = "_gated" if swiglu and layer in ("hidden", "out") else ""
                name = f"{names.blocks}.{block.removeprefix('blocks_')}.{names.layers[layer + gated]}{_LEAVES[leaf]}"
                return Counterpart(name, LINEAR if leaf == "kernel" else SAME)
            case ["patches"] if leaf == "kernel":
                name, sizes = f"{names.places['patches']}.weight", {"h": PATCH, "w": PATCH}
                return Counterpart(name, "o i h w -> (h w i) o", sizes)
        return Counterpart(f"{names.places['.'.join(modules)]}.{_LEAVES[leaf]}")

    return counterpart


def _shape(state: StateDict, name: str, axes: int) -> tuple[int, ...]:
    if name not in state:
        raise InputError(f"The weights are no DINOv2's: {name} is missing.")
    shape = state[name].shape
    if len(shape) != axes or 0 in shape:
        raise InputError(f"The weights are no DINOv2's: {name} has the shape {quoted(shape)}.")
    return shape


def _module(state: StateDict, names: Names, heads: int | None) -> DINOv2:
    """The network that has these tensors, by their shapes."""
    *_, positions, width = _shape(state, names.places["position"], 3)
    side = math.isqrt(positions - 1)
    if side == 0 or side**2 + 1 != positions:
        raise InputError(f"The weights are no DINOv2's: {positions} positions are not one more than a square number.")
    registers = names.places["register_tokens"]
    heads = width // HEAD_CHANNELS if heads is None else heads
    if heads < 1 or width % heads:
        raise InputError(f"The weights are no DINOv2's: a width of {width} does not split into {heads} heads.")
    layers = next(i for i in itertools.count() if f"{names.blocks}.{i}.norm1.weight" not in state)
    return DINOv2(
        side * PATCH,
        width,
        layers=layers,
        heads=heads,
        registers=_shape(state, registers, 3)[1] if registers in state else 0,
        swiglu=f"{names.blocks}.0.{names.layers['hidden_gated']}weight" in state,
    )


def dinov2_of(state: StateDict, *, heads: int | None = None) -> DINOv2Weights:
    """The network that a state dict is of, in the hub's names or transformers', with parameters in float32.

    Args:
      state: the tensors.
      heads: of the attention, where they are not of 64 channels, as those of all published models are.

    Raises:
      InputError: it is no DINOv2's; tensors are missing, left over or of another shape.
    """
    names = TRANSFORMERS if any(name.startswith("embeddings.") for name in state) else HUB
    state = joined(state, _PARTS, _FUSED) if names is TRANSFORMERS else state
    module = _module(state, names, heads)
    params = to_ours(state, parameter_shapes(module), table(names, swiglu=module.swiglu))
    return DINOv2Weights(module, jax.tree.map(jnp.asarray, params), sha256_of(to_theirs(params, _hub(module))))


def _hub(module: DINOv2) -> Table:
    return table(HUB, swiglu=module.swiglu)


def state_of(module: DINOv2, params: PyTree, names: Names = HUB) -> dict[str, np.ndarray]:
    """Back to a release's names and layouts."""
    state = to_theirs(params, table(names, swiglu=module.swiglu))
    return split(state, _PARTS, _FUSED) if names is TRANSFORMERS else state


def random_state(seed: int, module: DINOv2) -> dict[str, np.ndarray]:
    """Weights that keep numbers in range, in the hub's names: for tests and benchmarks."""
    rng = np.random.default_rng(seed)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), parameter_shapes(module))
    state = {}
    for name, tensor in state_of(module, zeros).items():
        n = rng.standard_normal(tensor.shape, np.float32)
        if tensor.ndim == 1:
            state[name] = 0.1 * n + name.endswith(("norm1.weight", "norm2.weight", "norm.weight", "gamma"))
        else:
            fan_in = math.prod(tensor.shape[1:]) if tensor.ndim != 3 and name != "mask_token" else 1
            state[name] = n / np.float32(math.sqrt(fan_in))
    return state


def load_dinov2(path: Path) -> DINOv2Weights:
    """The network of the hub's file, of one that `convert_dinov2` made of it, or of a folder of transformers.

    Raises:
      InputError: the file or folder is missing, damaged, or no DINOv2's.
    """
    heads = None
    if path.is_dir():
        config = read_json(path / "config.json")
        check_only(str(path), config, _CONFIG)
        heads = config.get("num_attention_heads")
        if heads is not None and not isinstance(heads, int):
            raise InputError(f"{path / 'config.json'}: num_attention_heads={quoted(heads)}: expected an integer.")
    state = part_tensors(path) if path.is_dir() else read_tensors(path, f"get {_WHERE}")
    try:
        return dinov2_of(state, heads=heads)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def find_dinov2(path: Path | None, *, allow_other: bool = False) -> DINOv2Weights:
    """The weights at `path`, or where $SCORE_JAX_DINOV2 says.

    Args:
      path: see `load_dinov2`.
      allow_other: take another network than ViT-L/14 without registers, of which the evaluators' numbers are.

    Raises:
      InputError: neither is given, or what they name is not that network.
    """
    found = given_or_in_environment(path, VARIABLE)
    if found is None:
        raise InputError(
            f"FD-DINOv2 needs DINOv2's weights: get {_WHERE}, and name them with --dinov2_weights or ${VARIABLE}."
        )
    weights = load_dinov2(found)
    architecture = architecture_of(weights.module)
    if architecture != ARCHITECTURE and not allow_other:
        raise InputError(
            f"{found} is {named(architecture or 'no published network')}, and published numbers are of {ARCHITECTURE}, "
            f"so its FD cannot be compared with them: get {_WHERE}, or give --allow_other_weights."
        )
    return weights


def convert_dinov2(source: Path, out: Path) -> int:
    """Writes the tensors as .safetensors, in the hub's names; returns the number of parameters.

    Raises:
      InputError: see `load_dinov2`, or `out` has another suffix.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: expected a name ending in .safetensors.")
    weights = load_dinov2(source)
    with written_whole(out) as temporary:
        save_file(state_of(weights.module, weights.params), temporary)
    return sum(leaf.size for leaf in jax.tree.leaves(weights.params))
