"""EDM's augmentation: images are flipped, scaled, turned, stretched and moved, and the network is told how.

Karras et al. 2022 (section 5 and appendix F.2), after Karras et al. 2020 (ADA). As the network is told, it does not
draw such images: samples are drawn with labels of zeros.

All resampling is between two linear maps, which are matrices here: an image is reflected at its edges and upsampled
twice by the wavelet sym6, read there bilinearly, and downsampled. The original reflects no more than a batch needs,
so that an image depends on its neighbours where it is shrunk a lot; here it is always reflected as far as it can be.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float

from score_jax.typing import Image, KeyArray, KeyBatch

NUM_LABELS = 9
"""Of an image: mirrored left to right, upside down; log2 of the scale; cosine - 1 and sine of the turn; log2 of the
stretching times cosine and sine of its direction; shifts to the right and down. Logarithms and shifts in standard
deviations."""
_SCALE, _STRETCH, _SHIFT = 0.2, 0.2, 0.125
"""Standard deviations: log2, log2, and a share of the image's side."""
_OBLIQUE = 0.5
"""Share of stretchings whose direction is not along the axes."""
_SYM6 = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)
"""Low-pass filter of the wavelet (Daubechies 1992, table 6.3), whose sum is the square root of 2."""
_BEYOND = len(_SYM6) // 4
"""Pixels around the image that the downsampling reads."""


def augmented(keys: KeyBatch, x0: Image, share: float) -> tuple[Image, Float[Array, "b 9"]]:
    """Returns images after random changes, and the labels that tell a network of them.

    Half of the images are mirrored; each other change is made to a `share` of them.

    Args:
      keys: one per example.
      x0: (b, s, s, c), of which 0 is what lies behind the image's reflections.
      share: from 0 to 1.
    """
    changes, labels = jax.vmap(functools.partial(drawn, share=share))(keys)
    flipped = jnp.where(labels[:, 0, None, None, None] > 0, x0[:, :, ::-1], x0)
    flipped = jnp.where(labels[:, 1, None, None, None] > 0, flipped[:, ::-1], flipped)
    return jax.vmap(warped)(flipped, changes), labels


def drawn(key: KeyArray, share: float) -> tuple[Float[Array, "3 3"], Float[Array, "9"]]:
    """Returns where a pixel of a changed image comes from, and the labels.

    The matrix takes a place (x, y, 1) from the centre, in sides of the image, to one before the change; flips are not
    in it.
    """
    names = ("flips", "scale", "turn", "stretch", "direction", "oblique", "shift", "which")
    k = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    flips = jax.random.bernoulli(k["flips"], shape=(2,))
    upside_down, scaled, turned, stretched, shifted = jax.random.uniform(k["which"], (5,)) < share
    scale = scaled * jax.random.normal(k["scale"])
    angle = turned * jax.random.uniform(k["turn"], minval=-jnp.pi, maxval=jnp.pi)
    stretch = stretched * jax.random.normal(k["stretch"])
    oblique = jax.random.bernoulli(k["oblique"], _OBLIQUE)
    direction = oblique * jax.random.uniform(k["direction"], minval=-jnp.pi, maxval=jnp.pi)
    shift = shifted * jax.random.normal(k["shift"], (2,))
    told = [flips[0], flips[1] & upside_down, scale, jnp.cos(angle) - 1, jnp.sin(angle)]
    told += [stretch * jnp.cos(direction), stretch * jnp.sin(direction), *shift]
    labels = jnp.stack([jnp.asarray(label, jnp.float32) for label in told])
    return change_of(scale, angle, stretch, direction, shift), labels


def change_of(
    scale: Float[Array, ""],
    angle: Float[Array, ""],
    stretch: Float[Array, ""],
    direction: Float[Array, ""],
    shift: Float[Array, "2"],
) -> Float[Array, "3 3"]:
    """Returns the matrix of `drawn`.

    Args:
      scale: log2 of the scale, in standard deviations.
      angle: by which the image is turned, radians.
      stretch: log2 of the stretching along `direction`, in standard deviations; across it the image is shrunk.
      direction: radians.
      shift: to the right and down, in standard deviations.
    """
    larger, longer = 2 ** (-_SCALE * scale), 2 ** (-_STRETCH * stretch)
    linear = larger * _turn(angle) @ _turn(-direction) @ jnp.diag(jnp.stack([longer, 1 / longer])) @ _turn(direction)
    return jnp.eye(3, dtype=linear.dtype).at[:2, :2].set(linear).at[:2, 2].set(linear @ (-_SHIFT * shift))


def _turn(angle: Float[Array, ""]) -> Float[Array, "2 2"]:
    return jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])


def warped(image: Float[Array, "s s c"], change: Float[Array, "3 3"]) -> Float[Array, "s s c"]:
    """Returns an image whose pixels come from where the matrix says, as of `drawn`."""
    size = image.shape[0]
    up, down = (jnp.asarray(matrix, image.dtype) for matrix in resampling(size))
    fine = jnp.einsum("ih,hwc,jw->ijc", up, image, up)
    # Places in halves of a pixel from the centre; both fine images begin half of one of theirs beside it.
    at = jnp.arange(down.shape[1]) + 0.5 - down.shape[1] / 2 + 0.5
    x, y = jnp.meshgrid(at, at)
    unit = 2 * size
    places = jnp.stack([x / unit, y / unit, jnp.ones_like(x)])
    columns, rows, _ = (
        jnp.einsum("ij,jhw->ihw", change.astype(image.dtype), places) * unit - 0.5 + (up.shape[0] - 1) / 2
    )
    read = functools.partial(map_coordinates, coordinates=[rows, columns], order=1, mode="constant", cval=0.0)
    return jnp.einsum("hi,ijc,wj->hwc", down, jax.vmap(read, 2, 2)(fine), down)


@functools.cache
def resampling(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the matrices of reflecting and upsampling an axis of `size` pixels, and of downsampling one of twice as
    many and twelve.
    """
    whole = 3 * size - 2  # with all that can be reflected at both ends
    mirrored = np.abs(np.arange(1 - size, 2 * size - 1))
    mirrored = np.where(mirrored < size, mirrored, 2 * (size - 1) - mirrored)
    up, taps = np.zeros((2 * whole, size)), len(_SYM6)
    for place in range(2 * whole):
        for tap in range(taps):
            zeros_between = place - taps // 2 + tap
            if zeros_between % 2 == 0 and 0 <= zeros_between // 2 < whole:
                up[place, mirrored[zeros_between // 2]] += _SYM6[taps - 1 - tap]
    fine = 2 * (size + 2 * _BEYOND)
    down = np.zeros((size, fine))
    for place in range(size):
        for tap in range(taps):
            read = 2 * (place + _BEYOND) - (taps - 1) // 2 + tap
            if 0 <= read < fine:
                down[place, read] += _SYM6[tap]
    return up, down
