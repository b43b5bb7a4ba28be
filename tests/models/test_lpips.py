"""LPIPS in closed forms and invariants; its numbers are in the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.lpips import lpips_of, random_state
from score_jax.errors import InputError
from score_jax.models.scorers.lpips import LPIPS, layer_difference, parameter_shapes
from score_jax.models.scorers.vgg16 import VGG16, VGG16_WIDTHS

NARROW = ((4, 6), (5, 6), (7, 7, 8), (8, 8, 8), (8, 8, 10))
OF_COLOURS = tuple((3,) * len(block) for block in VGG16_WIDTHS)


@pytest.fixture(scope="module")
def network():
    state = random_state(0, NARROW)
    return lpips_of(state, state)


def images(seed, size=32, dtype=jnp.float32):
    return jax.random.uniform(jax.random.key(seed), (2, size, size, 3), dtype, minval=-1)


@pytest.fixture(scope="module")
def distance(network):
    return jax.jit(network.distance)


def test_equal_images_have_no_distance_and_no_gradient(network, distance):
    x = images(0)
    np.testing.assert_allclose(distance(network.params, x, x), 0, atol=1e-12)
    gradient = jax.grad(lambda y: jnp.sum(distance(network.params, y, x)))(x)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_it_is_symmetric_and_grows_with_noise(network, distance):
    x, noise = images(0), images(1)
    values = np.stack([distance(network.params, x, x + scale * noise) for scale in (0.01, 0.1, 1.0)])
    assert (np.diff(values, axis=0) > 0).all() and (values > 0).all()
    np.testing.assert_allclose(distance(network.params, x + noise, x), values[-1], rtol=1e-5)


def test_layers_add_up_and_heads_are_linear(network, distance):
    x, y = images(0), images(1)
    layers = network.per_layer(network.params, x, y)
    np.testing.assert_allclose(layers.sum(axis=1), distance(network.params, x, y), rtol=1e-5)
    twice = network.params | {"head3": 2 * network.params["head3"]}
    weighted = layers * jnp.array([[1.0, 1, 1, 2, 1]])
    np.testing.assert_allclose(distance(twice, x, y), weighted.sum(axis=1), rtol=1e-5)


def test_the_mean_of_the_map_is_the_distance(network, distance):
    """Bilinear enlargement by a whole number keeps means."""
    x, y = images(0), images(1)
    values = network.spatial_map(network.params, x, y)
    assert values.shape == (2, 32, 32, 1)
    np.testing.assert_allclose(values.mean(axis=(1, 2, 3)), distance(network.params, x, y), rtol=1e-5)


def test_the_map_shows_where_images_differ(network):
    x = images(0, 64)
    values = network.spatial_map(network.params, x, x.at[:, :8, :8].set(0.5))
    assert values[:, :8, :8].mean() > 10 * values[:, 32:, 32:].mean()


def test_directions_are_compared():
    """Unit vectors at right angles differ in both channels, opposite ones fourfold; lengths do not count."""
    head = jnp.array([1.0, 10.0, 100.0])
    x = jnp.array([[2.0, 0, 0], [0, 5, 0], [0, 0, 3], [1, 1, 0], [0, 0, 0]])[None, None]
    y = jnp.array([[0, 3.0, 0], [0, 1, 0], [0, 0, -3], [0, 0, 0], [0, 0, 0]])[None, None]
    np.testing.assert_allclose(layer_difference(x, y, head)[0, 0, :, 0], [11, 0, 400, 5.5, 0], rtol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(layer_difference(x, y, head)))(x)
    assert np.isfinite(gradient).all()


def test_features_of_a_network_that_copies_are_pooled_colours():
    """Kernels that pass every channel on leave relu((x - shift) / scale), then its maxima over 2, 4, 8, 16 pixels."""
    x = images(0)
    module = LPIPS(OF_COLOURS)
    copy = np.zeros((3, 3, 3, 3), np.float32)
    copy[1, 1] = np.eye(3)
    params = jax.tree.map(
        lambda leaf: copy if len(leaf.shape) == 4 else jnp.zeros(leaf.shape), parameter_shapes(module)
    )
    found = module.apply({"params": params}, x, method="features")
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # torchvision's, of [0, 1]
    expected = np.maximum(((np.asarray(x) + 1) / 2 - mean) / deviation, 0)
    for i, maps in enumerate(found):
        size = 2**i
        blocks = expected.reshape(2, 32 // size, size, 32 // size, size, 3)
        np.testing.assert_allclose(maps, blocks.max(axis=(2, 4)), rtol=1e-5, atol=1e-5)


def test_the_published_size():
    shapes = parameter_shapes(LPIPS())
    counts = {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in shapes.items()}
    assert counts.pop("vgg") == 14_714_688
    assert sum(counts.values()) == 1472
    images = jax.ShapeDtypeStruct((1, 50, 33, 3), jnp.float32)
    features = jax.eval_shape(lambda x: VGG16().init_with_output(jax.random.key(0), x)[0], images)
    sizes = [(1, 50, 33, 64), (1, 25, 16, 128), (1, 12, 8, 256), (1, 6, 4, 512), (1, 3, 2, 512)]
    assert [maps.shape for maps in features] == sizes


@pytest.mark.usefixtures("x64")
def test_float64_stays(network, distance):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), network.params)
    x, y = images(0, dtype=jnp.float64), images(1, dtype=jnp.float64)
    exact = distance(params, x, y)
    assert exact.dtype == jnp.float64
    single = distance(network.params, x.astype(jnp.float32), y.astype(jnp.float32))
    np.testing.assert_allclose(single, exact, rtol=1e-4)
    assert np.abs(single - exact).max() > 0


def test_small_images_are_refused(network):
    with pytest.raises(InputError, match="LPIPS of images of 16 x 15: its pools need 16 x 16"):
        network.distance(network.params, jnp.zeros((1, 16, 15, 3)), jnp.zeros((1, 16, 15, 3)))
