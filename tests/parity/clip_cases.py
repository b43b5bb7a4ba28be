"""Cases of CLIP's networks, with the weights of OpenAI's code and of transformers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.convert.clip import clip_of
from score_jax.models.clip.clip import CLIP, CLIPNetwork, directions

SAME_AS_OURS = {
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "num_channels": 3,
}
"""What transformers lets one vary and CLIP does not."""


def _network(state: dict[str, np.ndarray], heads: dict[str, int], dtype: Any) -> tuple[CLIPNetwork, Any]:
    """The network by the tensors' shapes, and its parameters."""
    network = clip_of(state, heads=heads)
    return network, jax.tree.map(lambda a: jnp.asarray(a, dtype), network.params)


def _images(file, dtype) -> jax.Array:
    return jnp.asarray(file.group("in")["image"].transpose(0, 2, 3, 1), dtype)


def run_openai(file, dtype):
    """Features, logits, the text's tokens, and the gradient of the image's features."""
    config, given = file.meta["config"]["clip"], file.group("in")
    network, params = _network(file.group("params"), {"text": config["transformer_heads"]}, dtype)
    ids = jnp.asarray(given["text"])
    cotangent = jnp.asarray(given["cotangent"], dtype) if "cotangent" in given else None

    def tokens(module: CLIP, ids):
        return {
            "out/text_tokens_pre_ln": module.text.states(ids)[-1],
            "out/text_tokens_ln_final": module.text.sequence(ids),
        }

    @jax.jit
    def run(params, images):
        features, back = jax.vjp(lambda images: network.encode_image(params, images), images)
        gradient = {} if cotangent is None else {"grad/image": back(cotangent)[0].transpose(0, 3, 1, 2)}
        logits = network.logits(params, images, ids)
        return {
            "out/image_features": features,
            "out/text_features": network.encode_text(params, ids),
            "out/logits_per_image": logits,
            "out/logits_per_text": logits.T,
            **network.module.apply({"params": params}, ids, method=tokens),
            **gradient,
        }

    found = run(params, _images(file, dtype))
    return {name: np.asarray(value) for name, value in found.items() if name in file.arrays}


def _mapped(file) -> dict[str, np.ndarray]:
    """The state dict of transformers, from OpenAI's in a file beside this one, by the file's own map."""
    config, found = file.meta["config"], {}
    try:
        with np.load(file.path.parent / config["params_and_inputs_in_file"], allow_pickle=False) as z:
            state = {key.removeprefix("params/"): z[key] for key in z.files if key.startswith("params/")}
    except (OSError, ValueError) as error:
        raise UnknownCase(f"no weights ({error})") from error
    for theirs, openai, how in config["map"]:
        match how.split():
            case ["copy"]:
                found[theirs] = state[openai]
            case ["T"]:
                found[theirs] = state[openai].T
            case ["rows", span]:
                start, stop = map(int, span.split(":"))
                found[theirs] = state[openai][start:stop]
            case _:
                raise UnknownCase(f"a map by {how!r}")
    return found


def _check_options(config: dict[str, Any], ids: np.ndarray) -> None:
    for tower in ("text_config", "vision_config"):
        for key, ours in SAME_AS_OURS.items():
            if config[tower].get(key, ours) != ours:
                raise UnknownCase(f"{key} {config[tower][key]!r}")
    end = config["text_config"].get("eos_token_id", 2)
    if end != 2 and not np.array_equal(np.argmax(ids == end, axis=1), np.argmax(ids, axis=1)):
        raise UnknownCase("texts whose end has not the largest id")


def run_transformers(file, dtype):
    """Every layer of both towers."""
    config, ids = file.meta["config"], file.group("in")["text"]
    if set(file.group("in")) != {"image", "text"}:
        raise UnknownCase(f"inputs {sorted(file.group('in'))}")
    _check_options(config["hf"], ids)
    heads = {tower: config["hf"][f"{tower}_config"]["num_attention_heads"] for tower in ("text", "vision")}
    network, params = _network(file.group("params") or _mapped(file), heads, dtype)

    def towers(module: CLIP, images, ids):
        text, vision = module.text.states(ids), module.vision.states(images)
        return {
            "out/image_embeds": directions(module.encode_image(images)),
            "out/text_embeds": directions(module.encode_text(ids)),
            "out/text_last_hidden_state": module.text.sequence(ids),
            "out/text_pooled": module.text.pooled(ids),
            "out/text_hidden_states": jnp.stack(text),
            "out/vision_last_hidden_state": vision[-1],
            "out/vision_pooled": module.vision.pooled(images),
            "out/vision_hidden_states": jnp.stack(vision),
        }

    @jax.jit
    def run(params, images):
        logits = network.logits(params, images, jnp.asarray(ids))
        found = network.module.apply({"params": params}, images, jnp.asarray(ids), method=towers)
        return found | {"out/logits_per_image": logits, "out/logits_per_text": logits.T}

    found = run(params, _images(file, dtype))
    return {name: np.asarray(value) for name, value in found.items() if name in file.arrays}


def run(file, dtype):
    """By whose code the file is of."""
    config = file.meta["config"]
    if "clip" in config:
        return run_openai(file, dtype)
    if "hf" in config:
        return run_transformers(file, dtype)
    raise UnknownCase(f"a network of {sorted(config)}")


HANDLERS = {("clip", "clip_"): run}
