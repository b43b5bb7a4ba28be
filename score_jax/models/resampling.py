"""Halving and doubling of images: nearest neighbour / mean, and the FIR filter [1, 3, 3, 1] of StyleGAN2.

A separable filter of four taps is four shifted slices per axis: exact, without a depthwise convolution, which is slow
in XLA on a CPU and no faster elsewhere.
"""

import jax.numpy as jnp
from einops import reduce, repeat

from score_jax.typing import Image, Resized

_TAPS = (1.0, 3.0, 3.0, 1.0)


def mean_down(x: Image) -> Resized:
    """Mean of each 2 x 2 block."""
    return reduce(x, "b (h p) (w q) c -> b h w c", "mean", p=2, q=2)


def nearest_up(x: Image) -> Resized:
    """Each pixel twice in both directions."""
    return repeat(x, "b h w c -> b (h p) (w q) c", p=2, q=2)


def _pad(x: Image, axis: int, before: int, after: int) -> Resized:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)


def _slice(x: Image, axis: int, start: int, length: int, stride: int) -> Resized:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + stride * (length - 1) + 1, stride)
    return x[tuple(index)]


def fir_filter(x: Image, pad: tuple[int, int], stride: int) -> Resized:
    """Correlates both axes with [1, 3, 3, 1] / 8 after zero padding by `pad`."""
    for axis in (1, 2):
        padded = _pad(x, axis, *pad)
        length = (padded.shape[axis] - len(_TAPS)) // stride + 1
        slices = jnp.stack([_slice(padded, axis, k, length, stride) for k in range(len(_TAPS))])
        x = jnp.tensordot(jnp.asarray(_TAPS, x.dtype) / 8, slices, axes=1)
    return x


def fir_down(x: Image) -> Resized:
    """Antialiased halving."""
    return fir_filter(x, (1, 1), 2)


def fir_up(x: Image) -> Resized:
    """Doubling by zero insertion and the filter at gain 4: weights (1, 3) / 4 and (3, 1) / 4 of two neighbours."""
    for axis in (1, 2):
        length = x.shape[axis]
        padded = _pad(x, axis, 1, 1)
        before, after = _slice(padded, axis, 0, length, 1), _slice(padded, axis, 2, length, 1)
        pairs = jnp.stack([(before + 3 * x) / 4, (3 * x + after) / 4], axis=axis + 1)
        x = pairs.reshape((*x.shape[:axis], 2 * length, *x.shape[axis + 1 :]))
    return x
