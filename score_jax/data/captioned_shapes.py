"""Captioned shapes: images of coloured shapes that are drawn from a seed, with captions that say what is in them.

Of the first kind, "one", a caption says all five attributes: "a small red circle on the left of a white background".
Of the second, "two", it says one or two objects and how they stand: "a red square above a blue circle"; the background
is left to chance there. Place, radius and shade vary a little and are never said. Some combinations of attributes are
held out: a model that draws them has put together what it never saw together.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from score_jax.errors import InputError, quoted

SIDE, FINE = 32, 4
"""Pixels of an image, and points across each of them: images are drawn at 128 and averaged."""
SIZES = {"small": 4.0, "large": 6.8}
"""Radii in pixels."""
COLOURS = {
    "red": (0.8, 0.05, 0.05),
    "green": (0.1, 0.6, 0.15),
    "blue": (0.1, 0.2, 0.9),
    "yellow": (1.0, 0.95, 0.25),
    "purple": (0.55, 0.1, 0.7),
    "orange": (0.95, 0.45, 0.0),
}
"""At least 0.55 from each other and 0.6 from each background, as a sum over red, green and blue."""
BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5)}
POSITIONS = {
    "on the left": (-6.5, 0.0),
    "on the right": (6.5, 0.0),
    "at the top": (0.0, -6.5),
    "at the bottom": (0.0, 6.5),
}
"""From the middle of the image: pixels to the right, and down."""
RELATIONS = {"beside": ("to the left of", "to the right of"), "above": ("above", "below")}
"""Two objects side by side, or one above the other: what the first is to the second, and the second to the first."""
RADIUS, APART = 5.0, 7.5
"""Of the kind "two": every radius, and how far each of two objects is from the middle; pixels."""
_JITTER, _SCALES, _SHADE = 1.5, (0.9, 1.1), 0.04
_ALONG, _ACROSS, _ALONE = 1.0, 3.0, 7.0
"""Of the kind "two": jitter of two objects along the line between them and across it, and of a single one; pixels."""
_HELD_OUT = {"one": 96, "two": 160}
Inside = Bool[np.ndarray, "..."]


def _circle(x: np.ndarray, y: np.ndarray) -> Inside:
    return x**2 + y**2 <= 1


def _square(x: np.ndarray, y: np.ndarray) -> Inside:
    return np.maximum(abs(x), abs(y)) <= 0.89


def _triangle(x: np.ndarray, y: np.ndarray) -> Inside:
    return (y <= 0.55) & (3**0.5 * abs(x) - y <= 1.1)


def _cross(x: np.ndarray, y: np.ndarray) -> Inside:
    return (np.maximum(abs(x), abs(y)) <= 1.05) & (np.minimum(abs(x), abs(y)) <= 0.35)


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], Inside]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
}
"""Which points lie inside, to the right and down of the centroid, in radii."""
_WIDEST = 1.1
"""How far a shape reaches from its centroid to a side, in radii."""


@dataclasses.dataclass(frozen=True)
class Placed:
    """A combination of the kind "one"."""

    size: str
    colour: str
    shape: str
    position: str
    background: str

    @property
    def captions(self) -> tuple[str, ...]:
        """The one caption."""
        return (f"a {self.size} {self.colour} {self.shape} {self.position} of a {self.background} background",)


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object of the kind "two"."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"a{'n' if self.colour[0] in 'aeiou' else ''} {self.colour} {self.shape}"


@dataclasses.dataclass(frozen=True)
class Related:
    """A combination of the kind "two".

    Attributes:
      first: the only object, or that on the left, or the upper one.
      second: the other; None where there is one object.
      relation: a key of `RELATIONS`; "" where there is one object.
    """

    first: Thing
    second: Thing | None = None
    relation: str = ""

    @property
    def captions(self) -> tuple[str, ...]:
        """The caption of a single object; of two objects both ways to say it."""
        if self.second is None:
            return (str(self.first),)
        forth, back = RELATIONS[self.relation]
        return f"{self.first} {forth} {self.second}", f"{self.second} {back} {self.first}"


Combination = Placed | Related


@functools.cache
def combinations(kind: str) -> tuple[Combination, ...]:
    """All combinations of a kind, in the order of their labels: 576 of "one", 24 + 960 of "two"."""
    if kind == "one":
        return tuple(Placed(*each) for each in itertools.product(SIZES, COLOURS, SHAPES, POSITIONS, BACKGROUNDS))
    things = [Thing(*each) for each in itertools.product(COLOURS, SHAPES)]
    pairs = [(a, b, relation) for a in things for b in things if a.colour != b.colour for relation in RELATIONS]
    return (*map(Related, things), *(Related(*pair) for pair in pairs))


@functools.cache
def held_out(kind: str) -> frozenset[int]:
    """The labels that training never sees: 96 of "one", 160 pairs of "two"; always the same ones."""
    whole = [i for i, each in enumerate(combinations(kind)) if isinstance(each, Placed) or each.second]
    return frozenset(np.random.default_rng(0).permutation(whole)[: _HELD_OUT[kind]].tolist())


@functools.cache
def _meanings() -> dict[str, Combination]:
    every = [*combinations("one"), *combinations("two")]
    return {caption: each for each in every for caption in each.captions}


def parse_caption(caption: str) -> Combination:
    """What a caption of either kind says.

    Raises:
      InputError: it is none of theirs.
    """
    meaning = _meanings().get(" ".join(caption.lower().split()))
    if meaning is None:
        raise InputError(
            f"{quoted(caption)} is no caption of captioned_shapes: expected one like "
            f"{combinations('one')[0].captions[0]!r} or {combinations('two')[-1].captions[0]!r}."
        )
    return meaning


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """All words of the captions, in alphabetical order."""
    return tuple(sorted({word for caption in _meanings() for word in caption.split()}))


def coverage(shape: str, x: float, y: float, radius: float, side: int = SIDE) -> Float[np.ndarray, "{side} {side}"]:
    """How much of each pixel a shape covers, 0 to 1.

    Args:
      shape: a key of `SHAPES`.
      x: of its centroid, pixels from the left edge of the image.
      y: of its centroid, pixels from the upper edge.
      radius: pixels.
      side: height and width of the image.
    """
    reach = _WIDEST * radius
    rows, columns = (slice(max(int(at - reach), 0), min(int(at + reach) + 1, side)) for at in (y, x))
    across, down = (
        (np.arange(each.start * FINE, each.stop * FINE, dtype=np.float32) + 0.5) / FINE for each in (columns, rows)
    )
    inside = SHAPES[shape]((across - x)[None] / radius, (down - y)[:, None] / radius)
    cover = np.zeros((side, side))
    cover[rows, columns] = inside.reshape(len(down) // FINE, FINE, len(across) // FINE, FINE).mean((1, 3))
    return cover


@dataclasses.dataclass(frozen=True)
class Jitter:
    """What of an image its caption does not say; each is drawn for every object.

    Attributes:
      shift: pixels to the right and down, -1 to 1 of what the kind allows.
      scale: of the radius.
      shade: what is added to red, green and blue.
    """

    shift: Sequence[tuple[float, float]]
    scale: Sequence[float]
    shade: Sequence[float]


def draw_jitter(rng: np.random.Generator) -> Jitter:
    """Draws a jitter for up to two objects."""
    shifts = [(float(x), float(y)) for x, y in rng.uniform(-1, 1, (2, 2))]
    return Jitter(shifts, rng.uniform(*_SCALES, 2).tolist(), rng.uniform(-_SHADE, _SHADE, 2).tolist())


def draw(each: Combination, jitter: Jitter, background: str = "white") -> UInt8[np.ndarray, "32 32 3"]:
    """Draws a combination.

    Args:
      each: of either kind.
      jitter: what is not said.
      background: of the kind "two"; the kind "one" says its own.
    """
    middle, shift = SIDE / 2, np.array(jitter.shift)
    if isinstance(each, Placed):
        background, places = each.background, [np.array(POSITIONS[each.position]) + _JITTER * shift[0]]
        things, radius = [Thing(each.colour, each.shape)], SIZES[each.size]
    elif each.second is None:
        things, radius, places = [each.first], RADIUS, [_ALONE * shift[0]]
    else:
        things, radius = [each.first, each.second], RADIUS
        along = np.array([1.0, 0.0] if each.relation == "beside" else [0.0, 1.0])
        reach = along * _ALONG + (1 - along) * _ACROSS
        places = [sign * APART * along + reach * moved for sign, moved in zip((-1, 1), shift, strict=True)]
    image = np.broadcast_to(np.array(BACKGROUNDS[background]), (SIDE, SIDE, 3))
    for thing, (x, y), scale, shade in zip(things, places, jitter.scale, jitter.shade, strict=False):
        cover = coverage(thing.shape, middle + x, middle + y, radius * scale)[..., None]
        image = image + cover * (np.clip(np.add(COLOURS[thing.colour], shade), 0, 1) - image)
    return np.round(255 * image).astype(np.uint8)


def example(kind: str, label: int, part: int, number: int) -> tuple[UInt8[np.ndarray, "32 32 3"], str]:
    """An image and its caption, which depend on the arguments alone.

    Args:
      kind: "one" or "two".
      label: which combination.
      part: number of the split.
      number: which image of that combination and split.
    """
    rng = np.random.default_rng((list(_HELD_OUT).index(kind), label, part, number))
    each, jitter = combinations(kind)[label], draw_jitter(rng)
    background = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
    return draw(each, jitter, background), each.captions[rng.integers(len(each.captions))]
