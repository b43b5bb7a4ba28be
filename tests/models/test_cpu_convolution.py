"""Convolutions are lax's in every geometry and derivative, in the fast form on CPUs and as JAX has them elsewhere."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import slow_forms
from jax import lax

from score_jax.models.blocks.cpu_convolution import conv_general_dilated

LAYOUTS = ("NHWC", "HWIO", "NHWC")


class Case(NamedTuple):
    strides: tuple = (1, 1)
    padding: object = ((1, 1), (1, 1))
    lhs_dilation: tuple = (1, 1)
    rhs_dilation: tuple = (1, 1)
    kernel: tuple = (3, 3)
    image: tuple = (7, 8)


CASES = {
    "plain": Case(),
    "same": Case(padding="SAME"),
    "valid": Case(padding="VALID", kernel=(2, 4)),
    "1x1": Case(kernel=(1, 1), padding="VALID"),
    "strided": Case(strides=(2, 2), padding=((0, 1), (0, 1)), image=(8, 8)),
    "strided, same": Case(strides=(2, 3), padding="SAME"),
    "strided, with a rest": Case(strides=(3, 2), padding="VALID"),
    "1x1, strided": Case(strides=(2, 2), kernel=(1, 1), padding="VALID"),
    "dilated": Case(rhs_dilation=(2, 2), padding=((2, 2), (2, 2))),
    "transposed": Case(lhs_dilation=(2, 3), kernel=(4, 3)),
    "everything": Case((2, 3), ((3, 1), (0, 4)), (3, 2), (2, 1), (2, 3)),
    "cropping": Case(padding=((-1, 2), (3, -2))),
    "padded beyond the kernel": Case(padding=((5, 5), (4, 6))),
    "image smaller than the kernel": Case(kernel=(5, 5), padding=((2, 2), (2, 2)), image=(2, 3)),
    "one pixel": Case(image=(1, 1)),
    "cropped before, padded behind": Case(padding=((-1, 1), (0, 0))),
}


def both(case):
    """Ours, and lax's."""

    def of(function):
        return lambda x, k: function(
            x,
            k,
            case.strides,
            case.padding,
            lhs_dilation=case.lhs_dilation,
            rhs_dilation=case.rhs_dilation,
            dimension_numbers=LAYOUTS,
        )

    return of(conv_general_dilated), of(lax.conv_general_dilated)


def arrays(case, dtype=jnp.float32, b=2, c=3, d=5):
    keys = jax.random.split(jax.random.key(0))
    return (
        jax.random.normal(keys[0], (b, *case.image, c), dtype),
        jax.random.normal(keys[1], (*case.kernel, c, d), dtype),
    )


def gradients(conv):
    """Value and both gradients."""

    def run(x, k):
        y, pull = jax.vjp(conv, x, k)
        return y, *pull(jnp.cos(y))

    return run


def higher(conv):
    """A tangent, and the gradients of a function of both gradients."""

    def norm(x, k):
        return sum(jnp.sum(jnp.sin(part)) for part in gradients(conv)(x, k))

    return lambda x, k: (jax.jvp(conv, (x, k), (jnp.sin(x), jnp.cos(k)))[1], *jax.grad(norm, (0, 1))(x, k))


def in_a_loop(function):
    """The same within `lax.scan`."""

    def run(x, k):
        return lax.scan(lambda carry, _: (carry, function(x + carry, k)), jnp.zeros((), x.dtype), None, length=2)[1]

    return run


def assert_close(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=1e-12 * max(1.0, float(jnp.abs(b).max())))


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_laxs(name, x64):
    ours, laxs = both(CASES[name])
    x, k = arrays(CASES[name], jnp.float64)
    assert_close(jax.jit(gradients(ours))(x, k), jax.jit(gradients(laxs))(x, k))


@pytest.mark.parametrize("name", ["plain", "everything"])
def test_higher_derivatives_are_laxs(name, x64):
    ours, laxs = both(CASES[name])
    x, k = arrays(CASES[name], jnp.float64)
    assert_close(jax.jit(higher(ours))(x, k), jax.jit(higher(laxs))(x, k))


@pytest.mark.parametrize("name", CASES)
def test_all_of_them_are_in_the_fast_form_within_a_loop(name):
    ours, _ = both(CASES[name])
    assert not slow_forms(jax.jit(in_a_loop(gradients(ours))).lower(*arrays(CASES[name])))


def test_higher_derivatives_too():
    ours, _ = both(CASES["plain"])
    assert not slow_forms(jax.jit(in_a_loop(higher(ours))).lower(*arrays(CASES["plain"])))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_of_narrow_types_too(dtype):
    ours, _ = both(CASES["strided"])
    assert not slow_forms(jax.jit(in_a_loop(gradients(ours))).lower(*arrays(CASES["strided"], dtype)))


def test_laxs_own_are_not():
    """So that the test above can fail."""
    _, laxs = both(CASES["plain"])
    assert slow_forms(jax.jit(in_a_loop(gradients(laxs))).lower(*arrays(CASES["plain"])))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("name", CASES)
def test_accelerators_are_given_what_jax_derives(name, platform):
    def convolutions(conv):
        lowered = jax.jit(gradients(conv)).trace(*arrays(CASES[name])).lower(lowering_platforms=(platform,))
        found = re.findall(r"stablehlo.convolution\(.*?\) (dim_numbers = .*)", lowered.as_text())
        return sorted(re.sub(r" loc\(.*", "", text) for text in found)

    ours, laxs = (convolutions(conv) for conv in both(CASES[name]))
    assert ours == laxs and len(ours) == 3


@pytest.mark.parametrize("axes", [(0, None), (2, None), (None, 0), (None, 3), (0, 0), (1, 3)])
def test_mapped_they_are_laxs(axes, x64):
    case = CASES["strided"]
    x, k = arrays(case, jnp.float64)
    operands = [
        array if axis is None else jnp.stack([array, 2 * array, jnp.sin(array)], axis)
        for array, axis in zip((x, k), axes, strict=True)
    ]
    found, expected = (jax.jit(jax.vmap(gradients(conv), axes))(*operands) for conv in both(case))
    assert_close(found, expected)


def test_mapped_over_one_argument_they_stay_in_the_fast_form():
    ours, _ = both(CASES["plain"])
    x, k = arrays(CASES["plain"])
    over_images = jax.vmap(gradients(ours), (0, None))
    first_two = in_a_loop(lambda x, k: over_images(x, k)[:2])  # each image's own gradient of k is mapped over both
    assert not slow_forms(jax.jit(first_two).lower(jnp.stack([x, x]), k))


def test_without_jit_they_are_the_same():
    ours, _ = both(CASES["plain"])
    x, k = arrays(CASES["plain"])
    for eager, jitted in zip(gradients(ours)(x, k), jax.jit(gradients(ours))(x, k), strict=True):
        np.testing.assert_allclose(eager, jitted, rtol=1e-5, atol=1e-5)


def test_the_precision_is_that_of_where_it_is_traced():
    ours, _ = both(CASES["strided"])
    with jax.default_matmul_precision("highest"):
        traced = jax.jit(lambda x, k: jax.vjp(ours, x, k)[1](ours(x, k))).trace(*arrays(CASES["strided"]))
    lowered = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert lowered.count("<precision HIGHEST>") == 2 * lowered.count("stablehlo.convolution") >= 6


def test_grouped_channels_are_laxs():
    x, k = arrays(Case(), c=6, d=4)
    found, expected = (
        conv(x, k[:, :, :3], (1, 1), "SAME", feature_group_count=2, dimension_numbers=LAYOUTS)
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    np.testing.assert_array_equal(found, expected)


def test_padding_by_name_of_a_transposed_convolution_is_refused_as_by_lax():
    ours, _ = both(Case(lhs_dilation=(2, 2), padding="SAME"))
    with pytest.raises(ValueError, match="String padding is not implemented for transposed convolution"):
        ours(*arrays(Case()))


@pytest.mark.parametrize("case", [Case(kernel=(9, 9), padding="VALID"), Case(image=(0, 4), padding="SAME")])
def test_empty_outputs_have_empty_values_and_zero_gradients(case):
    ours, laxs = both(case)
    x, k = arrays(case)
    for found, expected in zip(jax.jit(gradients(ours))(x, k), jax.jit(gradients(laxs))(x, k), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_mapped_over_nothing_they_are_empty():
    ours, _ = both(CASES["plain"])
    x, k = arrays(CASES["plain"])
    found = jax.vmap(gradients(ours), (0, None))(jnp.zeros((0, *x.shape)), k)
    assert [array.shape[0] for array in found] == [0, 0, 0]


def test_with_jit_disabled_they_are_the_same():
    ours, _ = both(CASES["plain"])
    x, k = arrays(CASES["plain"])
    with jax.disable_jit():
        eager = gradients(ours)(x, k)
    for found, expected in zip(eager, jax.jit(gradients(ours))(x, k), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_other_layouts_are_laxs_and_unknown_arguments_are_refused():
    x, k = arrays(CASES["plain"])
    layouts = ("NCHW", "HWIO", "NCHW")
    found, expected = (
        conv(x.transpose(0, 3, 1, 2), k, (1, 1), "SAME", dimension_numbers=layouts)
        for conv in (conv_general_dilated, lax.conv_general_dilated)
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match="batch_group_count"):
        conv_general_dilated(x, k, (1, 1), "SAME", batch_group_count=2)
