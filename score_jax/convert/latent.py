"""Names of latent diffusion's and Stable Diffusion's weights, without the prefixes of the parts of a checkpoint.

The UNet is called as ADM is (`model.diffusion_model.` there); the encoders of conditions are what `cond_stage_model.`
has: the text encoder that was trained with the UNet, CLIP's of transformers or OpenCLIP, the class embedder, and the
rescaler of segmentations.
"""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from score_jax.convert import adm, clip
from score_jax.convert.correspondence import (
    LINEAR,
    POINTWISE_2D,
    SAME,
    Counterpart,
    Path,
    StateDict,
    Table,
    to_ours,
    to_theirs,
)
from score_jax.convert.fused import joined
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import SpatialRescaler
from score_jax.models.text.bert import TextTransformer
from score_jax.models.text.clip_text import CLIPText
from score_jax.models.unets.latent import LatentUNet

Encoder = TextTransformer | CLIPText | ClassEmbedder | SpatialRescaler

_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}
_TRANSFORMER = {
    "norm_1": "norm1",
    "norm_2": "norm2",
    "norm_3": "norm3",
    "attention_1": "attn1",
    "attention_2": "attn2",
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "feed_forward": "ff.net",
}
_OUT = {"attention_1": "to_out.0", "attention_2": "to_out.0", "feed_forward": "2"}


def unet_table(network: LatentUNet, image_size: int) -> Table:
    """Of the UNet's state dicts, which are the same for images of any size."""

    def attends(level: int) -> bool:
        return 2**level in network.attention_factors

    plain = adm.table_of(network, attends)

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        if network.context_width is None or "attention" not in module:
            return plain(path)
        layout = POINTWISE_2D if layers[0] in ("proj_in", "proj_out") and not network.linear_projection else LINEAR
        name = f"{adm.place(network, attends, module)}.{_in_transformer(*layers)}.{_LEAVES[leaf]}"
        return Counterpart(name, layout if leaf == "kernel" else SAME)

    return counterpart


def _in_transformer(layer: str, *inner: str) -> str:
    """The original's name of a layer within a spatial transformer."""
    if not inner:
        return layer
    names = [_TRANSFORMER[inner[0]]]
    if len(inner) == 2:
        names.append({"hidden": "0.proj", "out": _OUT[inner[0]]}.get(inner[1]) or _TRANSFORMER[inner[1]])
    return ".".join(["transformer_blocks", layer.removeprefix("block_"), *names])


_TEXT = {"tokens": "token_emb", "norm_out": "norm"}
_TEXT_BLOCK = {
    ("norm_1",): (0, "0"),
    ("attention", "query"): (0, "1.to_q"),
    ("attention", "key"): (0, "1.to_k"),
    ("attention", "value"): (0, "1.to_v"),
    ("attention", "out"): (0, "1.to_out"),
    ("norm_2",): (1, "0"),
    ("hidden",): (1, "1.net.0.0"),
    ("out",): (1, "1.net.2"),
}
"""Attention and the layers after it are two of the original's layers."""


def _text_counterpart(path: Path) -> Counterpart:
    *modules, leaf = path
    if leaf == "position":
        return Counterpart("pos_emb.emb.weight")
    if modules[0] in _TEXT:
        return Counterpart(f"{_TEXT[modules[0]]}.{_LEAVES[leaf]}")
    half, name = _TEXT_BLOCK[tuple(modules[1:])]
    layer = 2 * int(modules[0].removeprefix("block_")) + half
    return Counterpart(f"attn_layers.layers.{layer}.{name}.{_LEAVES[leaf]}", LINEAR if leaf == "kernel" else SAME)


def _class_counterpart(path: Path) -> Counterpart:
    return Counterpart("embedding.weight")


def _rescaler_counterpart(path: Path) -> Counterpart:
    return Counterpart(f"channel_mapper.{_LEAVES[path[-1]]}", POINTWISE_2D if path[-1] == "kernel" else SAME)


_TABLES: Mapping[type, Table] = {
    TextTransformer: _text_counterpart,
    ClassEmbedder: _class_counterpart,
    SpatialRescaler: _rescaler_counterpart,
}
_ANCHORS: Mapping[type, str] = {
    TextTransformer: "token_emb.weight",
    ClassEmbedder: "embedding.weight",
    SpatialRescaler: "channel_mapper.weight",
}
_BUFFERS: Mapping[type, str] = {TextTransformer: r"to_logits\."}
"""The original has a layer to the vocabulary, which latent diffusion does not use."""
_OF_TRANSFORMERS, _OF_OPENCLIP = "embeddings.token_embedding.weight", "token_embedding.weight"
_CLIP_BUFFERS = r"(.*\.)?(position_ids|text_projection(\.weight)?|logit_scale|attn_mask)$"


def encoder_params(module: Encoder, state: StateDict) -> PyTree:
    """The parameters of an encoder from published tensors, which may have a prefix.

    Of CLIP, transformers' and OpenCLIP's names are known; layers that `skip_last` leaves out are not read, and of
    OpenCLIP's one layer more than the encoder has is left out too.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    shapes = encoder_shapes(module)
    if isinstance(module, CLIPText):
        return _clip_params(module, state, shapes)
    state = _without_prefix(state, _ANCHORS[type(module)])
    return to_ours(state, shapes, _TABLES[type(module)], buffers=_BUFFERS.get(type(module), ""))


def encoder_state(module: Encoder, params: PyTree, names: clip.Names = clip.TRANSFORMERS) -> dict[str, np.ndarray]:
    """An encoder's tensors under the published names, of which CLIP has two sets; the inverse of `encoder_params`."""
    if isinstance(module, CLIPText):
        return clip.state_of({"text": params}, names)
    return to_theirs(params, _TABLES[type(module)])


def encoder_shapes(module: Encoder) -> PyTree:
    """Shapes and dtypes of an encoder's parameters, without making any; empty where it has none."""
    (raw,) = module.conditions((64, 64, 1)).values()
    example = jax.ShapeDtypeStruct((1, *raw.shape), jnp.dtype(raw.dtype))
    return jax.eval_shape(module.init, jax.random.key(0), example).get("params", {})


def _without_prefix(state: StateDict, anchor: str) -> dict[str, np.ndarray]:
    """The tensors without what stands before the name of one that every such encoder has."""
    prefix = next((name.removesuffix(anchor) for name in state if f".{name}".endswith(f".{anchor}")), "")
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _clip_params(module: CLIPText, state: StateDict, shapes: PyTree) -> PyTree:
    built = module.layers - module.skip_last
    if any(f".{name}".endswith(f".{_OF_TRANSFORMERS}") for name in state):
        names, last, blocks = clip.TRANSFORMERS, module.layers, "text_model.encoder.layers"
        plain = _without_prefix(state, _OF_TRANSFORMERS)
        state = {name if _is_outside(name) else f"text_model.{name}": plain[name] for name in plain}
        state = joined(state, clip.PARTS, clip.FUSED)
    else:
        names, last, blocks = clip.OPENAI, max(module.layers, built + 1), "transformer.resblocks"
        state = _without_prefix(state, _OF_OPENCLIP)
    skipped = "|".join(rf"{re.escape(blocks)}\.{i}\." for i in range(built, last))
    buffers = f"{_CLIP_BUFFERS}|{skipped}" if skipped else _CLIP_BUFFERS
    return to_ours(state, {"text": shapes}, clip.table(names), buffers=buffers)["text"]


def _is_outside(name: str) -> bool:
    """Whether transformers have a tensor beside the text model: the projection of other uses of it."""
    return name.startswith("text_projection")
