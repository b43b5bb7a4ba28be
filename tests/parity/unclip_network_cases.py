"""Files of unCLIP's networks: Karlo's, and diffusers' port of them. Images are NCHW, embeddings have no pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.convert import adm, unclip
from score_jax.convert.correspondence import to_ours
from score_jax.convert.diffusers_names import unet_state
from score_jax.models.priors.prior_transformer import PriorTransformer
from score_jax.models.unets.adm import ADM
from score_jax.models.unets.unclip import EmbeddingConditions, UnCLIPDecoder


def loaded(module, state, table, dtype, *example, buffers="", **conditions):
    """The parameters of a module that are published under these names."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *example, **conditions)["params"]
    params = to_ours(state, shapes, table, buffers=buffers)
    return {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)}


def floats(file, dtype) -> dict:
    """The inputs, images NHWC and masks as truths."""
    found = {}
    for name, value in file.group("in").items():
        if name == "mask":
            found[name] = jnp.asarray(value, bool)
        else:
            found[name] = jnp.asarray(np.moveaxis(value, 1, -1) if value.ndim == 4 else value, dtype)
    return found


def of_text(given: dict) -> dict:
    """What is said of a caption, by our names."""
    return {
        "context": given["text_states"],
        "text_embedding": given["text_embed"],
        "context_mask": given["mask"],
    }


def karlo_prior(values: dict, context_width: int) -> PriorTransformer:
    """The network of Karlo's hyperparameters."""
    known = {"text_ctx", "xf_width", "xf_layers", "xf_heads", "xf_final_ln", "clip_dim"}
    if set(values) != known:
        raise UnknownCase(f"a prior with {sorted(set(values) ^ known)}")
    return PriorTransformer(
        width=values["xf_width"],
        layers=values["xf_layers"],
        heads=values["xf_heads"],
        text_length=values["text_ctx"],
        text_width=context_width,
        text_features=values["clip_dim"],
        norm_out=values["xf_final_ln"],
    )


def run_karlo_prior(file, dtype):
    """The predicted embedding."""
    given = floats(file, dtype)
    network = karlo_prior(file.meta["config"]["model"], given["text_states"].shape[-1])
    inputs, conditions = (given["x"][:, None, None], given["t"]), of_text(given)
    params = loaded(
        network,
        file.group("params"),
        unclip.prior_table(network),
        dtype,
        *inputs,
        buffers=unclip.PRIOR_BUFFERS,
        **conditions,
    )
    return {"out/y": np.asarray(jax.jit(network.apply)(params, *inputs, **conditions)[:, 0, 0])}


def run_diffusers_prior(file, dtype):
    """With a mask, and without one, where its attention is not causal either."""
    given, c = floats(file, dtype), file.meta["config"]["model"]
    width = c["num_attention_heads"] * c["attention_head_dim"]
    if c["additional_embeddings"] != 4:
        raise UnknownCase(f"additional_embeddings {c['additional_embeddings']}")

    def network(causal):
        heads, length, dim = c["num_attention_heads"], c["num_embeddings"], c["embedding_dim"]
        return PriorTransformer(width, c["num_layers"], heads, length, dim, dim, causal=causal)

    state = unclip.prior_state(file.group("params"), c["attention_head_dim"])
    inputs, conditions = (given["x"][:, None, None], given["t"]), of_text(given)
    table = unclip.prior_table(network(True))
    params = loaded(network(True), state, table, dtype, *inputs, buffers=unclip.PRIOR_BUFFERS, **conditions)
    masked = network(True).apply(params, *inputs, **conditions)
    plain = network(False).apply(params, *inputs, **(conditions | {"context_mask": None}))
    mean, std = (jnp.asarray(state[name], dtype) for name in ("clip_mean", "clip_std"))
    return {
        "out/y": np.asarray(masked[:, 0, 0]),
        "out/y_nomask": np.asarray(plain[:, 0, 0]),
        "out/post_process": np.asarray(given["x"] * std + mean),
    }


_UNET = {
    "in_channels": 3,
    "num_heads": -1,
    "num_heads_upsample": -1,
    "num_head_channels": -1,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "dropout": 0.0,
    "use_middle_attention": True,
}


def _heads(c: dict) -> dict:
    if c["num_heads_upsample"] != -1:
        raise UnknownCase("num_heads_upsample")
    of_channels = c["num_head_channels"] != -1
    return {
        "num_heads": max(1, c["num_heads"]),
        "num_head_channels": c["num_head_channels"] if of_channels else None,
    }


def karlo_decoder(values: dict) -> UnCLIPDecoder:
    """The network of Karlo's hyperparameters."""
    c = _UNET | values
    if c.get("clip_emb_type", "image") != "image" or not c["use_middle_attention"]:
        raise UnknownCase(f"clip_emb_type {c.get('clip_emb_type')}, use_middle_attention {c['use_middle_attention']}")
    return UnCLIPDecoder(
        channels=c["model_channels"],
        channel_mult=tuple(c["channel_mult"]),
        num_res_blocks=c["num_res_blocks"],
        attention_factors=tuple(c["attention_resolutions"]),
        image_features=c["clip_dim"],
        context_width=c["xf_width"],
        extra_tokens=c["clip_emb_mult"],
        text_length=c["text_ctx"],
        text_width=c["clip_dim"],
        text_features=c["clip_dim"],
        learn_sigma=c["out_channels"] == 2 * c["in_channels"],
        scale_shift_norm=c["use_scale_shift_norm"],
        resblock_updown=c["resblock_updown"],
        **_heads(c),
    )


def run_karlo_decoder(file, dtype):
    """The output for a noisy image."""
    given, network = floats(file, dtype), karlo_decoder(file.meta["config"]["model"])
    inputs, conditions = (given["x"], given["t"]), of_text(given) | {"image_embedding": given["image_embed"]}
    params = loaded(network, file.group("params"), unclip.decoder_table(network), dtype, *inputs, **conditions)
    return {"out/y": np.moveaxis(np.asarray(jax.jit(network.apply)(params, *inputs, **conditions)), -1, 1)}


def _diffusers_unet(c: dict) -> dict:
    """What both of diffusers' UNets say alike."""
    updown = {"ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"}
    if not set(c["down_block_types"]) <= updown or len(set(c["block_out_channels"])) < 1:
        raise UnknownCase(f"blocks {c['down_block_types']}")
    first = c["block_out_channels"][0]
    return {
        "channels": first,
        "channel_mult": tuple(width // first for width in c["block_out_channels"]),
        "num_res_blocks": c["layers_per_block"],
        "norm_groups": c["norm_num_groups"],
        "resblock_updown": True,
        "learn_sigma": c["out_channels"] == 6,
        "scale_shift_norm": c["resnet_time_scale_shift"] == "scale_shift",
    }


def run_diffusers_decoder(file, dtype):
    """What is made of the conditions, the unconditional rows first, and the output with and without a mask."""
    given, c = floats(file, dtype), file.meta["config"]
    unet, projections, state = c["unet"], c["text_proj"], file.group("params")
    attends = ["Attn" in kind for kind in unet["down_block_types"]]
    if unet.get("norm_eps", 1e-5) != 1e-5:
        raise UnknownCase(f"norm_eps {unet['norm_eps']}")
    network = UnCLIPDecoder(
        attention_factors=tuple(2**level for level, own in enumerate(attends) if own),
        image_features=projections["clip_embeddings_dim"],
        context_width=projections["cross_attention_dim"],
        extra_tokens=projections["clip_extra_context_tokens"],
        text_length=given["text_states"].shape[1],
        text_width=given["text_states"].shape[2],
        text_features=given["text_embed"].shape[1],
        num_head_channels=unet["attention_head_dim"],
        dropout=0.0,
        **_diffusers_unet(unet),
    )
    parts = {
        part: {name.removeprefix(f"{part}."): leaf for name, leaf in state.items() if name.startswith(f"{part}.")}
        for part in ("text_proj", "unet")
    }
    published = unclip.decoder_state(parts["text_proj"], parts["unet"], unet["attention_head_dim"])
    embedding = jnp.concatenate([jnp.zeros_like(given["image_embed"]), given["image_embed"]])
    inputs, conditions = (given["x"], given["t"]), of_text(given) | {"image_embedding": embedding}
    params = loaded(network, published, unclip.decoder_table(network), dtype, *inputs, **conditions)
    conditioning = EmbeddingConditions(
        projections["cross_attention_dim"], projections["time_embed_dim"], network.extra_tokens, text=True
    )
    context, added = conditioning.apply(
        {"params": params["params"]["conditions"]}, embedding, given["text_states"], given["text_embed"]
    )
    masked = network.apply(params, *inputs, **conditions)
    plain = network.apply(params, *inputs, **(conditions | {"context_mask": None}))
    return {
        "out/context": np.asarray(context),
        "out/additive_time": np.asarray(added),
        "out/y": np.moveaxis(np.asarray(masked), -1, 1),
        "out/y_nomask": np.moveaxis(np.asarray(plain), -1, 1),
    }


def karlo_upsampler(values: dict) -> ADM:
    """The network of Karlo's hyperparameters."""
    c = _UNET | {"use_middle_attention": True} | values
    if c["attention_resolutions"]:
        raise UnknownCase(f"an upsampler with attention_resolutions {c['attention_resolutions']}")
    return ADM(
        channels=c["model_channels"],
        channel_mult=tuple(c["channel_mult"]),
        num_res_blocks=c["num_res_blocks"],
        attention_resolutions=(),
        dropout=float(c["dropout"]),
        learn_sigma=c["out_channels"] == 2 * c["in_channels"],
        scale_shift_norm=c["use_scale_shift_norm"],
        resblock_updown=c["resblock_updown"],
        super_resolution=True,
        middle_attention=c["use_middle_attention"],
        **_heads(c),
    )


def run_diffusers_upsampler(file, dtype):
    """The output for a noisy image and the one to enlarge."""
    given, c = floats(file, dtype), file.meta["config"]["unet"]
    if c["add_attention"] or c["norm_eps"] != 1e-5 or c["freq_shift"] or not c["flip_sin_to_cos"]:
        raise UnknownCase("add_attention, norm_eps, freq_shift or flip_sin_to_cos")
    own = {"super_resolution": True, "middle_attention": False, "attention_resolutions": (), "dropout": 0.0}
    network = ADM(**_diffusers_unet(c), **own)
    inputs, conditions = (given["x"], given["t"]), {"low_res": given["low_res"]}
    state = unet_state(file.group("params"))
    params = loaded(network, state, adm.table(network, given["x"].shape[1]), dtype, *inputs, **conditions)
    return {"out/y": np.moveaxis(np.asarray(network.apply(params, *inputs, **conditions)), -1, 1)}


HANDLERS = {
    ("unclip", "karlo_prior"): run_karlo_prior,
    ("unclip", "diffusers_prior"): run_diffusers_prior,
    ("unclip", "karlo_decoder"): run_karlo_decoder,
    ("unclip", "diffusers_decoder"): run_diffusers_decoder,
    ("unclip", "diffusers_sr_unet"): run_diffusers_upsampler,
}
