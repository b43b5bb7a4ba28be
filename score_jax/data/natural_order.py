"""The order in which a person would sort names."""

import re
import unicodedata
from collections.abc import Iterable


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Returns names with their numbers as numbers: "2" before "10"."""

    def key(name: str) -> tuple:
        pieces = re.split(r"(\d+)", unicodedata.normalize("NFC", name))
        return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name

    return tuple(sorted(names, key=key))
