"""3 x 3 convolutions by Winograd's minimal filtering, in NHWC and HWIO, for `cpu_convolution.py`.

F(2 x 2, 3 x 3) of Lavin and Gray 2016 (arXiv 1509.09308): each 2 x 2 tile of the output takes 16 products instead of
36, of the 4 x 4 input tile and the kernel after linear maps of both:

    y = A^T [(G k G^T) * (B^T x B)] A    per tile, the products summed over channels: 16 matrix products

Entries are 0, 1, -1 and 1/2, so that rounding is that of any other order of summation. XLA's CPU convolution takes 1.6
to 1.8 times as long.
"""

import functools
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
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


def pays(x: Image, k: Kernel) -> bool:
    """Whether `winograd` takes x and k, and less time than a convolution by XLA."""
    b, h, w, _ = x.shape
    large = min(h, w) >= _MIN_HEIGHT and min(k.shape[2:]) >= _MIN_CHANNELS and b * h * w // 4 >= _MIN_TILES
    return large and jnp.finfo(x.dtype).bits >= 32 and h % 2 == 0 and w % 2 == 0


def winograd(x: Image, k: Kernel, *, transposed: bool, precision: Any) -> Resized:
    """The convolution of x (b, h, w, c), h and w even, with k (3, 3, c, d), padded to keep the size.

    Args:
      x: images, or the cotangents of its output where `transposed`.
      k: the kernel of the convolution.
      transposed: whether to compute the transpose with respect to x, from d channels to c.
      precision: of the matrix products, as lax takes it.
    """
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
