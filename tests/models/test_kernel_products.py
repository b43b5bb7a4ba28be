"""Gradients of kernels by matrix products are those of XLA's convolution, where they pay, and for CPUs only."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from score_jax.models.blocks.cpu_convolution import conv_general_dilated

CASES = {
    "plain": {"kernel": (3, 3)},
    "one pixel": {"kernel": (1, 1), "padding": ((0, 0), (0, 0))},
    "strides": {"kernel": (3, 3), "strides": (2, 1)},
    "dilated": {"kernel": (3, 2), "dilation": (2, 3), "padding": ((2, 2), (3, 0))},
    "cropped": {"kernel": (2, 2), "padding": ((-1, 0), (0, 2))},
}


def gradient(conv, case, x, k):
    """With respect to the kernel, of a sum that weighs every output differently."""
    padding, strides = case.get("padding", ((1, 1), (1, 1))), case.get("strides", (1, 1))
    of = functools.partial(
        conv,
        x,
        window_strides=strides,
        padding=padding,
        rhs_dilation=case.get("dilation", (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jax.grad(lambda k: jnp.sum(jnp.sin(of(rhs=k))))(k)


def arrays(case, c=64, d=72):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (2, 7, 6, c)), jax.random.normal(keys[1], (*case["kernel"], c, d))


def products(case, x, k, platform="cpu"):
    traced = jax.jit(functools.partial(gradient, conv_general_dilated, case)).trace(x, k)
    return traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.dot_general")


@pytest.mark.parametrize("name", CASES)
def test_they_are_the_gradients_of_laxs_convolution(name, x64):
    case = CASES[name]
    x, k = arrays(case)
    assert products(case, x, k) == case["kernel"][0] * case["kernel"][1]
    found, expected = (
        jax.jit(functools.partial(gradient, conv, case))(x, k)
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    assert jnp.abs(found - expected).max() < 1e-11 * jnp.abs(expected).max()


@pytest.mark.parametrize(("c", "d"), [(48, 64), (64, 48), (256, 64)])
def test_few_channels_or_columns_are_left_to_xla(c, d):
    assert products(CASES["plain"], *arrays(CASES["plain"], c, d)) == 0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_are_given_convolutions(platform):
    assert products(CASES["plain"], *arrays(CASES["plain"]), platform) == 0
