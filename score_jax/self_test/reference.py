"""Convolution and its gradients written plainly in float64 NumPy."""

import dataclasses

import numpy as np
from jaxtyping import Float

Pair = tuple[int, int]
Images = Float[np.ndarray, "b _ _ _"]
Kernel = Float[np.ndarray, "kh kw c d"]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a kernel is applied; the names are those of lax, each pair is (height, width).

    Attributes:
      strides: between the places where the kernel is applied.
      padding: (before, after), the same in both axes.
      lhs_dilation: 1 + the zeros between pixels.
      rhs_dilation: 1 + the zeros between the kernel's.
    """

    strides: Pair = (1, 1)
    padding: Pair = (0, 0)
    lhs_dilation: Pair = (1, 1)
    rhs_dilation: Pair = (1, 1)

    def output(self, size: Pair, kernel: Pair) -> Pair:
        """Size of the output for images and a kernel of these sizes."""
        height, width = (
            ((n - 1) * a + 1 + sum(self.padding) - ((m - 1) * r + 1)) // s + 1
            for n, m, a, r, s in zip(size, kernel, self.lhs_dilation, self.rhs_dilation, self.strides, strict=True)
        )
        return height, width


def convolution(x: Images, k: Kernel, cotangent: Images, geometry: Geometry) -> tuple[Images, Images, Kernel]:
    """The output (b, oh, ow, d) of x (b, h, w, c) with k, and the cotangents of x and k for that of the output."""
    (before, _), (a, b) = geometry.padding, geometry.lhs_dilation
    padded = _padded(x, geometry)
    of_padded, of_k = np.zeros_like(padded), np.zeros(k.shape)
    for tap in np.ndindex(k.shape[:2]):
        rows, columns = _seen(tap, geometry, cotangent.shape[1:3])
        of_padded[:, rows, columns] += cotangent @ k[tap].T
        of_k[tap] = np.tensordot(padded[:, rows, columns], cotangent, axes=((0, 1, 2), (0, 1, 2)))
    height, width = (before + (n - 1) * dilation + 1 for n, dilation in zip(x.shape[1:3], (a, b), strict=True))
    return forward(x, k, geometry), of_padded[:, before:height:a, before:width:b], of_k


def forward(x: Images, k: Kernel, geometry: Geometry) -> Images:
    """The output (b, oh, ow, d) of x (b, h, w, c) with k."""
    size, padded = geometry.output(x.shape[1:3], k.shape[:2]), _padded(x, geometry)
    y = np.zeros((x.shape[0], *size, k.shape[3]))
    for tap in np.ndindex(k.shape[:2]):
        rows, columns = _seen(tap, geometry, size)
        y += padded[:, rows, columns] @ k[tap]
    return y


def _padded(x: Images, geometry: Geometry) -> Images:
    """With zeros between the pixels and around them."""
    a, b = geometry.lhs_dilation
    spread = np.zeros((x.shape[0], (x.shape[1] - 1) * a + 1, (x.shape[2] - 1) * b + 1, x.shape[3]))
    spread[:, ::a, ::b] = x
    return np.pad(spread, ((0, 0), geometry.padding, geometry.padding, (0, 0)))


def _seen(tap: tuple[int, ...], geometry: Geometry, size: Pair) -> tuple[slice, slice]:
    """Rows and columns of the padded images that a tap of the kernel is multiplied with, for an output of a size."""
    rows, columns = (
        slice(place * dilation, place * dilation + stride * (length - 1) + 1, stride)
        for place, dilation, stride, length in zip(tap, geometry.rhs_dilation, geometry.strides, size, strict=True)
    )
    return rows, columns
