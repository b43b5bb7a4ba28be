"""Views of an image, for CLIP to judge: the extending augmentations of Blended Diffusion (Avrahami et al. 2022).

Their code calls kornia's RandomAffine(15, translate=0.1, p=0.7, padding_mode="border") and RandomPerspective(0.7,
p=0.7). What that means was read off kornia 0.9 by running it:

- The scalar `translate` is taken as the pair (0, 0.1): images move up and down, never sideways.
- A warp is bilinear with align_corners=False; a perspective leaves zeros outside the image, in [-1, 1] grey.
- What is not chosen, at 0.3 each, stays as it is.

Kornia of 2021 (0.6.1) draws the same, but its perspective also magnifies by w / (w - 1), which is not done here.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.arrays import fold_in_each
from score_jax.errors import InputError
from score_jax.typing import Image, KeyArray, KeyBatch, Resized, Scalar

Matrix = Float[Array, "3 3"]
"""A homography of pixels: `matrix @ (x, y, 1)` is where (x, y) goes, up to a factor; (0, 0) is the first pixel."""
Size = tuple[int, int]
"""Height and width."""
Views = Float[Array, "_ _ _ _"]
"""Several of each image: the first of all of them, then the second of all of them."""

_PROBABILITY = 0.7
_MAX_DEGREES = 15.0
_MAX_FALL = 0.1  # of the height
_MAX_INWARD = 0.7 / 2  # of the width and the height
_NEVER_ZERO = 1e-30


def _pooling(length: int, size: int) -> np.ndarray:
    """Row i averages from floor(i length / size) up to ceil((i + 1) length / size)."""
    i, place = np.arange(size)[:, None], np.arange(length)[None]
    inside = (place >= i * length // size) & (place < -(-(i + 1) * length // size))
    return inside / inside.sum(axis=1, keepdims=True)


def average_pooled(x: Image, size: int) -> Resized:
    """The means over `size` x `size` bins, whose lengths differ and which overlap by a pixel where size is no divisor.

    As PyTorch's AdaptiveAvgPool2d.
    """
    rows, columns = (jnp.asarray(_pooling(length, size), x.dtype) for length in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision="highest")


def tiled(x: Image, count: int) -> Views:
    """Returns `count` copies of a batch: all images, then all images again."""
    return jnp.tile(x, (count, 1, 1, 1))


def _normalising(size: Size) -> np.ndarray:
    """Pixels to coordinates of order 1, in which float32 inverts a homography well."""
    h, w = size
    return np.array([[2 / w, 0, (1 - w) / w], [0, 2 / h, (1 - h) / h], [0, 0, 1]])


def _sources(matrix: Matrix, size: Size) -> Float[Array, "2 h w"]:
    """The row and the column in the image of what each pixel of the warped image shows."""
    normalise = _normalising(size)
    back = np.linalg.inv(normalise)
    a, b, c = jnp.einsum("ij,jk,kl->il", normalise, matrix, back, precision="highest")
    inverse = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)  # up to a factor
    y, x = np.indices(size)
    pixels = normalise @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    u, v, scale = jnp.einsum("ij,jn->in", inverse, pixels, precision="highest")
    scale = jnp.where(scale == 0, _NEVER_ZERO, scale)
    rows, columns = v / scale * back[1, 1] + back[1, 2], u / scale * back[0, 0] + back[0, 2]
    return jnp.stack([rows, columns]).reshape(2, *size)


def _bilinear(image: Float[Array, "h w c"], places: Float[Array, "2 _ _"]) -> Float[Array, "_ _ c"]:
    """The image between its pixels, at rows and columns; those outside it are those of its border."""
    last = np.array(image.shape[:2])[:, None, None] - 1
    places = jnp.clip(places, 0, last)
    before = jnp.floor(places)
    after_share = (places - before).astype(image.dtype)[..., None]
    rows, columns = jnp.minimum(jnp.stack([before, before + 1], axis=1), last[:, None]).astype(int)

    def between(row: Int[Array, "_ _"]) -> Float[Array, "_ _ c"]:
        left, right = (image.at[row, column].get(mode="clip") for column in columns)
        return left + after_share[1] * (right - left)

    above, below = map(between, rows)
    return above + after_share[0] * (below - above)


def warped(x: Image, matrices: Float[Array, "b 3 3"], padding: Literal["border", "zeros"]) -> Image:
    """Moves images by homographies, with bilinear interpolation.

    Args:
      x: images (b, h, w, c).
      matrices: one `Matrix` each, of any scale.
      padding: what is outside the image: its nearest pixel, or 0.
    """
    size = (x.shape[1], x.shape[2])
    ring = {"border": 0, "zeros": 1}[padding]  # farther out than a ring of zeros there is nothing else
    ringed = jnp.pad(x, ((0, 0), (ring, ring), (ring, ring), (0, 0)))
    places = jax.vmap(lambda matrix: _sources(matrix, size))(matrices) + ring
    return jax.vmap(_bilinear)(ringed, places)


def affine_matrix(degrees: Scalar, shift: Float[Array, "2"], size: Size) -> Matrix:
    """Returns a rotation about the centre, clockwise to the eye where positive, and then a shift.

    Args:
      degrees: the angle.
      shift: (x, y) in pixels, to the right and down.
      size: of the image.
    """
    cos, sin = jnp.cos(jnp.deg2rad(degrees)), jnp.sin(jnp.deg2rad(degrees))
    rotation = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
    centre = (np.array(size[::-1]) - 1) / 2
    moved = centre + shift - (rotation * centre[None]).sum(axis=1)
    return jnp.concatenate([jnp.concatenate([rotation, moved[:, None]], axis=1), jnp.eye(3)[2:]])


def _corners(size: Size) -> np.ndarray:
    """The pixels in the corners as (x, y): the upper left one, then clockwise."""
    h, w = size
    return np.array([[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]], float)


def perspective_matrix(corners: Float[Array, "4 2"], size: Size) -> Matrix:
    """Returns the homography that takes the four pixels in the corners of an image to `corners`.

    In homogeneous coordinates the corners of a rectangle have c0 + c2 = c1 + c3, so their images p, with the factors
    that points have there, do too: the factors are the determinants of the other three.

    Args:
      corners: where they go, (x, y): the upper left one, then clockwise.
      size: of the image, at least 2 x 2.
    """
    h, w = size
    points = jnp.concatenate([corners, jnp.ones((4, 1), corners.dtype)], axis=1)
    others = jnp.stack([points[jnp.array(rest)] for rest in ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))])
    origin, right, _, down = points * jnp.linalg.det(others)[:, None]
    return jnp.stack([(right - origin) / (w - 1), (down - origin) / (h - 1), origin], axis=1)


def draw_affine(key: KeyArray, size: Size) -> Matrix:
    """Returns a rotation by up to 15 degrees and a shift up or down by up to a tenth of the height, both uniform."""
    degrees, fall = jax.random.uniform(key, (2,), minval=-1.0) * jnp.array([_MAX_DEGREES, _MAX_FALL * size[0]])
    return affine_matrix(degrees, jnp.stack([jnp.zeros_like(fall), fall]), size)


def draw_perspective(key: KeyArray, size: Size) -> Matrix:
    """Every corner moves inwards, by a uniform share of up to 0.35 of the width and of up to 0.35 of the height."""
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * _MAX_INWARD * np.array([size[::-1]])
    return perspective_matrix(_corners(size) + jax.random.uniform(key, (4, 2)) * inwards, size)


def _sometimes(
    keys: KeyBatch, x: Image, draw: Callable[[KeyArray, Size], Matrix], padding: Literal["border", "zeros"]
) -> Image:
    """The warp that each key draws, of those images that it chooses."""
    size = (x.shape[1], x.shape[2])
    chosen = jax.vmap(lambda key: jax.random.bernoulli(key, _PROBABILITY))(fold_in_each(keys, 0))
    matrices = jax.vmap(lambda key: draw(key, size))(fold_in_each(keys, 1))
    return jnp.where(chosen[:, None, None, None], warped(x, matrices, padding), x)


def random_affine(keys: KeyBatch, x: Image) -> Image:
    """Applies `draw_affine` to 0.7 of the images; beyond the border the edge pixels are repeated."""
    return _sometimes(keys, x, draw_affine, "border")


def random_perspective(keys: KeyBatch, x: Image) -> Image:
    """Applies `draw_perspective` to 0.7 of the images; beyond the border the image is 0."""
    return _sometimes(keys, x, draw_perspective, "zeros")


def clip_views(keys: KeyBatch, x: Image, size: int, count: int) -> Views:
    """Returns views of images: the pooled image and `count - 1` random ones, first an affine map, then a perspective.

    Args:
      keys: one per image; its views depend on nothing else.
      x: images (b, h, w, c).
      size: height and width of the views, CLIP's 224.
      count: views per image; 8 in the published code.

    Returns:
      (count b, size, size, c): all images as they are, then the second view of all of them, and so on.

    Raises:
      InputError: there would be no views.
    """
    if count < 1:
        raise InputError(f"{count} views of an image: expected at least 1, the image itself.")
    pooled = average_pooled(x, size)
    if count == 1:
        return pooled
    views = jnp.concatenate([fold_in_each(keys, view) for view in range(1, count)])
    moved = random_affine(fold_in_each(views, 0), tiled(pooled, count - 1))
    return jnp.concatenate([pooled, random_perspective(fold_in_each(views, 1), moved)])
