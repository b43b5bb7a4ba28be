"""Gradients of kernels as one matrix product for each place of the kernel, in NHWC and HWIO, for `cpu_convolution.py`.

The gradient at the place (i, j) is the product over images and pixels of x, shifted by (i, j), with y. XLA's CPU
convolution, which sees channels as images and images as channels, takes up to 2.5 times as long for 3 x 3 kernels and
4 to 5 times as long for 1 x 1 kernels.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from score_jax.typing import Image, Resized

_MIN_CHANNELS = 64
"""Of networks with fewer a step takes as long by either."""
_MOST_NARROWED = 4
"""From so many times as many channels on, the products have too few columns."""
_MOST_PLACES = 9
"""Each is a product, which is to be compiled."""


def pays(x: Image, y: Resized, kernel: tuple[int, int]) -> bool:
    """Whether `by_products` takes less time than a convolution by XLA."""
    channels, filters = x.shape[3], y.shape[3]
    wide = min(channels, filters) >= _MIN_CHANNELS and channels < _MOST_NARROWED * filters
    return wide and kernel[0] * kernel[1] <= _MOST_PLACES and jnp.finfo(x.dtype).bits >= 32


def by_products(
    x: Image,
    y: Resized,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int],
    padding: Sequence[tuple[int, int]],
    dilation: tuple[int, int],
    precision: Any,
) -> Array:
    """Returns the gradient (kh, kw, c, d) of the kernel of a convolution from x (b, h, w, c) to y (b, oh, ow, d).

    Args:
      x: images.
      y: cotangents of the output.
      kernel: its height and width.
      strides: of the convolution.
      padding: (before, after) in height and in width; negative values crop.
      dilation: of the kernel.
      precision: of the matrix products, as lax takes it.
    """
    (b, oh, ow, d), c = y.shape, x.shape[3]
    borders = ((0, 0, 0), *((before, after, 0) for before, after in padding), (0, 0, 0))
    padded = lax.pad(x, jnp.zeros((), x.dtype), borders)
    of_output = y.reshape(-1, d)

    def at(i: int, j: int) -> Array:
        top, left = i * dilation[0], j * dilation[1]
        end = (b, top + strides[0] * (oh - 1) + 1, left + strides[1] * (ow - 1) + 1, c)
        seen = lax.slice(padded, (0, top, left, 0), end, (1, *strides, 1)).reshape(-1, c)
        return lax.dot_general(seen, of_output, (((0,), (0,)), ((), ())), precision=precision)

    rows = [jnp.stack([at(i, j) for j in range(kernel[1])]) for i in range(kernel[0])]
    return jnp.stack(rows)
