"""Emoji: the pictures of the font Noto Color Emoji on this machine, with their names in Unicode's list.

Neither is shipped with this package. There is one picture for each name; a family (the skin tones, genders and hair of
one picture) is held out as a whole, or its names would tell of its pictures.
"""

import dataclasses
import functools
import hashlib
import importlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from score_jax.errors import InputError, quoted
from score_jax.runtime.multihost import print_once

SIDE = 136
"""Pixels of a picture, whose bitmap is 136 wide and 128 high."""
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
)
"""Unicode's, in the order of its list."""
_ROOTS = ("/", "~/.local/share/score_jax")
"""Where Debian's packages are installed, or unpacked without root."""
_FONT, _NAMES = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", "usr/share/unicode/emoji/emoji-test.txt"
_LINE = re.compile(r"(?P<codes>[0-9A-F ]+?) *; fully-qualified +# \S+ E[\d.]+ (?P<name>.+)")
_SKIN, _PRESENTATION = range(0x1F3FB, 0x1F400), 0xFE0F
_SAID_APART = {*_SKIN, *range(0x1F9B0, 0x1F9B4), 0x2640, 0x2642, 0x27A1, 0x200D, _PRESENTATION}
"""Skin, hair, signs of gender, facing right, and what joins them: no part of a family's name."""
_SAME = (
    "👨👩🧑👴👵🧓👦👧🧒👶", "🤴👸🫅", "🎅🤶", "🕺💃", "💏👫👬👭💑👪", "👯🤼",
)  # fmt: skip
_FAMILY_OF = {ord(each): ord(group[0]) for group in _SAME for each in group}
_WHOLES: dict[tuple[int, ...], int] = {(ord("👨"), 0x1F384): ord("🎅"), (0x1FAF1, 0x1FAF2): ord("🤝")}
"""Mx Claus, and a handshake of two skins."""
_HELD_OUT_OF = 10
"""One family of so many is held out."""


@dataclasses.dataclass(frozen=True)
class Emoji:
    """A picture and its name.

    Attributes:
      name: Unicode's, such as "waving hand: light skin tone".
      codes: code points, without those that only ask for a picture.
      group: index into `GROUPS`.
      png: the bitmap as the font holds it.
    """

    name: str
    codes: tuple[int, ...]
    group: int
    png: bytes

    @property
    def family(self) -> str:
        """What all skin tones, genders and hair of a picture have in common; a flag is a family of its own."""
        kept = [_FAMILY_OF.get(code, code) for code in self.codes if code not in _SAID_APART]
        if kept.count(ord("👨")) > 1:  # couples and families of several
            kept = [ord("💏")]
        elif tuple(kept) in _WHOLES:
            kept = [_WHOLES[tuple(kept)]]
        return " ".join(f"{code:x}" for code in kept)

    @property
    def held_out(self) -> bool:
        """Whether its family is held out: one of ten, by a hash."""
        return hashlib.sha256(self.family.encode()).digest()[0] * _HELD_OUT_OF < 256

    def image(self) -> UInt8[np.ndarray, "136 136 3"]:
        """The picture in the middle of a white square."""
        with PILImage.open(io.BytesIO(self.png)) as opened:
            picture = opened.convert("RGBA")
        square = PILImage.new("RGBA", (SIDE, SIDE), "white")
        square.alpha_composite(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
        return np.asarray(square.convert("RGB"))


def find_files() -> tuple[Path, Path]:
    """Returns the font and the list of names.

    Raises:
      InputError: one of them is not on this machine; says how to install it.
    """
    found = [
        next((path for root in _ROOTS if (path := Path(root).expanduser() / file).is_file()), None)
        for file in (_FONT, _NAMES)
    ]
    if found[0] is None or found[1] is None:
        raise InputError(
            "The data set 'emoji' is made from Debian's packages fonts-noto-color-emoji and unicode-data, which are "
            "not here: run apt-get install fonts-noto-color-emoji unicode-data, or without root apt-get download "
            f"with the same names and dpkg -x FILE {_ROOTS[1]} for each file."
        )
    return found[0], found[1]


def pictures(*, plain: bool) -> list[Emoji]:
    """Returns the emoji that the font on this machine has, in Unicode's order.

    Says in a line how many there are and of which font.

    Args:
      plain: without skin tones and without flags.

    Raises:
      InputError: the font, the list or fontTools is missing, or the font is of another kind.
    """
    font_file, names_file = find_files()
    bitmaps, glyphs, version = _read_font(font_file)
    found: list[Emoji] = []
    missing = 0
    for name, codes, group in parse_names(names_file.read_text(encoding="utf-8")):
        if plain and (set(codes) & set(_SKIN) or GROUPS[group] == "Flags"):
            continue
        png = bitmaps.get(glyphs.get(codes, ""))
        missing += png is None
        found += [] if png is None else [Emoji(name, codes, group, png)]
    print_once(
        f"emoji: {len(found)} pictures of {font_file} ({version}, sha256 "
        f"{hashlib.sha256(font_file.read_bytes()).hexdigest()[:16]}); names without a picture: {missing}."
    )
    return found


def parse_names(text: str) -> list[tuple[str, tuple[int, ...], int]]:
    """Reads Unicode's list: name, code points and group of every emoji that it calls fully qualified."""
    rows: list[tuple[str, tuple[int, ...], int]] = []
    group = ""
    for line in text.splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ").strip()
        elif (match := _LINE.fullmatch(line.strip())) and group in GROUPS:
            codes = (int(code, 16) for code in match["codes"].split())
            rows.append((match["name"], tuple(code for code in codes if code != _PRESENTATION), GROUPS.index(group)))
    return rows


@functools.lru_cache(maxsize=1)
def _read_font(file: Path) -> tuple[Mapping[str, bytes], Mapping[tuple[int, ...], str], str]:
    """The bitmaps by glyph, the glyphs by code points (one, or several that become one glyph), and the version.

    Raises:
      InputError: fontTools is missing, or the font has no bitmaps.
    """
    try:
        fonts = importlib.import_module("fontTools.ttLib")
    except ImportError:
        raise InputError("The data set 'emoji' needs fonttools: run pip install 'score_jax[emoji]'.") from None
    try:
        font: Any = fonts.TTFont(file)
        bitmaps = {name: glyph.imageData for name, glyph in font["CBDT"].strikeData[0].items()}
        glyphs: dict[tuple[int, ...], str] = {(code,): name for code, name in font.getBestCmap().items()}
        codes_of = {name: codes for codes, name in glyphs.items()}
        for lookup in font["GSUB"].table.LookupList.Lookup:
            for table in lookup.SubTable:
                glyphs |= _ligatures(table, codes_of)
        version = font["name"].getDebugName(5).split(";")[0]
    except (fonts.TTLibError, KeyError, AttributeError, IndexError) as error:
        raise InputError(
            f"{file} is no font with coloured bitmaps (table CBDT): {quoted(str(error))}. Expected Noto Color Emoji of "
            "Debian's package fonts-noto-color-emoji."
        ) from None
    return bitmaps, glyphs, version


def _ligatures(table: Any, codes_of: Mapping[str, tuple[int, ...]]) -> dict[tuple[int, ...], str]:
    """What becomes one glyph by one table of substitutions, of glyphs that stand for a code point each."""
    found = {}
    for first, ligatures in getattr(table, "ligatures", {}).items():
        for ligature in ligatures:
            parts = (first, *ligature.Component)
            if all(part in codes_of for part in parts):
                found[tuple(code for part in parts for code in codes_of[part])] = ligature.LigGlyph
    return found
