"""Names of the prior's weights in DALLE2-pytorch: of its network, alone or within the class that samples with it."""

import re

import jax
import numpy as np
from jaxtyping import PyTree

from score_jax.convert.correspondence import LINEAR, SAME, Counterpart, Path, StateDict, Table, to_ours, to_theirs
from score_jax.models.priors.dalle2 import Dalle2Prior

_PREFIX = "net."
_BESIDE = r"noise_scheduler\.|clip\."
"""What the class that samples has beside the network: tables of its noise, and a CLIP."""
_OUTSIDE = {
    "query": "learned_query",
    "null_context": "null_text_encodings",
    "null_text_embedding": "null_text_embeds",
    "null_image_embedding": "null_image_embed",
    "text_embedding": "to_text_embeds.0",
    "image_embedding": "to_image_embeds.0",
    "time": "to_time_embeds.0",
    "time_0": "to_time_embeds.0.1.net.0.0",
    "time_1": "to_time_embeds.0.1.net.1.0",
    "time_2": "to_time_embeds.0.1.net.2",
    "distance_bias": "causal_transformer.rel_pos_bias.relative_attention_bias",
    "norm_out": "causal_transformer.norm",
    "out": "causal_transformer.project_out",
}
_ATTENTION = {
    "norm": "norm",
    "query": "to_q",
    "key_value": "to_kv",
    "null_key_value": "null_kv",
    "out": "to_out.0",
    "norm_out": "to_out.1",
}
_GATED = {"norm": "0", "hidden": "1", "norm_hidden": "3", "out": "5"}
_LEAVES = {"kernel": "weight", "embedding": "weight", "table": "weight", "bias": "bias", "scale": "g"}
_LAYOUTS = {"null_context": "1 n d -> n d", "null_text_embedding": "1 n d -> n d", "kernel": LINEAR}


def _frequencies(layer: int) -> str:
    return f"causal_transformer.layers.{layer}.0.rotary_emb.freqs"


def prior_table(module: Dalle2Prior) -> Table:
    """Of the network's state dicts.

    The frequencies of rotations are one parameter, which the original's files name once per layer: that of the last
    layer is the one that acts.
    """

    def counterpart(path: Path) -> Counterpart:
        *modules, leaf = path
        if leaf == "rotary_frequencies":
            return Counterpart(_frequencies(module.layers - 1))
        names, place = [*modules, *([] if leaf in _LEAVES else [leaf])], ""
        if names[0].startswith(("attention_", "gated_")):
            kind, layer = names[0].split("_")
            inner = _ATTENTION if kind == "attention" else _GATED
            place = f"causal_transformer.layers.{layer}.{int(kind == 'gated')}.{inner[names[1]]}"
        else:
            place = _OUTSIDE[names[0]]
        name = f"{place}.{_LEAVES[leaf]}" if leaf in _LEAVES else place
        return Counterpart(name, _LAYOUTS.get(leaf, SAME))

    return counterpart


def prior_shapes(module: Dalle2Prior, channels: int) -> PyTree:
    """Shapes and dtypes of the parameters for embeddings of so many channels, without making any."""
    image = (1, 1, channels)
    given = {
        name: jax.ShapeDtypeStruct((1, *each.shape), each.dtype) for name, each in module.conditions(image).items()
    }
    x, label = (jax.ShapeDtypeStruct((1, *shape), np.float32) for shape in (image, ()))
    return jax.eval_shape(module.init, jax.random.key(0), x, label, **given)["params"]


def prior_params(module: Dalle2Prior, state: StateDict, channels: int) -> PyTree:
    """The parameters of a prior of embeddings (1, 1, channels), from the network's tensors or from all of the class.

    Raises:
      InputError: tensors are missing, left over or of another shape.
    """
    beside = _BESIDE if any(name.startswith(_PREFIX) for name in state) else ""
    own = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items()}
    others = [re.escape(_frequencies(i)) + "$" for i in range(module.layers - 1)] if module.rotary else []
    buffers = "|".join(filter(None, [beside, *others]))
    return to_ours(own, prior_shapes(module, channels), prior_table(module), buffers=buffers)


def prior_state(module: Dalle2Prior, params: PyTree) -> dict[str, np.ndarray]:
    """The network's tensors under the original's names; the inverse of `prior_params`."""
    state = to_theirs(params, prior_table(module))
    if module.rotary:
        state |= {_frequencies(i): state[_frequencies(module.layers - 1)] for i in range(module.layers)}
    return state
