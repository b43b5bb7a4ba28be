"""Cases of DINOv2: networks with the weights of its hub and of transformers, and what the evaluators show them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.convert.dinov2 import dinov2_of
from score_jax.evaluation.dinov2 import at_size, input_rule
from score_jax.evaluation.input_rule import prepared
from score_jax.evaluation.protocols import PROTOCOLS

PROTOCOL_OF = {"edm2": "edm2_dinov2", "dgm_eval": "dgm_eval"}


def run_network(file, dtype):
    """All tokens, and the features, of images of several sizes, by their names."""
    config = file.meta["config"]
    weights = dinov2_of(file.group("params"), heads=config["heads"])
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), weights.params)
    weights, found = dataclasses.replace(weights, params=params), {}
    for name, image in file.group("in").items():
        sized = at_size(weights, image.shape[-1], config["code"])

        def both(params: Any, x: jax.Array, module=sized.module):
            return module.apply({"params": params}, x, method="tokens"), module.apply({"params": params}, x)

        seen = jnp.asarray(image.transpose(0, 2, 3, 1), dtype)
        found[f"out/tokens_{name}"], found[f"out/features_{name}"] = jax.jit(both)(sized.params, seen)
    return {name: np.asarray(value) for name, value in found.items()}


def run_inputs(file, dtype):
    """By the names of the outputs: way and image."""
    found = {}
    for name in file.group("out"):
        way, _, image = name.rpartition("_")
        rule = dataclasses.replace(input_rule(PROTOCOLS[PROTOCOL_OF[way]]), size=file.meta["config"]["size"])
        found[f"out/{name}"] = np.asarray(prepared(jnp.asarray(file.group("in")[image][None]), rule)[0])
    return found


HANDLERS = {("dinov2", "network_"): run_network, ("dinov2", "inputs"): run_inputs}
