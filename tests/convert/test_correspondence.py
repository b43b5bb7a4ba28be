"""Names and layouts: strict both ways, and back again."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_1D, SAME, Counterpart, to_ours, to_theirs
from score_jax.errors import InputError

SHAPES = {
    "conv": {"kernel": jax.ShapeDtypeStruct((3, 3, 4, 5), jnp.float32)},
    "dense": {"kernel": jax.ShapeDtypeStruct((4, 6), jnp.float32), "bias": jax.ShapeDtypeStruct((6,), jnp.float32)},
    "point": {"kernel": jax.ShapeDtypeStruct((4, 2), jnp.float32)},
}
LAYOUTS = {"conv": CONV, "dense": LINEAR, "point": POINTWISE_1D}


def table(path):
    module, leaf = path
    return Counterpart(f"{module}.{leaf}", LAYOUTS[module] if leaf == "kernel" else SAME)


def state():
    rng = np.random.default_rng(0)
    shapes = {"conv.kernel": (5, 4, 3, 3), "dense.kernel": (6, 4), "dense.bias": (6,), "point.kernel": (2, 4, 1)}
    return {name: rng.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}


def test_layouts_and_types():
    params = to_ours(state(), SHAPES, table)
    np.testing.assert_array_equal(params["conv"]["kernel"][1, 2, 3, 4], state()["conv.kernel"][4, 3, 1, 2])
    np.testing.assert_array_equal(params["dense"]["kernel"], state()["dense.kernel"].T)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_there_and_back_is_the_identity():
    back = to_theirs(to_ours(state(), SHAPES, table), table)
    assert set(back) == set(state())
    for name, tensor in state().items():
        np.testing.assert_array_equal(back[name], tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("dense.bias"), r"1 missing: dense.bias"),
        (lambda s: s.update({"more.weight": np.zeros(3)}), r"1 not used: more.weight"),
        (
            lambda s: s.update({"conv.kernel": np.zeros((5, 4, 1, 1))}),
            r"1 of another shape: conv.kernel \(5, 4, 1, 1\) where \(5, 4, 3, 3\) is expected",
        ),
        (
            lambda s: s.update({"dense.bias": s["dense.bias"].astype(complex)}),
            r"1 of another type: dense.bias complex128 where real numbers are expected",
        ),
        (lambda s: s.update({"dense.bias": s["dense.bias"].astype(str)}), r"1 of another type: dense.bias <U\d+ where"),
        (lambda s: s.update({"\x1b[31m\n" + "a" * 10**6: np.zeros(3)}), r"1 not used: '.x1b\[31m.na+\.\.\."),
        (lambda s: s.clear(), r"4 missing: conv.kernel, dense.bias, dense.kernel, point.kernel"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    changed = state()
    change(changed)
    with pytest.raises(InputError, match=message) as caught:
        to_ours(changed, SHAPES, table)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["float8_e5m2", "bfloat16", "float16", "uint8", ">f4"])
def test_tensors_of_any_real_type_become_floats(kind):
    dtype = np.dtype(kind) if kind in ("float16", "uint8", ">f4") else np.dtype(getattr(ml_dtypes, kind))
    bias = np.array([1, 2, 3, 4, 6, 8])
    found = to_ours(state() | {"dense.bias": bias.astype(dtype)}, SHAPES, table)
    np.testing.assert_array_equal(found["dense"]["bias"], bias.astype(np.float32), strict=True)


def test_buffers_may_be_left_over():
    to_ours(state() | {"sigmas": np.zeros(3)}, SHAPES, table, buffers=r"sigmas$")
    with pytest.raises(InputError, match="1 not used: more_sigmas"):
        to_ours(state() | {"more_sigmas": np.zeros(3)}, SHAPES, table, buffers=r"sigmas$")
