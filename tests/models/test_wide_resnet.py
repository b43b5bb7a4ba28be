"""The noise-conditional classifier, against its definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.convert.wide_resnet import table
from score_jax.models.classifiers.wide_resnet import CIFAR10_MEAN, CIFAR10_STD, WideResNet

TINY = WideResNet(num_classes=5, blocks_per_group=2, widen_factor=1)
X, SIGMA = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3)), jnp.array([0.01, 3.0])


def shapes_of(net):
    return jax.eval_shape(net.init, jax.random.key(0), X, SIGMA)["params"]


@pytest.fixture(scope="module")
def params():
    """Parameters in which no norm is the identity."""
    keys = iter(jax.random.split(jax.random.key(1), 100))
    return jax.tree.map(lambda s: 0.2 * jax.random.normal(next(keys), s.shape), shapes_of(TINY))


def run(params, x=X, sigma=SIGMA, net=TINY):
    return jax.jit(lambda x, sigma: net.apply({"params": params}, x, sigma))(x, sigma)


def relu_norm(x, p):
    groups = x.reshape(*x.shape[:3], min(x.shape[3] // 4, 32), -1)
    groups = groups - groups.mean((1, 2, 4), keepdims=True)
    groups = groups / np.sqrt(np.square(groups).mean((1, 2, 4), keepdims=True) + 1e-5)
    return np.maximum(groups.reshape(x.shape) * p["scale"] + p["bias"], 0)


def conv(x, p, stride=1):
    """3 x 3; with stride 2 each output pixel is the one at the upper left of its four, plus its neighbours."""
    before = 2 - stride
    x = np.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0)))
    size = x.shape[1] - 2
    pixels = [[x[:, i : i + size : stride, j : j + size : stride] for j in range(3)] for i in range(3)]
    return np.einsum("ijbhwc,ijcd->bhwd", np.array(pixels), p["kernel"])


def dense(x, p):
    return x @ p["kernel"] + p["bias"]


def swish(x):
    return x / (1 + np.exp(-x))


def reference(p, x, sigma):
    """Wide ResNet in float64."""
    h = (x - CIFAR10_MEAN) / np.array(CIFAR10_STD)
    h = (h - h.mean((1, 2, 3), keepdims=True)) / h.std((1, 2, 3), keepdims=True)
    h = conv(h, p["conv_in"])
    angles = 2 * np.pi * np.log(sigma)[:, None] * p["fourier"]["W"]
    embedding = swish(dense(np.concatenate([np.sin(angles), np.cos(angles)], 1), p["embedding_1"]))
    embedding = swish(dense(embedding, p["embedding_2"]))
    for group, channels in enumerate((16, 32, 64)):
        for i in range(TINY.blocks_per_group):
            block = p[f"group_{group}_block_{i}"]
            stride = 2 if group > 0 and i == 0 else 1
            branch = relu_norm(h, block["norm_1"])
            skip = branch if group == i == 0 else h
            branch = conv(branch, block["conv_1"], stride) + dense(embedding, block["embedding"])[:, None, None]
            branch = conv(relu_norm(branch, block["norm_2"]), block["conv_2"])
            if stride == 2:
                skip = sum(skip[:, r::2, s::2] for r in (0, 1) for s in (0, 1)) / 4
            h = branch
            h[..., : skip.shape[3]] += skip
            assert h.shape[3] == channels
    return dense(relu_norm(h, p["norm_out"]).mean((1, 2)), p["out"])


@pytest.mark.usefixtures("x64")
def test_is_its_definition(params):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x, sigma = np.asarray(X, np.float64), np.asarray(SIGMA, np.float64)
    ours = run(params, jnp.asarray(x), jnp.asarray(sigma))
    assert ours.dtype == jnp.float64
    np.testing.assert_allclose(ours, reference(params, x, sigma), rtol=1e-10, atol=1e-10)


def test_28_10_has_the_originals_number_of_parameters():
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes_of(WideResNet()))) == 38_913_242


def test_names_of_the_release_go_there_and_back(params):
    theirs = to_theirs(params, table)
    assert len(theirs) == len(jax.tree.leaves(params))
    expected = {
        "GaussianFourierProjection_0/W": (128,),
        "Dense_0/kernel": (256, 512),
        "Dense_1/bias": (512,),
        "init_conv/kernel": (3, 3, 3, 16),
        "WideResnetGroup_0/WideResnetBlock_1/init_bn/scale": (16,),
        "WideResnetGroup_1/WideResnetBlock_0/conv1/kernel": (3, 3, 16, 32),
        "WideResnetGroup_2/WideResnetBlock_0/Dense_0/kernel": (512, 64),
        "WideResnetGroup_2/WideResnetBlock_1/bn_2/bias": (64,),
        "WideResnetGroup_2/WideResnetBlock_1/conv2/kernel": (3, 3, 64, 64),
        "pre-pool-bn/bias": (64,),
        "Dense_2/kernel": (64, 5),
    }
    assert {name: theirs[name].shape for name in expected} == expected
    jax.tree.map(np.testing.assert_array_equal, params, to_ours(theirs, params, table))


def test_contrast_does_not_matter_and_noise_level_does(params):
    mean = jnp.asarray(CIFAR10_MEAN)[None, None, None]
    np.testing.assert_allclose(run(params, mean + 7 * (X - mean)), run(params), rtol=1e-3, atol=1e-4)
    assert np.abs(run(params, sigma=SIGMA[::-1]) - run(params)).max() > 1e-2


def test_a_constant_image_has_finite_logits_and_gradient(params):
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(TINY.apply({"params": params}, x, SIGMA))))
    mean = jnp.broadcast_to(jnp.asarray(CIFAR10_MEAN), X.shape)
    assert np.all(np.isfinite(run(params, mean))) and np.all(np.isfinite(gradient(mean)))


def test_bfloat16_stays_near_float32(params):
    y, half = run(params), run(params, net=TINY.clone(dtype=jnp.bfloat16))
    assert half.dtype == jnp.float32
    assert 1e-5 < np.abs(half - y).max() / np.abs(y).max() < 0.1
