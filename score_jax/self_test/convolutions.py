"""Convolutions of every geometry that networks use, with their gradients, and those that halve images for FID."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.runtime.sharding import make_mesh, over_batch, replicated
from score_jax.self_test.check import Check, Measured, compared, largest, summed
from score_jax.self_test.reference import Geometry, convolution, forward

_TURNS = 3
"""Of the loop."""
GEOMETRIES = {
    "3 x 3": ((2, 6, 5, 3, 4), Geometry(padding=(1, 1))),
    # Large enough for Winograd's algorithm, which the networks use on CPUs.
    "64 channels": ((2, 8, 16, 64, 64), Geometry(padding=(1, 1))),
    "strided": ((2, 7, 8, 3, 4), Geometry(strides=(2, 2), padding=(1, 1))),
    "dilated": ((2, 7, 6, 3, 4), Geometry(padding=(2, 2), rhs_dilation=(2, 2))),
    "transposed": ((2, 4, 3, 3, 4), Geometry(padding=(1, 2), lhs_dilation=(2, 2))),
}
"""Images, height, width, channels and features; and how the 3 x 3 kernel is applied."""
HALVINGS = {
    "Conv2d_1a": (299, 3, 32),
    "Mixed_6a.branch3x3": (35, 288, 384),
    "Mixed_6a.branch3x3dbl_3": (35, 96, 96),
    "Mixed_7a.branch3x3_2": (17, 192, 320),
    "Mixed_7a.branch7x7x3_4": (17, 192, 192),
}
"""The Inception's 3 x 3 convolutions of stride 2 without padding: size, channels and features."""
_BATCHES = range(1, 9)
_SMALL = 9
"""Size of images on CPUs, where the network's own take long."""


def _conv(x: Array, k: Array, geometry: Geometry) -> Array:
    return conv_general_dilated(
        x,
        k,
        geometry.strides,
        (geometry.padding, geometry.padding),
        lhs_dilation=geometry.lhs_dilation,
        rhs_dilation=geometry.rhs_dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )


def _with_gradients(x: Array, k: Array, cotangent: Array, geometry: Geometry) -> tuple[Array, Array, Array]:
    y, pull_back = jax.vjp(functools.partial(_conv, geometry=geometry), x, k)
    return y, *pull_back(cotangent)


def with_gradients(name: str) -> Measured:
    """Output and gradients of one of `GEOMETRIES`, as a program of its own and within `lax.scan`.

    Relative to the root of the sum of the squares of an output's terms; bound 4 eps sqrt(terms).
    """
    (images, height, width, channels, features), geometry = GEOMETRIES[name]
    size = geometry.output((height, width), (3, 3))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((_TURNS, images, height, width, channels), np.float32)
    k = rng.standard_normal((3, 3, channels, features), np.float32)
    cotangent = rng.standard_normal((_TURNS, images, *size, features), np.float32)
    once = jax.jit(functools.partial(_with_gradients, geometry=geometry))

    @jax.jit
    def loop(x: Array, k: Array, cotangent: Array) -> tuple[Array, Array, Array]:
        return jax.lax.scan(lambda _, pair: (None, once(pair[0], k, pair[1])), None, (x, cotangent))[1]

    outside = _stacked(once(x[turn], k, cotangent[turn]) for turn in range(_TURNS))
    inside = loop(x, k, cotangent)
    exact = [array.astype(np.float64) for array in (x, k, cotangent)]
    want = _in_numpy(exact, geometry)
    scale = [np.sqrt(squares) for squares in _in_numpy([array**2 for array in exact], geometry)]
    parts = (
        ("of the output", 9 * channels),
        ("of the input's gradient", 9 * features),
        ("of the kernel's gradient", images * math.prod(size)),
    )
    return largest(
        *(
            compared(got[i], want[i], scale[i], summed(terms), place + where)
            for i, (place, terms) in enumerate(parts)
            for got, where in ((outside, ""), (inside, " in a loop"))
        )
    )


def _in_numpy(arrays: Sequence[Float[np.ndarray, "..."]], geometry: Geometry) -> list[Float[np.ndarray, "n ..."]]:
    """`convolution` of each turn's x (n, b, h, w, c) and cotangent (n, b, oh, ow, d) with the one kernel."""
    x, k, cotangent = arrays
    return _stacked(convolution(x[turn], k, cotangent[turn], geometry) for turn in range(len(x)))


def _stacked(turns: Iterable[Sequence[Any]]) -> list[Float[np.ndarray, "n ..."]]:
    return [np.stack(parts) for parts in zip(*turns, strict=True)]


def halvings(sizes: Mapping[str, int] | None = None) -> Measured:
    """The Inception's strided convolutions of 1 to 8 images on each device, each image as NumPy has it alone.

    Relative to the root of the sum of the squares of an output's terms; bound 4 eps sqrt(terms).

    Args:
      sizes: of the images, by the names of `HALVINGS`; None: the network's own, small ones on CPUs.
    """
    if sizes is None:
        small = jax.default_backend() == "cpu"
        sizes = {name: _SMALL if small else size for name, (size, _, _) in HALVINGS.items()}
    rng = np.random.default_rng(0)
    geometry, images, kernels, want, scale = Geometry(strides=(2, 2)), {}, {}, {}, {}
    for name, (_, channels, features) in HALVINGS.items():
        x = rng.standard_normal((max(_BATCHES), sizes[name], sizes[name], channels), np.float32)
        k = rng.standard_normal((3, 3, channels, features), np.float32)
        images[name], kernels[name] = x, k
        want[name] = forward(x.astype(np.float64), k.astype(np.float64), geometry)
        scale[name] = np.sqrt(forward(x.astype(np.float64) ** 2, k.astype(np.float64) ** 2, geometry))
    mesh = make_mesh(devices=jax.local_devices())
    kernels = jax.device_put(kernels, replicated(mesh))
    halve = jax.jit(lambda x, k: {name: _conv(x[name], k[name], geometry) for name in x})
    measured = []
    for batch in _BATCHES:
        chosen = np.arange(batch * mesh.size) % max(_BATCHES)
        got = halve(jax.device_put({name: x[chosen] for name, x in images.items()}, over_batch(mesh)), kernels)
        for name, (_, channels, _) in HALVINGS.items():
            place = f"of {name} with {batch} images on each device"
            measured.append(compared(got[name], want[name][chosen], scale[name][chosen], summed(9 * channels), place))
    return largest(*measured)


_WRONG = "and scores, samples and training are wrong"
CHECKS = (
    *(
        Check(
            f"convolutions, {name}",
            functools.partial(with_gradients, name),
            f"Convolutions ({name}) or their gradients are miscompiled, {_WRONG}",
        )
        for name in GEOMETRIES
    ),
    Check(
        "the Inception's convolutions",
        halvings,
        "The strided convolutions of the Inception are miscompiled, and FID is wrong",
    ),
)
