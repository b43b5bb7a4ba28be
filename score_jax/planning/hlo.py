"""What a compiled program says of itself: the bytes that its collectives move."""

import math
import re

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "f8e4m3fn": 1, "f8e5m2": 1}
_COLLECTIVE = re.compile(
    r"= (?P<shapes>\(?[^=]*?)\s*(?P<name>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
    r"(?P<start>-start)?\("
)
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_COMMENT = re.compile(r"/\*.*?\*/")  # "/*index=5*/" in long tuples


def collective_bytes(hlo: str) -> dict[str, int]:
    """Bytes of the results of each kind of collective in a program's text, per device, loops counted once.

    Of an asynchronous one ("-start") the last of its shapes is the result.
    """
    totals: dict[str, int] = {}
    for match in _COLLECTIVE.finditer(_COMMENT.sub("", hlo)):
        sizes = [
            _BYTES.get(dtype, 4) * math.prod(int(n) for n in dims.split(",") if n)
            for dtype, dims in _SHAPE.findall(match["shapes"])
        ]
        moved = sizes[-1:] if match["start"] and match["name"] != "all-reduce" else sizes
        totals[match["name"]] = totals.get(match["name"], 0) + sum(moved)
    return totals
