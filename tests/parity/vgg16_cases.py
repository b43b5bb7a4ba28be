"""Cases of VGG16: torch-fidelity's features of images of bytes, with torchvision's weights."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.convert.vgg16 import vgg16_of
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.vgg16 import VGG16Weights, vgg16_extractor


def run_features(file, dtype):
    """By the names of the images."""
    module, params = vgg16_of(file.group("params"))
    params = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
    extractor = vgg16_extractor(VGG16Weights(module, params, "", published=False), PROTOCOLS["torch_fidelity_prc"])
    apply = jax.jit(lambda params, x: extractor.apply(params, extractor.prepare(x))["features"][0])
    return {f"out/{name}": np.asarray(apply(params, image[None])) for name, image in file.group("in").items()}


HANDLERS = {("vgg16", "features"): run_features}
