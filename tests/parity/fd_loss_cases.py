"""Cases of FD-loss: features of timm's networks, of bytes of any size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.convert import clip, dinov2
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.evaluation.clip import CLIPVisionWeights
from score_jax.evaluation.dinov2 import dinov2_extractor
from score_jax.evaluation.fd_loss import clip_token_extractor, convnext_extractor, vit_extractor
from score_jax.evaluation.protocols import PROTOCOLS


def _clip_vision(state):
    network = clip.clip_of(state)
    return CLIPVisionWeights(network.module.vision, network.params["vision"], "")


NETWORKS = {
    "convnext": (CONVNEXT.of, convnext_extractor),
    "mae": (MAE.of, vit_extractor),
    "siglip": (SIGLIP2.of, vit_extractor),
    "clip": (_clip_vision, clip_token_extractor),
    "dinov2": (dinov2.dinov2_of, dinov2_extractor),
}


def run_features(file, dtype):
    """From bytes to what the protocol takes."""
    name = file.meta["config"]["network"]
    read, extractor_of = NETWORKS[name]
    weights = read(file.group("params"))
    weights = dataclasses.replace(weights, params=jax.tree.map(lambda a: jnp.asarray(a, dtype), weights.params))
    extractor = extractor_of(weights, PROTOCOLS[f"fd_loss_{name}"])
    run = jax.jit(lambda params, images: extractor.apply(params, extractor.prepare(images))["features"])
    return {"out/features": np.asarray(run(extractor.params, jnp.asarray(file.group("in")["images"])))}


HANDLERS = {("fd_loss", "features"): run_features}
