"""CLIP's weights: OpenAI's files and state dicts, and those of Hugging Face's transformers."""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from score_jax.convert.correspondence import (
    CONV,
    LINEAR,
    SAME,
    Counterpart,
    StateDict,
    Table,
    sha256_of,
    to_ours,
    to_theirs,
)
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.fused import joined, split
from score_jax.convert.readers import given_or_in_environment, read_tensors
from score_jax.errors import InputError
from score_jax.evaluation.clip import ARCHITECTURE, CLIPVisionWeights
from score_jax.evaluation.fd_loss import CLIP_ARCHITECTURE
from score_jax.models.clip.clip import CLIP, CLIPNetwork, TextTransformer, parameter_shapes
from score_jax.models.clip.clip_resnet import REDUCTION, ModifiedResNet
from score_jax.models.clip.clip_transformer import HEAD_CHANNELS
from score_jax.models.clip.clip_vision import VisionTransformer

VARIABLE, VARIABLE_224 = "SCORE_JAX_CLIP", "SCORE_JAX_CLIP_224"
"""Environment variables with the path of the weights of CMMD, and of FD-loss."""
_VISION = (
    "ViT-L-14-336px.pt of https://github.com/openai/CLIP, or model.safetensors of openai/clip-vit-large-patch14-336 of "
    "https://huggingface.co"
)
_VISION_224 = (
    "ViT-L-14.pt of https://github.com/openai/CLIP, or model.safetensors of openai/clip-vit-large-patch14 of "
    "https://huggingface.co"
)
_BUFFERS = r".*num_batches_tracked$|.*position_ids$|(input_resolution|context_length|vocab_size)$"
_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}
_NORM = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
PARTS = tuple(f"self_attn.{part}_proj." for part in "qkv")
FUSED = "self_attn.qkv_proj."
"""Of transformers' three projections, joined as ours and OpenAI's are."""


@dataclasses.dataclass(frozen=True)
class Names:
    """What a release calls the tensors.

    Attributes:
      places: of modules and parameters outside the blocks.
      blocks: of each tower.
      layers: within a block.
      projection: einops pattern from the two projections' layout to ours.
    """

    places: Mapping[str, str]
    blocks: Mapping[str, str]
    layers: Mapping[str, str]
    projection: str


OPENAI = Names(
    places={
        "logit_scale": "logit_scale",
        "text.tokens": "token_embedding",
        "text.position": "positional_embedding",
        "text.norm_out": "ln_final",
        "text.projection": "text_projection",
        "vision.patches": "visual.conv1.weight",
        "vision.class_token": "visual.class_embedding",
        "vision.position": "visual.positional_embedding",
        "vision.norm_in": "visual.ln_pre",
        "vision.norm_out": "visual.ln_post",
        "vision.projection": "visual.proj",
        "vision.pool.position": "visual.attnpool.positional_embedding",
        "vision.pool.query": "visual.attnpool.q_proj",
        "vision.pool.key": "visual.attnpool.k_proj",
        "vision.pool.value": "visual.attnpool.v_proj",
        "vision.pool.out": "visual.attnpool.c_proj",
    },
    blocks={"text": "transformer.resblocks", "vision": "visual.transformer.resblocks"},
    layers={
        "norm_1": "ln_1.",
        "qkv": "attn.in_proj_",
        "attention_out": "attn.out_proj.",
        "norm_2": "ln_2.",
        "hidden": "mlp.c_fc.",
        "out": "mlp.c_proj.",
    },
    projection=SAME,
)
TRANSFORMERS = Names(
    places={
        "logit_scale": "logit_scale",
        "text.tokens": "text_model.embeddings.token_embedding",
        "text.position": "text_model.embeddings.position_embedding.weight",
        "text.norm_out": "text_model.final_layer_norm",
        "text.projection": "text_projection.weight",
        "vision.patches": "vision_model.embeddings.patch_embedding.weight",
        "vision.class_token": "vision_model.embeddings.class_embedding",
        "vision.position": "vision_model.embeddings.position_embedding.weight",
        "vision.norm_in": "vision_model.pre_layrnorm",
        "vision.norm_out": "vision_model.post_layernorm",
        "vision.projection": "visual_projection.weight",
    },
    blocks={"text": "text_model.encoder.layers", "vision": "vision_model.encoder.layers"},
    layers={
        "norm_1": "layer_norm1.",
        "qkv": FUSED,
        "attention_out": "self_attn.out_proj.",
        "norm_2": "layer_norm2.",
        "hidden": "mlp.fc1.",
        "out": "mlp.fc2.",
    },
    projection=LINEAR,
)


def table(names: Names) -> Table:
    """Of a release's state dicts; transformers' once its projections are joined."""

    def counterpart(path: ParameterPath) -> Counterpart:
        *modules, leaf = path
        layout = LINEAR if leaf == "kernel" else SAME
        match modules:
            case [tower, block, layer] if block.startswith("blocks_"):
                place = f"{names.blocks[tower]}.{block.removeprefix('blocks_')}"
                return Counterpart(f"{place}.{names.layers[layer]}{_LEAVES[leaf]}", layout)
            case [_, unit, *rest] if unit.startswith(("stem_", "level_")):
                return Counterpart(f"visual.{_unit(unit, rest, leaf)}", CONV if leaf == "kernel" else SAME)
            case []:
                return Counterpart(names.places[leaf])
        if ".".join(path) in names.places:
            layout = {"patches": CONV, "projection": names.projection}.get(leaf, SAME)
            return Counterpart(names.places[".".join(path)], layout)
        return Counterpart(f"{names.places['.'.join(modules)]}.{_LEAVES[leaf]}", layout)

    return counterpart


def _unit(module: str, within: list[str], leaf: str) -> str:
    """Of a residual network's convolution and norm, which are modules of their own there."""
    if not within:
        place, index = "", module.removeprefix("stem_")
    else:
        _, level, _, i = module.split("_")
        place, index = f"layer{int(level) + 1}.{i}.", within[0].removeprefix("conv_")
    conv, norm = ("downsample.0", "downsample.1") if index == "skip" else (f"conv{index}", f"bn{index}")
    return f"{place}{conv}.weight" if leaf == "kernel" else f"{place}{norm}.{_NORM[leaf]}"


@dataclasses.dataclass(frozen=True)
class _Shapes:
    """The shapes of a state dict by our parameters' paths, in our layouts."""

    state: StateDict
    table: Table

    def has(self, *path: str) -> bool:
        return self.table(path).name in self.state

    def of(self, axes: int, *path: str) -> tuple[int, ...]:
        """Of a parameter, whose axes are so many."""
        counterpart = self.table(path)
        if counterpart.name not in self.state:
            raise InputError(f"The weights are no CLIP's: {counterpart.name} is missing.")
        tensor = self.state[counterpart.name]
        if tensor.ndim != axes or 0 in tensor.shape:
            raise InputError(f"The weights are no CLIP's: {counterpart.name} has the shape {tensor.shape}.")
        return counterpart.ours(np.broadcast_to(np.zeros((), np.int8), tensor.shape)).shape

    def count(self, *path: str) -> int:
        """How many there are: the path has a place for their number."""
        numbered = (tuple(part.format(i) for part in path) for i in itertools.count())
        return next(i for i, each in enumerate(numbered) if not self.has(*each))


def _heads(width: int, given: int | None) -> int:
    heads = width // HEAD_CHANNELS if given is None else given
    if heads < 1 or width % heads:
        raise InputError(f"The weights are no CLIP's: a width of {width} does not split into {heads} heads.")
    return heads


def _side(positions: int) -> int:
    """Of a square grid with one position more."""
    side = math.isqrt(max(positions - 1, 0))
    if side == 0 or side**2 + 1 != positions:
        raise InputError(f"The weights are no CLIP's: {positions} positions are not one more than a square number.")
    return side


def _module(state: StateDict, names: Names, heads: Mapping[str, int], text_alone: bool = False) -> CLIP:
    """The network that has these tensors, by their shapes."""
    shapes = _Shapes(state, table(names))
    vocabulary, width = shapes.of(2, "text", "tokens", "embedding")
    context, _ = shapes.of(2, "text", "position")
    _, features = shapes.of(2, "text", "projection")
    layers = shapes.count("text", "blocks_{}", "norm_1", "scale")
    text = TextTransformer(vocabulary, context, width, layers, _heads(width, heads.get("text")), features)
    if text_alone:
        return CLIP(None, text)
    if names is TRANSFORMERS or shapes.has("vision", "class_token"):
        return CLIP(_transformer(shapes, features, heads.get("vision")), text)
    return CLIP(_resnet(shapes, features), text)


def _transformer(shapes: _Shapes, features: int, heads: int | None) -> VisionTransformer:
    patch, _, _, width = shapes.of(4, "vision", "patches")
    positions, _ = shapes.of(2, "vision", "position")
    layers = shapes.count("vision", "blocks_{}", "norm_1", "scale")
    return VisionTransformer(_side(positions) * patch, patch, width, layers, _heads(width, heads), features)


def _resnet(shapes: _Shapes, features: int) -> ModifiedResNet:
    *_, width = shapes.of(4, "vision", "stem_3", "kernel")
    if width % 2:
        raise InputError(f"The weights are no CLIP's: a residual network has the odd width {width}.")
    positions, _ = shapes.of(2, "vision", "pool", "position")
    layers = tuple(shapes.count("vision", f"level_{i}_block_{{}}", "conv_1", "kernel") for i in range(4))
    return ModifiedResNet(_side(positions) * REDUCTION, width, layers, features)


def clip_of(state: StateDict, *, heads: Mapping[str, int] | None = None, text_alone: bool = False) -> CLIPNetwork:
    """The network that a state dict is of, in OpenAI's names or transformers', with parameters in float32.

    The networks of all published models follow from the shapes. Models that others trained may have another activation
    than OpenAI's, which shapes do not tell.

    Args:
      state: the tensors.
      heads: of the towers "text" and "vision", where they are not of 64 channels.
      text_alone: it is of the network of texts with its projection, such as transformers' CLIPTextModelWithProjection.

    Raises:
      InputError: it is no CLIP's; tensors are missing, left over or of another shape.
    """
    names = TRANSFORMERS if any(name.startswith("text_model.") for name in state) else OPENAI
    state = joined(state, PARTS, FUSED) if names is TRANSFORMERS else state
    module = _module(state, names, heads or {}, text_alone)
    params = to_ours(state, parameter_shapes(module), table(names), buffers=_BUFFERS)
    return CLIPNetwork(module, jax.tree.map(jnp.asarray, params))


def state_of(params: PyTree, names: Names = OPENAI) -> dict[str, np.ndarray]:
    """Back to a release's names and layouts."""
    state = to_theirs(params, table(names))
    return split(state, PARTS, FUSED) if names is TRANSFORMERS else state


def load_clip(path: Path) -> CLIPNetwork:
    """The network of a file: OpenAI's, such as ViT-B-16.pt, or transformers', such as model.safetensors.

    Raises:
      InputError: the file is missing, damaged, or no CLIP's.
    """
    state = read_tensors(path, "expected OpenAI's CLIP, such as ViT-B-16.pt")
    try:
        return clip_of(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_clip_vision(path: Path) -> CLIPVisionWeights:
    """The tower of images of a file, as `load_clip` reads it.

    Raises:
      InputError: the file is missing, damaged, no CLIP's, or its tower of images is no transformer.
    """
    network = load_clip(path)
    module = network.module.vision
    if not isinstance(module, VisionTransformer):
        raise InputError(f"{path}: its network of images is no transformer: get {_VISION}.")
    params = network.params["vision"]
    return CLIPVisionWeights(module, params, sha256_of(state_of({"vision": params})))


def find_clip(path: Path | None, *, allow_other: bool = False) -> CLIPVisionWeights:
    """The tower of images at `path`, or where $SCORE_JAX_CLIP says.

    Args:
      path: see `load_clip`.
      allow_other: take another one than ViT-L/14 at 336 pixels, of which CMMD is.

    Raises:
      InputError: neither is given, or what they name is not that network.
    """
    return _found("CMMD", path, VARIABLE, "clip_weights", _VISION, None if allow_other else ARCHITECTURE)


def find_clip_224(path: Path | None, *, allow_other: bool = False) -> CLIPVisionWeights:
    """The tower of images at `path`, or where $SCORE_JAX_CLIP_224 says: that of FD-loss, ViT-L/14 at 224 pixels.

    Raises:
      InputError: as of `find_clip`.
    """
    wanted = None if allow_other else CLIP_ARCHITECTURE
    return _found("FD-loss", path, VARIABLE_224, "clip_224_weights", _VISION_224, wanted)


def _found(
    numbers: str, path: Path | None, variable: str, flag: str, where: str, wanted: str | None
) -> CLIPVisionWeights:
    found = given_or_in_environment(path, variable)
    if found is None:
        raise InputError(f"{numbers} needs CLIP's weights: get {where}, and name them with --{flag} or ${variable}.")
    weights = load_clip_vision(found)
    if wanted is not None and weights.architecture != wanted:
        raise InputError(
            f"{found} is {weights.architecture or 'no published network'}, and {numbers} is of {wanted}, so its "
            f"numbers cannot be compared: get {where}, or give --allow_other_weights."
        )
    return weights


TINY = CLIP(
    VisionTransformer(image_size=32, patch=8, width=64, layers=2, heads=1, features=32),
    TextTransformer(vocabulary=49408, context=77, width=64, layers=2, heads=1, features=32),
)
"""With the published models' tokens and little else."""


def random_state(seed: int, module: CLIP = TINY) -> dict[str, np.ndarray]:
    """Weights that keep numbers in range, in OpenAI's names: for tests and benchmarks."""
    rng = np.random.default_rng(seed)
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), parameter_shapes(module))
    return {name: _random(name, tensor.shape, rng) for name, tensor in state_of(zeros).items()}


def _random(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if name == "logit_scale":
        return np.full(shape, math.log(1 / 0.07), np.float32)
    n = rng.standard_normal(shape, np.float32)
    if name.endswith("running_var"):
        return np.exp(0.2 * n)
    if len(shape) == 1:
        return 0.1 * n + name.endswith("weight")
    return n / np.float32(math.sqrt(math.prod(shape[1:])))
