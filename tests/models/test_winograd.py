"""Winograd's algorithm is XLA's convolution, in value and in every derivative, and for CPUs only."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.blocks import winograd
from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.models.network import Network
from score_jax.models.unets.ncsnpp import NCSNpp


def conv_of(channels, **kwargs):
    return nn.Conv(channels, (3, 3), use_bias=False, **kwargs)


def ours(x, k, **kwargs):
    conv = conv_of(k.shape[-1], conv_general_dilated=conv_general_dilated, **kwargs)
    return conv.apply({"params": {"kernel": k}}, x)


def xlas(x, k, **kwargs):
    return conv_of(k.shape[-1], **kwargs).apply({"params": {"kernel": k}}, x)


def gradients(conv):
    return lambda x, k: jax.vjp(conv, x, k)[1](jnp.cos(conv(x, k)))


def tangent(conv):
    return lambda x, k: jax.jvp(conv, (x, k), (jnp.sin(x), jnp.cos(k)))


def second_order(conv):
    def norm(x, k):
        score = jax.grad(lambda x: jnp.sum(jnp.tanh(conv(x, k))))(x)
        return jnp.sum(jnp.sin(score))

    return jax.grad(norm, (0, 1))


def over_images(conv):
    return lambda x, k: jax.vmap(conv, (2, None))(jnp.stack([x, 2 * x], 2), k)


def over_kernels(conv):
    return lambda x, k: jax.vmap(conv, (None, 0))(x, jnp.stack([k, 2 * k]))


def over_both(conv):
    return lambda x, k: jax.vmap(conv, (0, 3))(jnp.stack([x, 2 * x]), jnp.stack([k, 3 * k], 3))


def arrays(dtype, b=2, h=8, w=16, c=64, d=96):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (b, h, w, c), dtype), jax.random.normal(keys[1], (3, 3, c, d), dtype)


def largest_difference(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)


def products(function, *args, platform):
    """The matrix products and convolutions of the program that a platform is given."""
    text = jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return text.count("stablehlo.dot_general"), text.count("stablehlo.convolution")


@pytest.mark.parametrize(
    "derived", [lambda conv: conv, gradients, tangent, second_order, over_images, over_kernels, over_both]
)
def test_in_float64_it_is_xlas_convolution(derived):
    with jax.enable_x64(True):
        x, k = arrays(jnp.float64)
        found, expected = jax.jit(derived(ours))(x, k), jax.jit(derived(xlas))(x, k)
        assert largest_difference(found, expected) < 1e-12


def test_float32_rounds_as_another_order_of_summation_does():
    with jax.enable_x64(True):
        x, k = arrays(jnp.float64, h=16, c=128, d=128)
        exact = xlas(x, k)
        narrow = x.astype(jnp.float32), k.astype(jnp.float32)
        errors = [largest_difference(jax.jit(conv)(*narrow).astype(jnp.float64), exact) for conv in (ours, xlas)]
    assert errors[0] < 3 * errors[1]
    assert errors[1] < 5e-6  # of sums of 1152 products in float32, in the order of this machine's instructions


@pytest.mark.parametrize("platform", ["tpu", "cuda", "rocm"])
def test_accelerators_are_given_their_own_convolution(platform):
    assert products(ours, *arrays(jnp.float32), platform=platform) == (0, 1)
    assert products(gradients(ours), *arrays(jnp.float32), platform=platform) == (0, 3)


def test_the_precision_is_that_of_where_it_is_traced():
    with jax.default_matmul_precision("highest"):
        traced = jax.jit(gradients(ours)).trace(*arrays(jnp.float32))
    assert traced.lower(lowering_platforms=("tpu",)).as_text().count("<precision HIGHEST>") == 2 * 3


def test_a_cpu_is_given_sixteen_products():
    assert products(ours, *arrays(jnp.float32), platform="cpu") == (16, 0)


@pytest.mark.parametrize(
    ("shape", "kwargs"),
    [
        (dict(c=32), {}),
        (dict(h=4), {}),
        (dict(b=1, h=8, w=8), {}),
        (dict(h=9), {}),
        (dict(), dict(strides=(2, 2))),
        (dict(), dict(padding=((0, 1), (0, 1)))),
        (dict(), dict(padding="VALID")),
        (dict(), dict(kernel_dilation=(2, 2), padding=2)),
        (dict(), dict(padding="CIRCULAR")),
    ],
)
def test_what_does_not_pay_or_is_another_convolution_is_xlas(shape, kwargs):
    x, k = arrays(jnp.float32, **shape)

    def conv(x, k):
        return ours(x, k, **kwargs)

    assert products(conv, x, k, platform="cpu") == (0, 1)
    np.testing.assert_array_equal(jax.jit(conv)(x, k), jax.jit(lambda x, k: xlas(x, k, **kwargs))(x, k))


def test_bfloat16_is_xlas():
    assert products(ours, *arrays(jnp.bfloat16), platform="cpu") == (0, 1)


def test_without_jit_it_is_the_same():
    x, k = arrays(jnp.float32)
    np.testing.assert_array_equal(ours(x, k), jax.jit(ours)(x, k))


def test_grouped_channels_are_xlas():
    x, k = arrays(jnp.float32, c=128)
    found = ours(x, k[:, :, :64], feature_group_count=2)
    np.testing.assert_array_equal(found, xlas(x, k[:, :, :64], feature_group_count=2))


def test_a_networks_operations_are_those_of_what_accelerators_are_given(monkeypatch):
    module = NCSNpp(
        channels=64,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(),
        dropout=0.0,
        embedding="positional",
        fourier_scale=1.0,
        fir=False,
        progressive_input="none",
        scale_by_sigma=False,
        centered=True,
    )
    network = Network(module, (16, 16, 3))

    def on_a_cpu():
        x, label = jnp.zeros((1, 16, 16, 3)), jnp.ones(1)
        return jax.jit(network.apply).lower(network.shapes(), x, label).cost_analysis()["flops"]

    assert on_a_cpu() < 0.8 * network.flops()
    monkeypatch.setattr(winograd, "_MIN_TILES", 2**20)
    jax.clear_caches()
    assert on_a_cpu() == network.flops()
