"""Cases of Blended Diffusion: its losses and augmentations, and whole edits by a toy model and a toy CLIP."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from score_jax.guidance import text as text_guidance
from score_jax.guidance.classifier import by_gradient
from score_jax.guidance.measurements import blended_after, ending_in_x0, mask
from score_jax.guidance.views import average_pooled, tiled
from score_jax.models.clip.clip_input import normalised
from score_jax.prediction.coordinates import of_levels, seen
from score_jax.prediction.predictor import OUTPUTS, Prediction
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import vp_chain
from score_jax.processes.noise import replay
from score_jax.processes.respacing import kept_levels, respace
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import levels
from score_jax.samplers.steps import ancestral, ddim

_LEVELS = 1000
_NCHW = "b h w c -> b c h w"
_NHWC = "b c h w -> b h w c"


def losses(file, dtype) -> dict[str, np.ndarray]:
    """Distances and their gradients, and the order of the augmented copies."""
    given, c = {name: jnp.asarray(value, dtype) for name, value in file.group("in").items()}, file.meta["config"]
    features, text, x = given["image_embeds"], given["text_embed"], rearrange(given["x"], _NHWC)
    spherical, of_features = _with_gradient(lambda f: text_guidance.spherical_distance(f, text), features)
    out_of_range, of_x = _with_gradient(text_guidance.beyond_range, x)
    views = tiled(average_pooled(x, c["output_size"]), c["aug_num"])
    return {
        "out/spherical": spherical,
        "grad/spherical": of_features,
        "out/cosine": 1 - jnp.cos(jnp.sqrt(2 * spherical)),  # the angle is the root of twice the distance
        "out/range_loss": out_of_range,
        "grad/range": rearrange(of_x, _NCHW),
        "out/augmentation_order": rearrange(views, _NCHW),
    }


def _with_gradient(fn, x):
    values, back = jax.vjp(fn, x)
    return values, back(jnp.ones_like(values))[0]


def _toy(x: jax.Array, t: jax.Array) -> jax.Array:
    t = t[:, None, None, None]
    return jnp.concatenate([0.6 * x + 0.3 * jnp.sin(1.7 * x + 0.01 * t), jnp.tanh(0.8 * x - 0.002 * t)], axis=-1)


def _toy_perceptual(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.mean((a - b) ** 2 * (1 + 0.25 * jnp.sin(3 * a)), axis=(1, 2, 3))


def _embed(given: dict, dtype) -> Any:
    """The toy CLIP, of images in [0, 1]."""
    weights = jnp.asarray(given["clip_w"], dtype)
    return lambda x: jnp.tanh(rearrange(normalised(x), "b h w c -> b (c h w)") @ weights)


def _loss(given: dict, c: dict, image: jax.Array, edited: jax.Array, dtype) -> text_guidance.Loss:
    """The terms that the file's scales switch on. The original takes the square over the batch too."""

    def views(x: jax.Array, t: jax.Array) -> jax.Array:
        copies = tiled(average_pooled(x, c["clip_size"]), c["aug_num"])
        factors = jnp.linspace(0.8, 1.2, len(copies) - len(x), dtype=dtype)
        return copies * jnp.concatenate([jnp.ones(len(x), dtype), factors])[:, None, None, None]

    distance = text_guidance.distance_to_text(_embed(given, dtype), jnp.asarray(given["text_embed"], dtype), views)
    scales = {"text_scale": c["clip_lambda"], "range_scale": c["range_lambda"]}
    edit_loss = text_guidance.edit_loss(distance, edited, **scales)
    if not c["bg_loss"]:
        return edit_loss
    kept = text_guidance.background_loss(
        _toy_perceptual,
        image,
        edited,
        perceptual_scale=c["lpips_lambda"],
        square_scale=c["l2_lambda"] / c["batch"],
    )
    return lambda x0, seen, t: edit_loss(x0, seen, t) + kept(x0, seen, t)


def edit(file, dtype) -> dict[str, np.ndarray]:
    """Every state and belief of an edit, with the stored noise."""
    given, c = file.group("in"), file.meta["config"]
    image = jnp.asarray(given["init_image"], dtype)[None] / 255 * 2 - 1
    white = (given["mask_image"][None, ..., :1] > 0) != c["invert"]
    edited = jnp.asarray(white, dtype)
    full, kept = vp_chain("linear", _LEVELS), kept_levels(_LEVELS, c["respacing"])
    chain = respace(full, kept).chain

    def model(x: jax.Array, t: jax.Array) -> Prediction:
        output, variance = jnp.split(_toy(x, t), 2, axis=-1)
        return dataclasses.replace(OUTPUTS["eps"](output, x, t, full), variance=variance)

    predictor = seen(model, of_levels(kept))
    pull = text_guidance.pull(_loss(given, c, image, edited, dtype), predictor, chain)
    # The original's loss finds its level by a division, which may end one lower.
    asked = np.floor(kept.astype(np.float32) * np.float32(len(kept) / _LEVELS)).astype(int)

    def gradient(x: jax.Array, t: jax.Array) -> jax.Array:
        return pull(x, jnp.asarray(asked, dtype)[t.astype(int)])[1]

    if c["ddim"]:
        step, predictor = ending_in_x0(ddim(chain)), by_gradient(predictor, chain, gradient)
    else:
        step = ending_in_x0(ancestral(chain, VARIANCES["learned_range"], gradient))
    draws = [rearrange(given["noise"], "i b c h w -> i b h w c")]
    noise = jnp.asarray(rearrange(given["x_T"], _NHWC), dtype)
    images = jnp.broadcast_to(image, noise.shape)
    if not c["local"]:
        step = blended_after(step, chain, mask(1 - edited), images * (1 - edited), 1)
        draws.append(np.broadcast_to(rearrange(given["bg_noise"], "i 1 c h w -> i 1 h w c"), draws[0].shape))
    stored = jnp.asarray(rearrange(np.stack(draws), "draws i ... -> (i draws) ..."), dtype)
    count = len(kept) - c["skip"]
    start = chain.perturb(images, jnp.full(len(noise), count - 1, dtype), noise)
    grid, every = levels(np.arange(count)).astype(dtype), tuple(range(1, count + 1))
    walk = run_chain(step, predictor, replay(stored, len(draws)), start, grid, every)
    t, visited = jnp.arange(len(kept), dtype=dtype), np.arange(count)[::-1]
    log_small = VARIANCES["fixed_small"](chain, None, t[:, None], t, t - 1)[1]
    return {
        "out/samples": rearrange(walk.kept, "i b h w c -> i b c h w"),
        "out/pred_xstart": rearrange(walk.kept_means, "i b h w c -> i b c h w"),
        "out/mask": rearrange(edited, _NCHW),
        "out/init": rearrange(image, _NCHW),
        "out/model_call_timesteps": np.stack([kept[visited], kept[asked[visited]]], axis=1).ravel(),
        "out/np64_posterior_log_variance_clipped": log_small[:, 0],
        "out/timestep_map": kept,
    }


HANDLERS = {("blended_diffusion", "losses"): losses, ("blended_diffusion", "edit_"): edit}
