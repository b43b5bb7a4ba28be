"""Products of matrices, reductions and softmax against float64 NumPy, and a miscompilation that was."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_jax.self_test.check import EPS, Check, Measured, Skipped, compared, largest, summed

_ROWS = (2**14 + 1, 2**15 + 1, 40_001)
"""Where jaxlib 0.10.2 is wrong: all three in float64, the last two in float32, and not at 2^16 + 1."""
_MATRIX = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1.0]])
_PRODUCTS = ((96, 320, 64), (33, 257, 65))
"""Rows, terms and columns."""
_BFLOAT16_EPS = 2.0**-7


def _squared_lengths(points: jax.Array) -> jax.Array:
    matrix = jnp.asarray(_MATRIX, points.dtype)
    return jax.vmap(lambda row: jnp.sum(jnp.matmul(matrix, row, precision="highest") ** 2))(points)


def vmapped_products(dtype: str) -> Measured | Skipped:
    """|M r|^2 of many rows r, vmapped and jitted (jax-ml/jax#39103). Relative error; bound 8 eps of the type.

    Args:
      dtype: float32 or float64.
    """
    if dtype == "float64" and jax.default_backend() == "tpu":
        return Skipped("TPUs have no float64")
    bound = 8 * float(np.finfo(dtype).eps)
    measured = []
    with jax.enable_x64(dtype == "float64"):
        lengths = jax.jit(_squared_lengths)
        for rows in _ROWS:
            count = np.arange(rows)
            points = np.stack([count, count % 7, np.ones(rows)], axis=1)
            want = np.sum((points @ _MATRIX.T) ** 2, axis=1)
            got = lengths(jnp.asarray(points, dtype))
            measured.append(compared(got, want, want, bound, f"of {rows} rows"))
    return largest(*measured)


def _factors(rows: int, terms: int, columns: int) -> tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"]]:
    rng = np.random.default_rng(rows)
    return rng.standard_normal((rows, terms), np.float32), rng.standard_normal((terms, columns), np.float32)


def _product_error(a, b, precision: str, bound: float) -> Measured:
    """Of a b, relative to the root of the sum of the squares of its terms."""
    got = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))(a, b)
    wide, tall = np.asarray(a).astype(np.float64), np.asarray(b).astype(np.float64)
    return compared(got, wide @ tall, np.sqrt(wide**2 @ tall**2), bound)


def highest_products() -> Measured:
    """Products at precision "highest", which likelihood and FID ask for, are those of float32."""
    return largest(*(_product_error(*_factors(*shape), "highest", summed(shape[1])) for shape in _PRODUCTS))


def default_products() -> Measured:
    """Products of float32 at precision "default" are at least those of bfloat16 factors; the remark says which.

    Both factors are rounded to 8 bits, which is an error of 1e-2 (of 11 bits, TF32: 1e-3); bound 2 eps of bfloat16.
    """
    measured = largest(*(_product_error(*_factors(*shape), "default", 2 * _BFLOAT16_EPS) for shape in _PRODUCTS))
    most_terms = max(terms for _, terms, _ in _PRODUCTS)
    kinds = (("float32", summed(most_terms)), ("TF32", 2.0**-8), ("bfloat16", 2 * _BFLOAT16_EPS))
    kind = next((name for name, most in kinds if measured.error <= most), "less than bfloat16")
    return dataclasses.replace(measured, remark=f"{kind} here")


def bfloat16_products() -> Measured:
    """Products of bfloat16 are summed in float32 and rounded once, to half an eps.

    Relative to the root of the sum of the squares of a product's terms, of which it is up to 4 times: bound 2 eps. Sums
    in bfloat16 would be wrong by ten times as much.
    """
    shape = _PRODUCTS[0]
    a, b = (jnp.asarray(factor, jnp.bfloat16) for factor in _factors(*shape))
    return _product_error(a, b, "default", 2 * _BFLOAT16_EPS)


def _odd_numbers(shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Odd whole numbers from -7 to 7: float32 sums them exactly in any order, and none can be lost unseen."""
    rng = np.random.default_rng(sum(shape))
    return (2 * rng.integers(-4, 4, shape) + 1).astype(np.float32)


def _reduced(x):
    sums = [x.sum(axis) for axis in (*range(x.ndim), None)]
    return sums + [x.max(axis) for axis in (*range(x.ndim), None)], [x.mean(axis) for axis in (*range(x.ndim), None)]


def reductions() -> Measured:
    """Sum, maximum and mean over each axis and over all of odd sizes, among them 2^20 + 1 elements.

    Of odd whole numbers, so that sums are exact: bound 0; means are relative to 1 or to themselves: bound 2 eps.
    """
    measured = []
    for shape in ((17, 129, 33), (2**15 + 1, 3), (2**20 + 1,)):
        x = _odd_numbers(shape)
        exact, rounded = jax.jit(_reduced)(x)
        want_exact, want_rounded = _reduced(x.astype(np.float64))
        place = f"of {' x '.join(map(str, shape))}"
        for pairs, bound in (
            (zip(exact, want_exact, strict=True), 0.0),
            (zip(rounded, want_rounded, strict=True), 2 * EPS),
        ):
            measured += [
                compared(got, np.asarray(want), np.maximum(1, np.abs(want)), bound, place) for got, want in pairs
            ]
    return largest(*measured)


def _softmax(logits: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def softmax() -> Measured:
    """Attention's weights of large logits, of long rows and of rows masked with -inf.

    Relative to the largest of a row. The exponential of a difference d is wrong by eps |d| exp(d) <= eps / e, and its
    sum by rounding: bound 8 eps + 2 eps sqrt(n). Masked ones are zero exactly.
    """
    rng = np.random.default_rng(0)
    measured = []
    for scale, length, masked in ((1e4, 65, 0), (1.0, 10_007, 0), (30.0, 257, 100)):
        logits = (scale * rng.standard_normal((3, length))).astype(np.float32)
        logits[:, length - masked :] = -np.inf
        got, want = np.asarray(jax.jit(jax.nn.softmax)(logits)), _softmax(logits.astype(np.float64))
        place = f"of rows of {length}"
        bound = 8 * EPS + 2 * EPS * length**0.5
        measured.append(compared(got, want, want.max(axis=1, keepdims=True), bound, place))
        measured.append(Measured(float(np.abs(got[:, length - masked :]).sum()), 0.0, "behind the mask"))
    return largest(*measured)


CHECKS = (
    *(
        Check(
            f"vmapped products, {dtype}",
            functools.partial(vmapped_products, dtype),
            "XLA miscompiles sums of products over many rows (jax-ml/jax#39103), and samples and likelihoods are wrong",
        )
        for dtype in ("float32", "float64")
    ),
    Check(
        "matrix products, highest",
        highest_products,
        "Matrix products at precision 'highest' are not those of float32, and likelihood and FID are wrong",
        "unset what lowers precision in XLA_FLAGS and NVIDIA_TF32_OVERRIDE, or else install another release of jax",
    ),
    Check(
        "matrix products, default",
        default_products,
        "Matrix products of float32 are less precise than bfloat16",
    ),
    Check(
        "matrix products, bfloat16",
        bfloat16_products,
        "Matrix products of bfloat16 are not summed in float32",
    ),
    Check("reductions", reductions, "Sums, maxima or means lose elements"),
    Check("softmax", softmax, "The softmax of attention is wrong"),
)
