"""Resizing as each reference evaluator does it: separable, so a matrix for each axis.

FID depends on it: the ways give different numbers for the same images (Parmar et al. 2022).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Matrix = Float[np.ndarray, "_ _"]
"""(out, in)."""
TracedMatrix = Float[Array, "_ _"]
Size = tuple[int, int]
Resize = Literal["tf1", "torch", "clean", "torch_bicubic", "pillow"]
_PILLOW_BITS, _LOW_BITS = 22, 11
"""Of the whole numbers that Pillow's weights are over 2^22, and of the lower part of each."""


def _interpolation(places: Float[np.ndarray, "out"], length: int) -> Matrix:
    """Between the two pixels next to each place, the edges repeated."""
    places = np.clip(places, 0, length - 1)
    below = np.floor(places).astype(int)
    share, rows = places - below, np.arange(len(places))
    matrix = np.zeros((len(places), length))
    matrix[rows, below] += 1 - share
    matrix[rows, np.minimum(below + 1, length - 1)] += share
    return matrix


def tf1_matrix(length: int, out: int) -> Matrix:
    """TensorFlow 1's bilinear: output i looks at i * length / out, without half a pixel and without antialias."""
    return _interpolation(np.arange(out) * (length / out), length)


def aligned_matrix(length: int, out: int) -> Matrix:
    """Bilinear with the corner pixels' centres held (`align_corners=True`)."""
    return _interpolation(np.arange(out) * ((length - 1) / max(1, out - 1)), length)


def half_pixel_matrix(length: int, out: int) -> Matrix:
    """PyTorch's bilinear: pixels are squares with their centres at i + 1/2; no antialias."""
    return _interpolation((np.arange(out) + 0.5) * (length / out) - 0.5, length)


def _bicubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' kernel (1981)."""
    x = np.abs(x)
    near, far = ((a + 2) * x - (a + 3)) * x**2 + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def torch_bicubic_matrix(length: int, out: int, scale: float | None = None) -> Matrix:
    """PyTorch's bicubic without antialias: Keys' kernel with a = -3/4 between pixels, the edges repeated.

    Args:
      length: of what is resized.
      out: wanted.
      scale: pixels from one output to the next; None: length / out. PyTorch takes another where it is given
        `scale_factor`, of which the length is only the whole part.
    """
    places = (np.arange(out) + 0.5) * (length / out if scale is None else scale) - 0.5
    first, rows = np.floor(places).astype(int), np.arange(out)
    matrix = np.zeros((out, length))
    for tap in range(-1, 3):
        np.add.at(matrix, (rows, np.clip(first + tap, 0, length - 1)), _bicubic(places - first - tap, a=-0.75))
    return matrix


PILLOW_FILTERS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "box": (lambda x: ((x > -0.5) & (x <= 0.5)).astype(float), 0.5),
    "bilinear": (lambda x: np.maximum(1 - np.abs(x), 0), 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0), 3.0),
}
"""Kernels and how far they reach."""


def pillow_matrix(length: int, out: int, kind: str = "bicubic") -> Matrix:
    """Pillow's filters, widened when shrinking (antialias) and normalised at the edges."""
    kernel, reach = PILLOW_FILTERS[kind]
    scale = length / out
    widened = max(1.0, scale)
    matrix = np.zeros((out, length))
    for i in range(out):
        centre = (i + 0.5) * scale
        first = max(0, math.floor(centre - reach * widened + 0.5))
        last = min(length, math.floor(centre + reach * widened + 0.5))
        weights = kernel((np.arange(first, last) + 0.5 - centre) / widened)
        matrix[i, first:last] = weights / weights.sum()
    return matrix


def _fixed_point_matrix(length: int, out: int) -> Matrix:
    """Pillow's bicubic as it is applied to bytes, each weight a whole number over 2^22."""
    return np.rint(pillow_matrix(length, out) * 2**_PILLOW_BITS) / 2**_PILLOW_BITS


_MATRICES: dict[Resize, Callable[[int, int], Matrix]] = {
    "tf1": tf1_matrix,
    "torch": half_pixel_matrix,
    "clean": pillow_matrix,
    "torch_bicubic": pillow_matrix,
    "pillow": _fixed_point_matrix,
}


def matrices(image: Size, size: Size, how: Resize) -> tuple[Matrix, Matrix]:
    """Returns the matrices of rows and columns that bring an image (height, width) to a size (height, width)."""
    of = _MATRICES[how]
    return of(image[0], size[0]), of(image[1], size[1])


def along_both(
    images: Float[Array, "b h w c"], rows: Matrix | TracedMatrix, columns: Matrix | TracedMatrix
) -> Float[Array, "b _ _ c"]:
    """Resizes each axis by its matrix."""
    einsum: Any = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    narrow = einsum("Hi,bijc->bHjc", jnp.asarray(rows, images.dtype), images)
    return einsum("Wj,bHjc->bHWc", jnp.asarray(columns, images.dtype), narrow)


def resize(images: Float[Array, "b h w c"], size: Size, how: Resize) -> Float[Array, "b _ _ c"]:
    """Resizes images to `size` (height, width).

    Args:
      images: levels 0 to 255.
      size: wanted.
      how: "tf1", guided-diffusion's and torch-fidelity's; "torch", pytorch-fid's; "clean", clean-fid's: Pillow's
        bicubic filter, clipped to 0..255 and not rounded; "torch_bicubic", EDM2's: PyTorch's bicubic with antialias,
        the same filter and not clipped; "pillow", dgm-eval's: Pillow's bicubic of bytes, rounded after each axis,
        columns first (recent versions begin with the rows of some tall images).
    """
    return resize_by(images, *matrices((images.shape[1], images.shape[2]), size, how), how)


def resize_by(
    images: Float[Array, "b h w c"], rows: Matrix | TracedMatrix, columns: Matrix | TracedMatrix, how: Resize
) -> Float[Array, "b _ _ c"]:
    """`resize` with its matrices as arguments, so that images of another size need no other program."""
    if how == "pillow":
        return _to_bytes("Hi,bijc->bHjc", rows, _to_bytes("Wj,bijc->biWc", columns, images))
    resized = along_both(images, rows, columns)
    return jnp.clip(resized, 0, 255) if how == "clean" else resized


def _to_bytes(
    subscripts: str, matrix: Matrix | TracedMatrix, levels: Float[Array, "b h w c"]
) -> Float[Array, "b _ _ c"]:
    """One axis of Pillow's resize of bytes, exactly, by two products whose sums are whole numbers below 2^24."""
    weights = jnp.asarray(matrix, levels.dtype) * 2**_PILLOW_BITS
    high = jnp.round(weights / 2**_LOW_BITS)
    upper, lower = (
        jnp.einsum(subscripts, part, levels, precision=jax.lax.Precision.HIGHEST).astype(jnp.int32)
        for part in (high, weights - high * 2**_LOW_BITS)
    )
    half = 2 ** (_PILLOW_BITS - 1)
    return jnp.clip((upper * 2**_LOW_BITS + lower + half) >> _PILLOW_BITS, 0, 255).astype(levels.dtype)


def padded_length(length: int) -> int:
    """Returns the next of few lengths: multiples of 32 and, above 512, eight to an octave."""
    step = max(32, 2 ** ((length - 1).bit_length() - 4))
    return -(-length // step) * step
