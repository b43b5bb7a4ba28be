"""Halving and doubling of images: nearest neighbour / mean, and separable FIR filters such as StyleGAN2's [1, 3, 3, 1].

A separable filter of few taps is as many shifted slices per axis: exact, without a depthwise convolution, which is slow
in XLA on a CPU and no faster elsewhere. `taps` are normalised to sum 1; padding is with zeros.
"""

import jax.numpy as jnp
import numpy as np
from einops import reduce, repeat
from jaxtyping import Array, Float

from score_jax.typing import Image, Resized

Taps = tuple[int | float, ...]


def mean_down(x: Image) -> Resized:
    """Mean of each 2 x 2 block."""
    return reduce(x, "b (h p) (w q) c -> b h w c", "mean", p=2, q=2)


def nearest_up(x: Image) -> Resized:
    """Each pixel twice in both directions."""
    return repeat(x, "b h w c -> b (h p) (w q) c", p=2, q=2)


def _weights(taps: Taps, like: Image) -> Float[Array, "k"]:
    """The taps of a convolution, as those of the correlation that computes it."""
    return jnp.asarray(np.asarray(taps[::-1]) / sum(taps), like.dtype)


def _pad(x: Image, axis: int, before: int, after: int) -> Resized:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (before, after)
    return jnp.pad(x, widths)


def _slice(x: Image, axis: int, start: int, length: int, stride: int = 1) -> Resized:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + stride * (length - 1) + 1, stride)
    return x[tuple(index)]


def fir_filter(x: Image, taps: Taps, pad: tuple[int, int], stride: int = 1) -> Resized:
    """Convolves both axes with the taps after zero padding by `pad` (before, after)."""
    for axis in (1, 2):
        padded = _pad(x, axis, *pad)
        length = (padded.shape[axis] - len(taps)) // stride + 1
        slices = jnp.stack([_slice(padded, axis, k, length, stride) for k in range(len(taps))])
        x = jnp.tensordot(_weights(taps, x), slices, axes=1)
    return x


def fir_down(x: Image, taps: Taps) -> Resized:
    """Antialiased halving."""
    excess = len(taps) - 2
    return fir_filter(x, taps, ((excess + 1) // 2, excess // 2), 2)


def fir_up(x: Image, taps: Taps) -> Resized:
    """Doubling by zero insertion and the filter at gain 4, each output phase from the taps that meet a pixel."""
    before = (len(taps) - 1) // 2 + 1
    weights = 2 * _weights(taps, x)
    for axis in (1, 2):
        length, margin = x.shape[axis], len(taps)
        padded = _pad(x, axis, margin, margin)
        phases = [
            sum(
                weights[k] * _slice(padded, axis, margin + (phase + k - before) // 2, length)
                for k in range(len(taps))
                if (phase + k - before) % 2 == 0
            )
            for phase in (0, 1)
        ]
        x = jnp.stack(phases, axis=axis + 1).reshape((*x.shape[:axis], 2 * length, *x.shape[axis + 1 :]))
    return x
