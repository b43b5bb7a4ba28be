"""What the metrics know of a set of images: moments, some rows of features, and how they came about; as a file too."""

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from score_jax.errors import InputError, named, quoted
from score_jax.evaluation.statistics import MomentAccumulator, Moments, checked_statistics
from score_jax.runtime.array_files import array_headers, read_arrays
from score_jax.runtime.files import written_whole

_FILE_KEYS = {"features": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}
"""As the originals call them in their files."""
_OTHER_KEYS = {"ref_mu": "mu", "ref_sigma": "sigma"}
"""As the MeanFlow lineage calls them."""
_MANY, _MOST = 50_000, 10**12


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of a set of images.

    Attributes:
      moments: of all images, by the name of the features: "features" and, where sFID is wanted, "spatial".
      features: of some images, evenly spread over the set (k, d); None where only moments are known.
      labels: classes of those images (k,).
      facts: how they came about, JSON-able: "n" images (absent from files of others), and "resize", "centre" and
        "identity", which say with what they may be compared.
    """

    moments: Mapping[str, Moments]
    features: Float[np.ndarray, "k d"] | None
    labels: Int[np.ndarray, "k"] | None
    facts: dict[str, Any]


class Collector:
    """Makes a feature set of images that come in batches {"features", "spatial", "label"}, in their order.

    The moments do not depend on how the batches were cut. Memory grows with the square of the features' length and
    with the number of rows that are kept, alone.
    """

    def __init__(self, count: int, keep: int):
        self._count, self._start = count, 0
        self._wanted = np.unique(np.linspace(0, count - 1, min(keep, count)).astype(np.int64))
        self._accumulators: dict[str, MomentAccumulator] = {}
        self._rows: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Takes the next images.

        Raises:
          InputError: features of an image are not finite.
        """
        for name in _FILE_KEYS.keys() & batch.keys():
            _check_finite(batch[name], self._start, self._count)
            self._accumulators.setdefault(name, MomentAccumulator()).add(batch[name])
        stop = self._start + len(batch["features"])
        mine = self._wanted[(self._wanted >= self._start) & (self._wanted < stop)] - self._start
        self._rows.append(batch["features"][mine])
        self._labels.append(batch["label"][mine])
        self._start = stop

    def result(self, facts: dict[str, Any]) -> FeatureSet:
        """Returns the set of all images, with facts of how it came about."""
        assert self._start == self._count
        moments = {name: accumulator.result() for name, accumulator in self._accumulators.items()}
        labels = np.concatenate(self._labels).astype(np.int32)
        return FeatureSet(moments, np.concatenate(self._rows), labels, facts | {"n": self._count})


def collect(batches: Iterable[Mapping[str, np.ndarray]], *, count: int, keep: int, facts: dict[str, Any]) -> FeatureSet:
    """Returns the features of `count` images that come in batches, of which `keep` rows are kept, see `Collector`.

    Raises:
      InputError: features of an image are not finite.
    """
    collector = Collector(count, keep)
    for batch in batches:
        collector.add(batch)
    return collector.result(facts)


def _check_finite(features: Float[np.ndarray, "n d"], start: int, count: int) -> None:
    """Raises InputError where features of images from `start` on are not finite."""
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if wrong.size:
        raise InputError(
            f"The features of image {start + wrong[0]} of {count} are not finite ({wrong.size} such images in "
            "its batch): "
            "check the weights of the feature network, and the image."
        )


def save(path: Path, features: FeatureSet) -> None:
    """Writes an .npz that other evaluators read as well: mu, sigma (and ADM's mu_s, sigma_s), and our other facts.

    Raises:
      InputError: one image has no covariance.
    """
    if any(moments.count < 2 for moments in features.moments.values()):
        raise InputError(f"{path}: statistics have a covariance, which needs at least 2 images, but there is 1.")
    arrays: dict[str, Any] = {"facts": np.asarray(json.dumps(features.facts))}
    for name, moments in features.moments.items():
        mean, covariance = _FILE_KEYS[name]
        arrays |= {mean: moments.mean, covariance: moments.covariance}
    if features.features is not None:
        arrays |= {"features": features.features, "labels": features.labels}
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # by the open file: a name without the suffix would get one


def holds_statistics(names: Collection[str]) -> bool:
    """Whether arrays of these names are statistics, of whatever evaluator."""
    return not {"mu", "ref_mu"}.isdisjoint(names)


def load(path: Path) -> FeatureSet:
    """Reads what `save` wrote, or the statistics of pytorch-fid, EDM, guided-diffusion or the MeanFlow lineage, which
    have fewer facts.

    Raises:
      InputError: the file is none of these, or its numbers are no moments or no features.
    """
    arrays = read_arrays(path, ("facts", "features", "labels", *itertools.chain(*_FILE_KEYS.values()), *_OTHER_KEYS))
    arrays = {_OTHER_KEYS.get(name, name): array for name, array in arrays.items()}
    if not {"mu", "sigma"} <= arrays.keys():
        found = ", ".join(map(named, sorted(array_headers(path))[:8]))
        raise InputError(f"{path} holds {found}: expected mu and sigma (statistics) or arr_0 (images).")
    facts = _facts(path, arrays["facts"]) if "facts" in arrays else {}
    if not facts and "mu_s" in arrays:
        facts = {"resize": "tf1"}  # sFID has no other evaluator than guided-diffusion's
    moments = {}
    for name, (mean, covariance) in _FILE_KEYS.items():
        if mean in arrays and covariance in arrays:
            checked = checked_statistics(arrays[mean], arrays[covariance], f"{path}: {mean} and {covariance}")
            # A file that does not say its count is of a whole data set; its covariance stays as it is.
            known = facts.get("n", _MANY)
            moments[name] = Moments(known, checked[0], checked[1] * (known - 1))
    features, labels = _checked_rows(path, arrays, len(moments["features"].mean))
    return FeatureSet(moments, features, labels, facts)


def _facts(path: Path, stored: np.ndarray) -> dict[str, Any]:
    """The facts that `save` stored as JSON.

    Raises:
      InputError: they are no object, or their number of images is none.
    """
    text = f"{stored.dtype} {stored.shape}"
    try:
        text = str(stored.item())
        facts = json.loads(text)
    except (ValueError, RecursionError, SystemError):  # many texts, or no JSON
        facts = None
    if not isinstance(facts, dict):
        raise InputError(
            f"{path}: expected a JSON object in its entry `facts`, found {quoted(text)}: compute the file anew."
        )
    count = facts.get("n", _MANY)
    if not isinstance(count, int) or isinstance(count, bool) or not 2 <= count <= _MOST:
        raise InputError(
            f"{path}: its entry `facts` has n = {quoted(count)}: expected the number of images, 2 or more."
        )
    return facts


def _checked_rows(path: Path, arrays: Mapping[str, np.ndarray], length: int) -> tuple[Any, Any]:
    """Features (k, d) and labels (k,) of a file, None where it has none.

    Raises:
      InputError: they are of other shapes or types, or features are not finite.
    """
    features, labels = arrays.get("features"), arrays.get("labels")
    if features is None:
        return None, None
    if features.dtype.kind != "f" or features.ndim != 2 or features.shape[1] != length or not len(features):
        what = f"{named(str(features.dtype))} {quoted(features.shape)}"
        raise InputError(f"{path}: its features are {what}: expected floats (k, {length}), as wide as mu.")
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if wrong.size:
        raise InputError(
            f"{path}: the features of {wrong.size} images are not finite, the first is image {wrong[0]}: "
            "compute it anew."
        )
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape != features.shape[:1]):
        what = f"{named(str(labels.dtype))} {quoted(labels.shape)}"
        raise InputError(f"{path}: its labels are {what}: expected integers ({len(features)},), one for each image.")
    return features, labels


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """Where the facts of two sets are known to differ so that no number compares them: the key and both values."""
    for key in ("features", "resize", "centre", "identity"):
        if key in one and key in other and one[key] != other[key]:
            return key, one[key], other[key]
    usual = "as usual"  # what the network sees in most protocols, which is not written
    mine, theirs = one.get("size", usual), other.get("size", usual)
    return ("size", mine, theirs) if "resize" in one and "resize" in other and mine != theirs else None


def check_comparable(*, generated: FeatureSet, real: FeatureSet) -> None:
    """Raises InputError where two sets are known to have been made differently."""
    found = difference(generated.facts, real.facts)
    if found is not None:
        key, one, other = found
        raise InputError(
            f"These statistics cannot be compared: {key} is {named(one)} of the generated images, {named(other)} of "
            "the real ones. Compute both under one --protocol."
        )
    one, other = (len(features.moments["features"].mean) for features in (generated, real))
    if one != other:
        raise InputError(
            f"These statistics cannot be compared: the generated images have {one} features, the real "
            f"ones {other}. Compute both with the same network."
        )
