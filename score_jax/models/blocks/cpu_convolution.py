"""The convolution of all networks here: XLA's own on accelerators, and the same in forms fast in loops on CPUs.

XLA brings the convolutions of a program into the form that its CPU kernels compute, NHWC images and HWIO kernels, but
only where they stand outside loops and called computations. As JAX derives them, both gradients of a convolution are in
another form: within `lax.scan`, `while_loop` and a diffrax solve they take 20 to 60 times as long. Here they are in the
fast form already. Of the three maps that a convolution y = x * k defines,

    output (x, k) -> y     image (y, k) -> x     kernel (x, y) -> k

each is bilinear, and its transposes are the other two, so that every mode and order of differentiation stays among
them. `image` is the transpose with respect to x: the gradient of the input; `kernel` that with respect to k.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from score_jax.models.blocks import kernel_products, winograd
from score_jax.typing import Image, Resized

Pair = tuple[int, int]
_LAYOUTS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A convolution, but for its arrays; each pair is (height, width).

    Attributes:
      image: size of x.
      kernel: size of k.
      strides: between the places where k is applied.
      padding: (before, after) in height and in width; negative values crop.
      image_dilation: 1 + the zeros between neighbours of x.
      kernel_dilation: 1 + the zeros between neighbours of k.
      precision: of the products, as lax takes it.
    """

    image: Pair
    kernel: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    image_dilation: Pair
    kernel_dilation: Pair
    precision: Any

    @property
    def output(self) -> Pair:
        """Size of y."""
        padded = [_spread(n, a) + sum(pad) for n, a, pad in _zip(self.image, self.image_dilation, self.padding)]
        reach = [_spread(m, r) for m, r in _zip(self.kernel, self.kernel_dilation)]
        height, width = [(n - m) // s + 1 for n, m, s in _zip(padded, reach, self.strides)]
        return max(0, height), max(0, width)

    @property
    def keeps_size(self) -> bool:
        """Whether it is a plain 3 x 3 convolution whose output has the size of its input."""
        plain = self.strides == self.image_dilation == self.kernel_dilation == (1, 1)
        return plain and self.kernel == (3, 3) and self.padding == ((1, 1), (1, 1))


def conv_general_dilated(
    lhs: Image,
    rhs: Array,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = _LAYOUTS,
    feature_group_count: int = 1,
    precision: Any = None,
) -> Resized:
    """`lax.conv_general_dilated` of NHWC images with an HWIO kernel, as `flax.linen.Conv` calls it.

    Args:
      lhs: images (b, h, w, c).
      rhs: kernel (kh, kw, c, d).
      window_strides: as in lax.
      padding: as in lax.
      lhs_dilation: as in lax.
      rhs_dilation: as in lax.
      dimension_numbers: as in lax; other layouts are left to it.
      feature_group_count: as in lax; channels in groups are left to it.
      precision: as in lax.
    """
    image_dilation, kernel_dilation = _pair(lhs_dilation or (1, 1)), _pair(rhs_dilation or (1, 1))
    layouts = (lax.conv_dimension_numbers(lhs.shape, rhs.shape, names) for names in (dimension_numbers, _LAYOUTS))
    dilated_by_name = isinstance(padding, str) and image_dilation != (1, 1)  # which lax refuses
    if feature_group_count != 1 or dilated_by_name or next(layouts) != next(layouts):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            precision=precision,
        )
    size, kernel = _pair(lhs.shape[1:3]), _pair(rhs.shape[:2])
    if isinstance(padding, str):
        reach = [_spread(m, r) for m, r in _zip(kernel, kernel_dilation)]
        padding = lax.padtype_to_pads(size, reach, window_strides, padding)
    geometry = Geometry(
        image=size,
        kernel=kernel,
        strides=_pair(window_strides),
        padding=(_pair(padding[0]), _pair(padding[1])),
        image_dilation=image_dilation,
        kernel_dilation=kernel_dilation,
        precision=_ambient_precision() if precision is None else precision,
    )
    return _output.bind(lhs, rhs, geometry=geometry)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""Flax's convolution by this one."""


def _pair(values: Sequence[int]) -> Pair:
    first, second = values
    return int(first), int(second)


def _zip(*pairs: Sequence) -> list[tuple]:
    return list(zip(*pairs, strict=True))


def _spread(length: int, dilation: int) -> int:
    return dilation * (length - 1) + 1


def _ambient_precision() -> str | None:
    """That of matrix products where this is traced, as lax takes it; where the program is lowered it may be another."""
    config: Any = jax.config
    return config.jax_default_matmul_precision


# As JAX writes them: what accelerators are given.


def _output_direct(x: Image, k: Array, *, geometry: Geometry) -> Resized:
    g = geometry
    return lax.conv_general_dilated(
        x, k, g.strides, g.padding, g.image_dilation, g.kernel_dilation, _LAYOUTS, precision=g.precision
    )


def _image_direct(y: Resized, k: Array, *, geometry: Geometry) -> Image:
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.image, k.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: _output_direct(x, k, geometry=geometry), x)(y)[0]


def _kernel_direct(x: Image, y: Resized, *, geometry: Geometry) -> Array:
    k = jax.ShapeDtypeStruct((*geometry.kernel, x.shape[3], y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda k: _output_direct(x, k, geometry=geometry), k)(y)[0]


# As CPUs are given them: convolutions of arrays in the layouts that they are computed in, behind barriers where XLA
# would see how they came about and undo it.


def _canonical(
    x: Image,
    k: Array,
    strides: Pair,
    padding: Sequence[Pair],
    image_dilation: Pair,
    kernel_dilation: Pair,
    precision: Any,
) -> Resized:
    """`lax.conv_general_dilated` of NHWC and HWIO.

    Where the kernel has more pixels than the image XLA would swap the two, and where one side is cropped and the other
    padded its CPU kernels read beside the image; with its border in place neither happens.
    """
    swapped = math.prod(k.shape[:2]) > math.prod(x.shape[1:3])
    if swapped or min(side for sides in padding for side in sides) < 0:
        (top, bottom), (left, right) = padding
        borders = ((0, 0, 0), (top, bottom, image_dilation[0] - 1), (left, right, image_dilation[1] - 1), (0, 0, 0))
        x = lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), borders))
        padding, image_dilation = ((0, 0), (0, 0)), (1, 1)
    return lax.conv_general_dilated(
        x, k, strides, padding, image_dilation, kernel_dilation, _LAYOUTS, precision=precision
    )


def _output_on_cpu(x: Image, k: Array, *, geometry: Geometry) -> Resized:
    g = geometry
    if g.keeps_size and winograd.pays(x, k):
        return winograd.winograd(x, k, transposed=False, precision=g.precision)
    return _canonical(x, k, g.strides, g.padding, g.image_dilation, g.kernel_dilation, g.precision)


def _image_on_cpu(y: Resized, k: Array, *, geometry: Geometry) -> Image:
    """The convolution of y, its pixels spread by the strides, with the turned kernel."""
    g = geometry
    if g.keeps_size and winograd.pays(y, k):
        return winograd.winograd(y, k, transposed=True, precision=g.precision)
    turned = lax.optimization_barrier(jnp.transpose(k[::-1, ::-1], (0, 1, 3, 2)))
    reach = [_spread(m, r) for m, r in _zip(g.kernel, g.kernel_dilation)]
    before = [m - 1 - pad[0] for m, pad in _zip(reach, g.padding)]
    padding = [
        (lo, _spread(n, a) + m - 1 - _spread(o, s) - lo)
        for n, a, m, o, s, lo in _zip(g.image, g.image_dilation, reach, g.output, g.strides, before)
    ]
    return _canonical(y, turned, g.image_dilation, padding, g.strides, g.kernel_dilation, g.precision)


def _kernel_on_cpu(x: Image, y: Resized, *, geometry: Geometry) -> Array:
    """The convolution of x with y as its kernel: channels are images, and images are channels."""
    g = geometry
    if g.image_dilation == (1, 1) and kernel_products.pays(x, y, g.kernel):
        return kernel_products.by_products(
            x,
            y,
            g.kernel,
            strides=g.strides,
            padding=g.padding,
            dilation=g.kernel_dilation,
            precision=g.precision,
        )
    images, kernels = lax.optimization_barrier((jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(y, (1, 2, 0, 3))))
    padding = [
        (lo, _spread(m, r) - 1 + _spread(o, s) - _spread(n, a) - lo)
        for n, a, m, r, o, s, (lo, _) in _zip(
            g.image, g.image_dilation, g.kernel, g.kernel_dilation, g.output, g.strides, g.padding
        )
    ]
    gradient = _canonical(images, kernels, g.kernel_dilation, padding, g.image_dilation, g.strides, g.precision)
    return jnp.transpose(gradient, (1, 2, 0, 3))


def _primitive(
    name: str,
    direct: Callable[..., Array],
    on_cpu: Callable[..., Array],
    shape: Callable[[tuple, tuple, Geometry], tuple[int, ...]],
    axes: tuple[Pair, Pair],
) -> Primitive:
    """A bilinear map without its transposes.

    Args:
      name: of the primitive.
      direct: as accelerators are given it.
      on_cpu: as CPUs are given it.
      shape: of the result, from the shapes of both arguments.
      axes: for each argument, one of its axes and the axis of the result that become longer together.
    """
    primitive = Primitive(f"convolution_{name}")
    jitted = jax.jit(primitive.bind, static_argnames="geometry")

    def run(a: Array, b: Array, *, geometry: Geometry) -> Array:
        config: Any = jax.config
        return (direct if config.jax_disable_jit else jitted)(a, b, geometry=geometry)

    def lowered_for_cpu(a: Array, b: Array, *, geometry: Geometry) -> Array:
        return (on_cpu if min(geometry.output) else direct)(a, b, geometry=geometry)

    primitive.def_impl(run)
    primitive.def_abstract_eval(lambda a, b, *, geometry: a.update(shape=shape(a.shape, b.shape, geometry)))
    mlir.register_lowering(primitive, mlir.lower_fun(direct, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(lowered_for_cpu, multiple_results=False), platform="cpu")

    def batched(arguments: Sequence[Array], places: Sequence[int | None], *, geometry: Geometry):
        mapped = [i for i, place in enumerate(places) if place is not None]
        if len(mapped) == 2:
            return jax.vmap(lambda a, b: direct(a, b, geometry=geometry), tuple(places))(*arguments), 0
        which = mapped[0]
        own, of_result = axes[which]
        widened = list(arguments)
        many = jnp.moveaxis(arguments[which], cast(int, places[which]), own)
        together = many.shape[own] * many.shape[own + 1]
        widened[which] = many.reshape(*many.shape[:own], together, *many.shape[own + 2 :])
        found = primitive.bind(*widened, geometry=geometry)
        split = many.shape[own : own + 2]
        return found.reshape(*found.shape[:of_result], *split, *found.shape[of_result + 1 :]), of_result

    batching.primitive_batchers[primitive] = batched
    return primitive


_output = _primitive(
    "output",
    _output_direct,
    _output_on_cpu,
    lambda x, k, geometry: (x[0], *geometry.output, k[3]),
    axes=((0, 0), (3, 3)),
)
_image = _primitive(
    "image",
    _image_direct,
    _image_on_cpu,
    lambda y, k, geometry: (y[0], *geometry.image, k[2]),
    axes=((0, 0), (2, 3)),
)
_kernel = _primitive(
    "kernel",
    _kernel_direct,
    _kernel_on_cpu,
    lambda x, y, geometry: (*geometry.kernel, x[3], y[3]),
    axes=((3, 2), (3, 3)),
)
ad.defbilinear(
    _output,
    lambda y, _, k, *, geometry: _image.bind(y, k, geometry=geometry),
    lambda y, x, _, *, geometry: _kernel.bind(x, y, geometry=geometry),
)
ad.defbilinear(
    _image,
    lambda x, _, k, *, geometry: _output.bind(x, k, geometry=geometry),
    lambda x, y, _, *, geometry: _kernel.bind(x, y, geometry=geometry),
)
ad.defbilinear(
    _kernel,
    lambda k, _, y, *, geometry: _image.bind(y, k, geometry=geometry),
    lambda k, x, _, *, geometry: _output.bind(x, k, geometry=geometry),
)
