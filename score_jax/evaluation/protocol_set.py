"""One result of several protocols that are measured together: FD-loss's six networks (Yang et al. 2026)."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from score_jax.evaluation.metrics import names

_RATIO = "fdr"


def joint_values(name: str, members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the values of a set's file, from those of its protocols.

    Its numbers are the Frechet distance of each network and, where there were held-out images, FDr of each, which is
    the distance over that of the held-out images to the same reference, and their mean, `fdr6` of six. What is the same
    in all of the files says how the numbers came about; networks and images are told by a hash of what each file says.

    Args:
      name: of the set.
      members: values of a result of each protocol, in the order of the set.

    Source: Yang et al. 2026 (arXiv 2604.28190), FDr^k: the arithmetic mean of the ratios, the paper's with 50,000
      samples, ImageNet's validation images as the held-out ones and its training images as the reference.
    """
    values: dict[str, float] = {}
    ratios = []
    for member in members:
        distance, *others = names(dict(member))  # the Frechet distance is the first of its numbers
        found = [other for other in others if other.startswith(_RATIO)]
        ratios += [member[other] for other in found]
        values |= {each: member[each] for each in (distance, *found)}
    if ratios:
        values[f"{_RATIO}{len(members)}"] = sum(ratios) / len(members)
    measured = {each for member in members for each in member["measured"]}
    about = {key: value for key, value in _common(members).items() if key not in measured}
    sets = {key: _set([member[key] for member in members]) for key in ("reference", "held_out") if key in members[0]}
    identity = _hash([member.get("identity") for member in members])
    return values | about | {"measured": list(values), "protocol": name, "identity": identity} | sets


def _common(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all say."""
    first, *others = files
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


def _set(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of a set of images, of which each network may have seen other numbers or have another file."""
    common = _common(facts)
    return common if "pixels" in common else common | {"moments": _hash(facts)}


def _hash(values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
