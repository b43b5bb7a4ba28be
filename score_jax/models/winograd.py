"""3 x 3 convolutions by Winograd's minimal filtering where the program is lowered for a CPU.

F(2 x 2, 3 x 3) of Lavin and Gray 2016 (arXiv 1509.09308): each 2 x 2 tile of the output takes 16 products instead of
36, of the 4 x 4 input tile and the kernel after linear maps of both:

    y = A^T [(G k G^T) * (B^T x B)] A    per tile, the products summed over channels: 16 matrix products

Entries are 0, 1, -1 and 1/2, so that rounding is that of any other order of summation. XLA's CPU convolution takes 1.6
to 1.8 times as long; accelerators have their own, and are given it. The primitive is bilinear: its derivatives are
itself and XLA's kernel gradient, so every mode and order of differentiation works.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from score_jax.typing import Image, Resized

_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
_OF_REVERSED = (3, 1, 2, 0)
"""Rows of `_KERNEL @ reversed k`, as rows of `_KERNEL @ k`."""

_MIN_CHANNELS = 64
_MIN_HEIGHT = 8
_MIN_TILES = 64
"""Below these the maps cost more than the products that they save, or compile for longer than small networks run."""

Kernel = Float[Array, "3 3 _ _"]


def conv_general_dilated(
    lhs: Image, rhs: Array, window_strides: Any, padding: Any, *, precision: Any = None, **kwargs: Any
) -> Resized:
    """`lax.conv_general_dilated` as `flax.linen.Conv` calls it; 3 x 3 kernels that keep the size as said above."""
    same = padding == "SAME" or [tuple(sides) for sides in padding] == [(1, 1), (1, 1)]
    factors = (*window_strides, *(kwargs["lhs_dilation"] or ()), *(kwargs["rhs_dilation"] or ()))
    plain = set(factors) <= {1} and kwargs["feature_group_count"] == 1 and precision is None
    if rhs.shape[:-2] == (3, 3) and same and plain:
        return _convolution.bind(lhs, rhs, transposed=False, precision=_ambient_precision())
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, precision=precision, **kwargs)


def _ambient_precision() -> str | None:
    """That of matrix products where this is traced, as lax takes it; where the program is lowered it may be another."""
    config: Any = jax.config
    return config.jax_default_matmul_precision


def _direct(x: Image, k: Kernel, *, transposed: bool, precision: str | None) -> Resized:
    """The convolution, or its transpose with respect to x, by XLA's."""
    k, layout = (k[::-1, ::-1], "HWOI") if transposed else (k, "HWIO")
    layouts = ("NHWC", layout, "NHWC")
    return lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layouts, precision=precision)


def _combine(coefficients: np.ndarray, parts: list[Array]) -> Array:
    """Their sum, without products by 0 and 1."""
    pairs = zip(coefficients.tolist(), parts, strict=True)
    terms = [part if c == 1 else -part if c == -1 else c * part for c, part in pairs if c]
    return functools.reduce(operator.add, terms)


def _map(matrix: np.ndarray, parts: list[Array]) -> list[Array]:
    return [_combine(row, parts) for row in matrix]


def _tiles(x: Array, axis: int) -> list[Array]:
    """The four places of each overlapping tile of 4, two apart, along an axis."""
    length = x.shape[axis] - 2
    return [lax.slice_in_dim(x, place, place + length - 1, 2, axis) for place in range(4)]


def _interleave(even_and_odd: list[Array], axis: int) -> Array:
    before, length, after = np.split(even_and_odd[0].shape, [axis, axis + 1])
    return jnp.stack(even_and_odd, axis + 1).reshape(*before, 2 * length[0], *after)


def _winograd(x: Image, k: Kernel, *, transposed: bool, precision: str | None) -> Resized:
    """The same as `_direct`, h and w even."""
    b, h, w, c = x.shape
    # XLA writes the padded array down once; unpadded, each of its 16 readers would compute x again.
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    inputs = [_map(_INPUT, _tiles(rows, 2)) for rows in _map(_INPUT, _tiles(padded, 1))]
    kernels = [_map(_KERNEL, list(row)) for row in _map(_KERNEL, list(k))]
    if transposed:
        kernels = [[kernels[i][j].T for j in _OF_REVERSED] for i in _OF_REVERSED]
    products = [
        [
            jnp.matmul(part.reshape(-1, c), kernel, precision=precision).reshape(b, h // 2, w // 2, -1)
            for part, kernel in zip(parts, row, strict=True)
        ]
        for parts, row in zip(inputs, kernels, strict=True)
    ]
    rows = [_interleave(_map(_OUTPUT, row), axis=2) for row in products]
    return _interleave(_map(_OUTPUT, rows), axis=1)


def _for_cpu(x: Image, k: Kernel, **how: Any) -> Resized:
    b, h, w, _ = x.shape
    large = min(h, w) >= _MIN_HEIGHT and min(k.shape[2:]) >= _MIN_CHANNELS and b * h * w // 4 >= _MIN_TILES
    wide = jnp.finfo(x.dtype).bits >= 32
    pays = large and wide and h % 2 == 0 and w % 2 == 0
    return (_winograd if pays else _direct)(x, k, **how)


def _for_batched(arguments, axes, **how: Any):
    x, k = arguments
    if axes[1] is None:
        x = jnp.moveaxis(x, axes[0], 0)
        y = _convolution.bind(x.reshape(-1, *x.shape[2:]), k, **how)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    return jax.vmap(lambda x, k: _direct(x, k, **how), axes)(x, k), 0


def _kernel_gradient(cotangent: Image, x: Resized, _, *, transposed: bool, **how: Any) -> Kernel:
    channels = x.shape[-1:] + cotangent.shape[-1:]
    k = jax.ShapeDtypeStruct((3, 3, *(reversed(channels) if transposed else channels)), x.dtype)
    return jax.linear_transpose(lambda k: _direct(x, k, transposed=transposed, **how), k)(cotangent)[0]


def _input_gradient(cotangent: Image, _, k: Kernel, *, transposed: bool, **how: Any) -> Resized:
    return _convolution.bind(cotangent, k, transposed=not transposed, **how)


_convolution = Primitive("convolution_3x3")
_convolution.def_impl(jax.jit(_convolution.bind, static_argnames=("transposed", "precision")))
_convolution.def_abstract_eval(
    lambda x, k, *, transposed, **how: x.update(shape=(*x.shape[:3], k.shape[2 if transposed else 3]))
)
ad.defbilinear(_convolution, _input_gradient, _kernel_gradient)
batching.primitive_batchers[_convolution] = _for_batched
mlir.register_lowering(_convolution, mlir.lower_fun(_direct, multiple_results=False))
mlir.register_lowering(_convolution, mlir.lower_fun(_for_cpu, multiple_results=False), platform="cpu")
