"""The self-test passes here, and each of its checks finds the defect that it is there for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.self_test import arithmetic, convolutions, devices, diffusion, suite
from score_jax.self_test.check import Check, Measured, compared, largest, run_check

CHECKS = {check.name: check for check in suite.CHECKS}
matmul, conv, squared_lengths, reduced = (
    jnp.matmul,
    convolutions.conv_general_dilated,
    arithmetic._squared_lengths,
    arithmetic._reduced,
)
exact_score, along_both = diffusion.exact_score, suite.images.resize.along_both


def rounded(bits: int) -> Callable:
    """Products of factors with so many bits after the first."""

    def product(a, b, precision=None):
        return matmul(*(jax.lax.reduce_precision(x, 8, bits) for x in (a, b)), precision="highest")

    return product


def summed_in_bfloat16(a, b, precision=None):
    def add(total, terms):
        return total + terms[0][:, None] * terms[1][None, :], None

    return jax.lax.scan(add, jnp.zeros((a.shape[0], b.shape[1]), a.dtype), (a.T, b))[0]


def row_from_elsewhere(points):
    """As jaxlib 0.10.2 computes it: the last row is one that came before."""
    lengths = squared_lengths(points)
    return lengths.at[-1].set(lengths[-65])


def last_row_lost(x):
    return reduced(x.at[-1].set(0) if isinstance(x, jax.Array) else x)


def tap_dropped(x, k, *args, **kwargs):
    return conv(x, k.at[2, 2].set(0), *args, **kwargs)


def wrong_at_three_images(x, k, *args, **kwargs):
    y = conv(x, k, *args, **kwargs)
    return y.at[-1].set(y[0]) if len(x) == 3 * jax.local_device_count() else y


DEFECTS: dict[str, tuple[object, str, object]] = {
    **{name: (arithmetic, "_squared_lengths", row_from_elsewhere) for name in CHECKS if name.startswith("vmapped")},
    "matrix products, highest": (jnp, "matmul", rounded(10)),
    "matrix products, default": (jnp, "matmul", rounded(5)),
    "matrix products, bfloat16": (jnp, "matmul", summed_in_bfloat16),
    "reductions": (arithmetic, "_reduced", last_row_lost),
    "softmax": (jax.nn, "softmax", lambda x: jnp.exp(x) / jnp.exp(x).sum(axis=1, keepdims=True)),
    **{name: (convolutions, "conv_general_dilated", tap_dropped) for name in CHECKS if name.startswith("convolutions")},
    "the Inception's convolutions": (convolutions, "conv_general_dilated", wrong_at_three_images),
    "resizes": (
        suite.images.resize,
        "along_both",
        lambda *args: along_both(*args).astype(jnp.bfloat16).astype(jnp.float32),
    ),
    "sums over devices": (devices, "_total_and_copy", lambda x: (x[:-1].sum(axis=0), x)),
    "Heun's steps": (diffusion, "exact_score", lambda x, t: 1.0001 * exact_score(x, t)),
    "likelihood of a Gaussian": (diffusion, "exact_score", lambda x, t: 1.01 * exact_score(x, t)),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_right_machine_passes(name):
    result = run_check(CHECKS[name])
    assert result.ok, result.message
    assert result.error <= result.bound


@pytest.mark.parametrize("name", CHECKS)
def test_a_defect_is_found_and_named_in_one_line(name, monkeypatch):
    monkeypatch.setattr(*DEFECTS[name])
    result = run_check(CHECKS[name])
    assert not result.ok
    assert result.message.startswith(CHECKS[name].wrong) and result.message.endswith(CHECKS[name].mend + ".")
    assert "\n" not in result.message


def test_the_batch_at_which_a_convolution_is_wrong_is_named(monkeypatch):
    monkeypatch.setattr(convolutions, "conv_general_dilated", wrong_at_three_images)
    assert "with 3 images on each device" in run_check(CHECKS["the Inception's convolutions"]).message


def test_a_gradient_that_is_wrong_is_found(monkeypatch):
    monkeypatch.setattr(
        convolutions,
        "conv_general_dilated",
        lambda x, k, *args, **kwargs: (
            conv(2 * x, k, *args, **kwargs) - conv(jax.lax.stop_gradient(x), k, *args, **kwargs)
        ),
    )
    assert "of the input's gradient" in run_check(CHECKS["convolutions, strided"]).message


def test_a_convolution_that_is_wrong_in_loops_alone_is_found(monkeypatch):
    scan = jax.lax.scan
    monkeypatch.setattr(jax.lax, "scan", lambda f, init, xs: jax.tree.map(lambda y: 1.001 * y, scan(f, init, xs)))
    assert "in a loop is" in run_check(CHECKS["convolutions, dilated"]).message


def test_a_mask_that_leaks_is_found(monkeypatch):
    softmax = jax.nn.softmax
    monkeypatch.setattr(jax.nn, "softmax", lambda x: softmax(jnp.where(jnp.isinf(x), 0.0, x)))
    assert "behind the mask" in run_check(CHECKS["softmax"]).message


@pytest.mark.parametrize(("bits", "kind"), [(23, "float32"), (10, "TF32"), (7, "bfloat16")])
def test_the_default_precision_is_named(bits, kind, monkeypatch):
    monkeypatch.setattr(jnp, "matmul", rounded(bits))
    result = run_check(CHECKS["matrix products, default"])
    assert result.ok and result.message == f"{kind} here"


def test_an_exception_is_a_failure_of_one_line():
    def measure():
        raise RuntimeError("no such kernel\nand a long story")

    result = run_check(Check("kernels", measure, "They are wrong", "buy others"))
    assert not result.ok
    assert result.message == "kernels cannot be tested (RuntimeError: no such kernel): buy others."


def test_what_is_not_a_number_is_a_failure():
    result = run_check(Check("x", lambda: Measured(float("nan"), 1.0), "It is wrong"))
    assert not result.ok and result.error is None and "not a number" in result.message


def test_the_worst_is_that_furthest_beyond_its_bound():
    small, exact, lost = Measured(0.5, 1.0), Measured(0.0, 0.0), Measured(float("nan"), 1.0)
    assert largest(exact, small, Measured(0.9, 2.0)) == small
    assert largest(small, Measured(1e-9, 0.0)).bound == 0.0
    assert largest(small, lost) is lost


def test_another_shape_is_no_result():
    with pytest.raises(ValueError, match="shape"):
        compared(np.zeros(2), np.zeros(3), 1.0, 1.0)


def test_on_a_tpu_float64_is_left_out_and_the_networks_own_sizes_are_taken(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    result = run_check(CHECKS["vmapped products, float64"])
    assert result.ok and result.error is None and "TPUs have no float64" in result.message
    sizes = []
    forward = convolutions.forward
    monkeypatch.setattr(convolutions, "forward", lambda x, k, g: sizes.append(x.shape[1]) or forward(x, k, g))
    monkeypatch.setattr(convolutions, "HALVINGS", {"first": (11, 3, 4), "second": (5, 4, 3)})
    assert run_check(CHECKS["the Inception's convolutions"]).ok
    assert sizes == [11, 11, 5, 5]


def test_every_check_has_a_defect():
    assert len(CHECKS) == len(suite.CHECKS)
    assert set(DEFECTS) == set(CHECKS)
