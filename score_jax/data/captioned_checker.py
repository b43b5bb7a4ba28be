"""What is in an image of `captioned_shapes`, read from its pixels: the judge of models that draw from captions.

The background is the nearest one to the median of the border, a colour the nearest one to the median of a shape's
pixels, the position the nearest one to its centroid; shape and size are those of the drawn template that differs least.
An image is always read as something, so noise is right about as often as a guess.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from score_jax.data.captioned_shapes import (
    BACKGROUNDS,
    COLOURS,
    FINE,
    POSITIONS,
    RADIUS,
    SHAPES,
    SIDE,
    SIZES,
    Combination,
    Placed,
    Related,
    Thing,
    coverage,
    parse_caption,
)
from score_jax.errors import InputError

Images = UInt8[np.ndarray, "n 32 32 3"]
Masks = Float[np.ndarray, "n 32 32"]
_SCALES = (0.9, 1.0, 1.1)
_WINDOW = 22
"""Pixels around a centroid in which a shape is compared with its templates."""
_NEAR, _FEW = 0.3, 6
"""How far from a colour a pixel may be to be of it (summed over channels), and how many pixels make an object."""
_FAINT = 0.1
"""What is covered less than this is background: noise there would draw a centroid to the middle."""
_AT_A_TIME = 512
ONE, TWO = ("size", "colour", "shape", "position", "background"), ("count", "colours", "shapes", "binding", "relation")
"""What is judged of an image of each kind."""
_AMONG = {"colours": TWO[:1], "shapes": TWO[:1], "binding": TWO[:3], "relation": TWO[:4]}
"""Of the kind "two": what must be right before an attribute says anything."""


def read_images(images: Images, kind: str) -> list[Combination | None]:
    """Reads what is in images.

    Args:
      images: of any number.
      kind: "one" or "two", see `captioned_shapes`.

    Returns:
      For each image its combination, whose `captions` say it; None where no object of the kind "two" is found.
    """
    reader = _read_placed if kind == "one" else _read_related
    parts = [reader(images[i : i + _AT_A_TIME] / 255) for i in range(0, len(images), _AT_A_TIME)]
    return [each for part in parts for each in part]


def judged(images: Images, captions: Sequence[str]) -> dict[str, Bool[np.ndarray, "n"]]:
    """Compares images with their captions, attribute by attribute.

    Args:
      images: n of them.
      captions: one for each, all of one kind.

    Returns:
      For each attribute of the kind whether it is right, and "all", whether all are. Of the kind "two": the number of
      objects, the colours, the shapes, which shape has which colour, and how the objects stand; each is judged as far
      as those before it allow, so that one change makes one attribute wrong.

    Raises:
      InputError: captions of both kinds, of none, or not one for each image.
    """
    if len(images) != len(captions):
        raise InputError(f"There are {len(images)} images and {len(captions)} captions: expected one for each.")
    wanted = [parse_caption(caption) for caption in captions]
    placed = {isinstance(each, Placed) for each in wanted}
    if len(placed) > 1:
        raise InputError("The captions are of both kinds of captioned_shapes: judge 'one' and 'two' apart.")
    one = True in placed
    found = read_images(images, "one" if one else "two")
    rows = [_right(a, b) for a, b in zip(found, wanted, strict=True)]
    table = np.array(rows, bool).reshape(len(rows), len(TWO))
    right = dict(zip(ONE if one else TWO, table.T, strict=True))
    return {**right, "all": np.all(table, axis=1)}


def share_right(images: Images, captions: Sequence[str]) -> dict[str, float]:
    """Returns the share of images whose attributes are as their captions say, by attribute and of "all" at once.

    Of the kind "two", colours and shapes are counted among the images with the right number of objects, "binding" among
    those whose colours and shapes are right too, "relation" among those whose objects are right; 0 of none.

    Raises:
      InputError: see `judged`; or there are no images.
    """
    if not len(images):
        raise InputError("There are no images to judge: give at least one.")
    right = judged(images, captions)
    shares = {}
    for name, each in right.items():
        among = np.all([np.ones(len(each), bool), *(right[before] for before in _AMONG.get(name, ()))], axis=0)
        shares[name] = float(each[among].mean()) if among.any() else 0.0
    return shares


def _right(found: Combination | None, wanted: Combination) -> list[bool]:
    """Which of `ONE` or `TWO` are right."""
    if isinstance(wanted, Placed):
        return [getattr(found, name) == getattr(wanted, name) for name in ONE]
    if not isinstance(found, Related):
        return [False] * len(TWO)
    ours, theirs = _things(found), _things(wanted)
    count = len(ours) == len(theirs)
    colours, shapes = (
        not count or sorted(getattr(a, name) for a in ours) == sorted(getattr(b, name) for b in theirs)
        for name in ("colour", "shape")
    )
    binding = not (count and colours and shapes) or set(ours) == set(theirs)
    same = count and set(ours) == set(theirs)
    relation = not count or (found.relation == wanted.relation and (not same or ours == theirs))
    return [count, colours, shapes, binding, relation]


def _things(each: Related) -> list[Thing]:
    return [each.first] if each.second is None else [each.first, each.second]


def _nearest(pixels: Float[np.ndarray, "*n 3"], palette: dict) -> Int[np.ndarray, "*n"]:
    return abs(pixels[..., None, :] - np.array(list(palette.values()))).sum(-1).argmin(-1)


def _backgrounds(images: Float[np.ndarray, "n 32 32 3"]) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n 3"]]:
    """Which background each image has, and its colour there."""
    border = np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)
    colour = np.median(border, axis=1)
    return _nearest(colour, BACKGROUNDS), colour


def _centroid(masks: Masks) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from the left and from the upper edge; the middle of an empty mask."""
    total, at = masks.sum((1, 2)), np.arange(SIDE) + 0.5
    x, y = (np.where(total > 0, masks.sum(axis) @ at / np.maximum(total, 1e-9), SIDE / 2) for axis in (1, 2))
    return x, y


@functools.cache
def _templates(radius: float) -> Float[np.ndarray, "4 4 k w w"]:
    """Every shape at every scale, its centroid a quarter pixel further right and down for each of the first indices."""
    middle = _WINDOW // 2
    shifts = np.arange(FINE) / FINE
    return np.array(
        [
            [
                [coverage(shape, middle + x, middle + y, radius * s, _WINDOW) for shape in SHAPES for s in _SCALES]
                for x in shifts
            ]
            for y in shifts
        ],
        np.float32,
    )


def _best_shape(masks: Masks, radii: Sequence[float]) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Which of `SHAPES` each mask is, and which of the radii it has."""
    x, y = (np.round(each * FINE).astype(int) for each in _centroid(masks))
    half = _WINDOW // 2
    padded = np.pad(masks.astype(np.float32), ((0, 0), (half, half), (half, half)))
    rows, columns = (each[:, None] // FINE + np.arange(_WINDOW) for each in (y, x))
    windows = padded[np.arange(len(masks))[:, None, None], rows[:, :, None], columns[:, None, :]]
    differ = [abs(windows[:, None] - _templates(radius)[y % FINE, x % FINE]).sum((2, 3)) for radius in radii]
    each = np.stack(differ, axis=1).reshape(len(masks), len(radii), len(SHAPES), len(_SCALES)).min(-1)
    best = each.reshape(len(masks), -1).argmin(-1)
    return best % len(SHAPES), best // len(SHAPES)


def _covered(images: Float[np.ndarray, "n 32 32 3"], behind: np.ndarray, colour: np.ndarray) -> Masks:
    """How far each pixel has gone from the background (n, 3) to an object's colour (n, 3): 0 to 1."""
    towards = colour - behind
    gone = np.einsum("nhwc,nc->nhw", images - behind[:, None, None], towards)
    gone = np.clip(gone / np.maximum((towards**2).sum(-1), 1e-6)[:, None, None], 0, 1)
    return np.where(gone < _FAINT, 0, gone)


def _read_placed(images: Float[np.ndarray, "n 32 32 3"]) -> list[Placed]:
    background, behind = _backgrounds(images)
    differs = abs(images - behind[:, None, None]).sum(-1)
    most = np.percentile(differs, 99, axis=(1, 2))[:, None, None]
    core = np.where((differs >= 0.9 * most)[..., None], images, np.nan)
    own = np.nanmedian(core.reshape(len(images), -1, 3), axis=1)
    masks = _covered(images, behind, own)
    at = np.stack(_centroid(masks), axis=-1) - SIDE / 2
    position = abs(at[:, None] - np.array(list(POSITIONS.values()))).sum(-1).argmin(-1)
    shape, size = _best_shape(masks, list(SIZES.values()))
    tables: list[Iterable[str]] = [SIZES, COLOURS, SHAPES, POSITIONS, BACKGROUNDS]
    rows = zip(size, _nearest(own, COLOURS), shape, position, background, strict=True)
    return [Placed(*(list(table)[i] for table, i in zip(tables, row, strict=True))) for row in rows]


@dataclasses.dataclass(frozen=True)
class _Objects:
    """The object of one colour in each image: whether it is there, its shape, and where."""

    there: Bool[np.ndarray, "n"]
    colour: Int[np.ndarray, "n"]
    shape: Int[np.ndarray, "n"]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]

    def thing(self, i: int) -> Thing:
        """That of image i."""
        return Thing(list(COLOURS)[self.colour[i]], list(SHAPES)[self.shape[i]])


def _read_related(images: Float[np.ndarray, "n 32 32 3"]) -> list[Related | None]:
    _, behind = _backgrounds(images)
    palette, n = np.array(list(COLOURS.values())), np.arange(len(images))
    of_colour = abs(images[..., None, :] - palette).sum(-1) < _NEAR
    counts = of_colour.sum((1, 2))
    two = np.argsort(-counts, axis=1, kind="stable")[:, :2]
    cores = [of_colour[n, :, :, two[:, k]].astype(float) for k in (0, 1)]
    there = [counts[n, two[:, k]] >= _FEW for k in (0, 1)]
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    places = [np.stack(_centroid(core))[:, :, None, None] for core in cores]
    distances = [(x - px) ** 2 + (y - py) ** 2 for px, py in places]
    objects = []
    for k in (0, 1):
        own = (images * cores[k][..., None]).sum((1, 2)) / np.maximum(cores[k].sum((1, 2)), 1)[:, None]
        mine = ~there[1 - k][:, None, None] | (distances[k] < distances[1 - k])
        masks = np.where(mine, _covered(images, behind, own), 0)
        shape, _ = _best_shape(masks, [RADIUS])
        objects.append(_Objects(there[k], two[:, k], shape, *_centroid(masks)))
    return [_related(objects[0], objects[1], i) for i in range(len(images))]


def _related(a: _Objects, b: _Objects, i: int) -> Related | None:
    if not a.there[i]:
        return None
    if not b.there[i]:
        return Related(a.thing(i))
    across, down = b.x[i] - a.x[i], b.y[i] - a.y[i]
    relation, forth = ("beside", across > 0) if abs(across) > abs(down) else ("above", down > 0)
    return Related(a.thing(i), b.thing(i), relation) if forth else Related(b.thing(i), a.thing(i), relation)
