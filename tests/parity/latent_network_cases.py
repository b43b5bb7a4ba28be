"""Cases of latent diffusion's UNet and of the encoders of its conditions."""

import jax
import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.convert import latent
from score_jax.convert.correspondence import to_ours
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import SpatialRescaler
from score_jax.models.text.bert import TextTransformer
from score_jax.models.unets.latent import LatentUNet

_DEFAULTS = {
    "num_heads": -1,
    "num_head_channels": -1,
    "num_heads_upsample": -1,
    "dropout": 0.0,
    "conv_resample": True,
    "num_classes": None,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_new_attention_order": False,
    "use_spatial_transformer": False,
    "transformer_depth": 1,
    "context_dim": None,
    "use_linear_in_transformer": False,
    "dims": 2,
    "n_embed": None,
}
_SAME = ("num_res_blocks", "dropout", "out_channels", "num_classes", "resblock_updown", "transformer_depth")
_NO_NUMBERS = {"image_size", "in_channels", "use_checkpoint", "use_fp16", "legacy"}
"""What changes no number here, or follows from the inputs."""


def network_of(unet: dict, concat_channels: int, has_context: bool) -> LatentUNet:
    """The network of an original's config."""
    found = _DEFAULTS | unet
    found["dropout"] = float(found["dropout"])
    known = {*_DEFAULTS, *_SAME, *_NO_NUMBERS, "model_channels", "channel_mult", "attention_resolutions"}
    refused = set(unet) - known
    if refused or found["dims"] != 2 or found["n_embed"] is not None or found["num_heads_upsample"] != -1:
        raise UnknownCase(f"no UNet of ours is this one ({sorted(refused) or 'dims, n_embed, num_heads_upsample'})")
    given_width = found["context_dim"] if has_context else 0
    return LatentUNet(
        channels=found["model_channels"],
        channel_mult=tuple(found.get("channel_mult", (1, 2, 4, 8))),
        attention_factors=tuple(found["attention_resolutions"]),
        num_heads=found["num_heads"],
        num_head_channels=None if found["num_head_channels"] == -1 else found["num_head_channels"],
        scale_shift_norm=found["use_scale_shift_norm"],
        resample_with_conv=found["conv_resample"],
        qkv_layout="new" if found["use_new_attention_order"] else "legacy",
        context_width=given_width if found["use_spatial_transformer"] else None,
        linear_projection=found["use_linear_in_transformer"],
        concat_channels=concat_channels,
        **{name: found[name] for name in _SAME},
    )


def run_unet(file, dtype):
    """The output, and the gradient of its product with a cotangent."""
    given = {name: np.moveaxis(value, 1, -1) if value.ndim == 4 else value for name, value in file.group("in").items()}
    names = {"y": "label", "context": "context", "c_concat": "concat"}
    conditions = {
        ours: jnp.asarray(given[theirs], None if theirs == "y" else dtype)
        for theirs, ours in names.items()
        if theirs in given
    }
    joined = given["c_concat"].shape[-1] if "c_concat" in given else 0
    network = network_of(file.meta["config"]["unet"], joined, "context" in given)
    x, t = jnp.asarray(given["x"], dtype), jnp.asarray(given["t"], dtype)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, t, **conditions)["params"]
    params = to_ours(file.group("params"), shapes, latent.unet_table(network, x.shape[1]))
    params = {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)}

    @jax.jit
    def both(params, x):
        y, back = jax.vjp(lambda x: network.apply(params, x, t, **conditions), x)
        return y, back(jnp.asarray(given["cotangent"], y.dtype))[0]

    y, gradient = (np.moveaxis(np.asarray(value), -1, 1) for value in both(params, x))
    return {"out/y": y} | ({"grad/x": gradient} if "grad/x" in file.arrays else {})


def _encoder(file, module, prefix, dtype):
    """An encoder as a function, with those of the file's weights that have this prefix."""
    state = {
        name.removeprefix(prefix): value for name, value in file.group("params").items() if name.startswith(prefix)
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), latent.encoder_params(module, state))
    return jax.jit(lambda *raw: module.apply({"params": params}, *raw))


def run_text_embedder(file, dtype):
    """All positions: of texts, of shorter ones, and with a mask; and the layer that the library leaves out."""
    config, tokens = file.meta["config"], file.group("in")["tokens"]
    module = TextTransformer(
        config.get("vocab_size", 30522), config.get("max_seq_len", 77), config["n_embed"], config["n_layer"]
    )
    encode = _encoder(file, module, "transformer.", dtype)
    y = np.asarray(encode(tokens))
    weight, bias = (file.group("params")[f"transformer.to_logits.{leaf}"] for leaf in ("weight", "bias"))
    found = {"out/y": y, "out/logits": np.asarray(y, np.float64) @ weight.T.astype(np.float64) + bias}
    if "out/y_short" in file.arrays:
        found["out/y_short"] = np.asarray(encode(tokens[:, : file.arrays["out/y_short"].shape[1]]))
    if "mask" in file.group("in"):
        found["out/y_masked"] = np.asarray(encode(tokens, file.group("in")["mask"].astype(bool)))
    return found


def run_small_conditioners(file, dtype):
    """The class embedder and the rescaler."""
    config, given = file.meta["config"], file.group("in")
    rescaler = SpatialRescaler(
        stages=config.get("n_stages", 1),
        method=config.get("method", "bilinear"),
        multiplier=config.get("multiplier", 0.5),
        in_channels=given["x"].shape[1],
        out_channels=config.get("out_channels"),
        bias=config.get("bias", False),
    )
    embedder = ClassEmbedder(config.get("n_classes", 1000), config["embed_dim"])
    x = jnp.asarray(np.moveaxis(given["x"], 1, -1), dtype)
    rescaled = np.asarray(_encoder(file, rescaler, "rescaler.", dtype)(x))
    return {
        "out/class_embedding": np.asarray(_encoder(file, embedder, "class_embedder.", dtype)(given["class"])),
        "out/rescaled": np.moveaxis(rescaled, -1, 1),
    }


HANDLERS = {
    ("latent_diffusion", "unet"): run_unet,
    ("latent_diffusion", "text_embedder"): run_text_embedder,
    ("latent_diffusion", "small_conditioners"): run_small_conditioners,
}
