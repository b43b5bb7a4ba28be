"""VGG16's hidden layers by themselves; torchvision's numbers are in the parity file."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.models.scorers.vgg16 import VGG16, VGG16Hidden, parameter_shapes

OF_COLOURS: tuple = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
TINY = VGG16Hidden(OF_COLOURS, hidden=16)


def test_the_published_network_has_the_published_size():
    """torchvision's vgg16 has 138,357,544 parameters, of which 4,097,000 are the layer of the classes."""
    count = sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(VGG16Hidden())))
    assert count == 138_357_544 - 4_097_000


def passing(params):
    """Convolutions that pass colours on, so that maps are maxima over patches of 32 x 32 pixels."""
    identity = np.zeros((3, 3, 3, 3), np.float32)
    identity[1, 1] = np.eye(3)
    return {name: {"kernel": identity, "bias": np.zeros(3, np.float32)} for name in params["vgg"]}


def test_the_layers_see_the_brightest_pixels_of_patches():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.1, 1, (2, 224, 224, 3)).astype(np.float32)
    params = {"vgg": passing(parameter_shapes(TINY))}
    for name, rows in (("hidden_1", 147), ("hidden_2", 16)):
        shapes = {"kernel": (rows, 16), "bias": (16,)}
        params[name] = {leaf: rng.normal(size=shape).astype(np.float32) for leaf, shape in shapes.items()}
    found = TINY.apply({"params": params}, jnp.asarray(image))
    brightest = image.reshape(2, 7, 32, 7, 32, 3).max((2, 4)).reshape(2, 147)
    for name in ("hidden_1", "hidden_2"):
        brightest = np.maximum(brightest @ params[name]["kernel"] + params[name]["bias"], 0)
    assert (brightest == 0).any() and (brightest > 0).any()
    np.testing.assert_allclose(found, brightest, rtol=1e-4, atol=1e-4)


def test_the_blocks_alone_take_images_of_any_size():
    features = jax.eval_shape(
        lambda x: VGG16(OF_COLOURS).init_with_output(jax.random.key(0), x)[0], jnp.zeros((1, 33, 49, 3))
    )
    assert [maps.shape[1:3] for maps in features] == [(33, 49), (16, 24), (8, 12), (4, 6), (2, 3)]
