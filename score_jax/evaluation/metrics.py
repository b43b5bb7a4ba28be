"""The numbers of a protocol, from two sets of features, under names that say what they are of."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from score_jax.errors import InputError
from score_jax.evaluation import inception_score
from score_jax.evaluation.extrapolation import Extrapolated, frechet_infinity
from score_jax.evaluation.feature_set import FeatureSet, check_comparable
from score_jax.evaluation.frechet import bootstrap_standard_error, frechet_distance
from score_jax.evaluation.kernel_distance import cmmd, kernel_distance, kernel_distance_in_blocks, subset_size
from score_jax.evaluation.manifold import manifold
from score_jax.evaluation.memorisation import authenticity, data_copying
from score_jax.evaluation.protocols import PLAIN, Protocol
from score_jax.evaluation.sliced_wasserstein import mind

FULL = 50_000
"""Samples behind a number that may be compared with the papers'."""
Logits = Callable[[Float[np.ndarray, "n d"], bool], Float[np.ndarray, "n k"]]
_FEWEST, _MANY = 4, 1000
_HELD_OUT = "_held_out"
_ROUNDING = 1e-10
_INCEPTION_SCORES = {
    "chunks": inception_score.in_chunks,
    "shuffled": inception_score.shuffled,
    "whole": lambda logits: inception_score.in_splits(logits, 1),
}
_OF_NETWORKS = {"fid": "fd", "kid": "kd"}
_NETWORKS = re.compile(r"dinov2|(mae|siglip2|clip)_(vit\w+|other)$|convnextv2_\w+$")
"""Names of features of networks whose distances the field does not call FID and KID."""
_MEANINGS = {
    "fid": "Frechet distance of the features to the reference's",
    "fdr": "Frechet distance of the features over that of held-out images",
    "fdr6": "mean of that over six networks",
    "fd": "Frechet distance of the network's features to the reference's",
    "kd": "kernel distance of the network's features, unbiased in the number of samples",
    "sfid": "the same of spatial features",
    "kid": "kernel distance, unbiased in the number of samples",
    "mind": "sliced Wasserstein distance of the features",
    "cmmd": "kernel distance of CLIP's embeddings, times 1000",
    "inception_score": "sharpness and variety by the classes of Inception",
    "precision": "share of samples within the reference's manifold",
    "recall": "share of the reference within the samples' manifold",
    "density": "real neighbourhoods about a sample, over k",
    "coverage": "share of real neighbourhoods that hold a sample",
    "f_score": "harmonic mean of precision and recall",
    "authenticity": "share of samples that are no copies, if the reference was trained on",
    "c_t": "test of data-copying: far below 0 of copies, standard normal per cell of none",
}


def name_of(metric: str, features: str, count: int | None) -> str:
    """`fid50k`, `fid1k`, `fid1234` of Inception's features; `fid_digits` of others; `fid` where no count is known.

    DINOv2's are the field's: `fd_dinov2`, `kd_dinov2`, and `fd_dinov2_vitb14` where the network is not ViT-L/14; and so
    are those of FD-loss's networks, such as `fd_mae_vitl16`.
    """
    if features:
        without_inception = _OF_NETWORKS.get(metric, metric) if _NETWORKS.match(features) else metric
        return f"{without_inception}_{features}"
    if count is None:
        return metric
    return f"{metric}{count // 1000}k" if count % 1000 == 0 else f"{metric}{count}"


def measure(
    protocol: Protocol,
    *,
    generated: FeatureSet,
    real: FeatureSet,
    name: str,
    logits: Logits | None = None,
    seed: int = 0,
    held_out: FeatureSet | None = None,
) -> dict[str, Any]:
    """Returns what the protocol measures, as far as the sets have it; with few samples also KID and a warning.

    Args:
      protocol: settings of the metrics.
      generated: samples.
      real: the reference.
      name: of the features; "" for Inception's.
      logits: of features, for the Inception Score.
      seed: of the resampling behind error bars.
      held_out: images that were not trained on, where `real` are those that were: for the tests of memorisation, which
        need features of each image, and for the scale of the Frechet distance.

    Raises:
      InputError: the sets cannot be compared, or have too few images.
    """
    check_comparable(generated=generated, real=real)
    count = generated.facts.get("n")
    check_counts(generated=count, real=real.facts.get("n"))
    values = _frechet(protocol, generated, real, name, seed) if protocol.frechet else {}
    few = protocol.frechet and count is not None and count < FULL
    if generated.features is not None and real.features is not None:
        values |= _of_images(protocol, generated, real, name, few)
        for_copies = held_out is not None and not protocol.scaled
        if protocol.authenticity or for_copies:
            values["authenticity"] = authenticity(generated=generated.features, training=real.features)
        if held_out is not None and for_copies:
            values |= _memorisation(generated, held_out, real, seed)
    if held_out is not None and protocol.frechet:
        values |= _frechet_ratio(values[name_of("fid", name, count)], held_out, real, name)
    if generated.features is not None and logits is not None and protocol.inception_score:
        found = _INCEPTION_SCORES[protocol.inception_score](logits(generated.features, protocol.biased_logits))
        values |= dict(zip(("inception_score", "inception_score_spread"), found, strict=True))
    if few and protocol is not PLAIN:
        fid = name_of("fid", name, count)
        values["warning"] = (
            f"{fid} is of {count:,} samples and lies above {name_of('fid', name, FULL)}{' of 50,000' if name else ''}: "
            f"compare it with numbers from as many alone. {'KD' if name else 'KID'} does not depend on their number."
        )
    if protocol is PLAIN and count is not None and count < _MANY:
        fid = name_of("fid", name, None)
        values["warning"] = (
            f"{fid} of {count:,} samples is larger than that of many: compare it at equal numbers alone."
        )
    return values


def _frechet(protocol: Protocol, generated: FeatureSet, real: FeatureSet, name: str, seed: int) -> dict[str, Any]:
    count = generated.facts.get("n")
    fid = name_of("fid", name, count)
    values = {fid: frechet_distance(generated=generated.moments["features"], real=real.moments["features"])}
    if protocol.spatial and "spatial" in generated.moments and "spatial" in real.moments:
        values[name_of("sfid", name, count)] = frechet_distance(
            generated=generated.moments["spatial"], real=real.moments["spatial"]
        )
    if protocol is PLAIN and generated.features is not None:
        error = bootstrap_standard_error(generated.features, real.moments["features"], seed=seed)
        values[f"{fid}_standard_error"] = error
    return values


def _frechet_ratio(distance: float, held_out: FeatureSet, real: FeatureSet, name: str) -> dict[str, float]:
    """FDr (Yang et al. 2026, arXiv 2604.28190): distances of several networks on one scale, 1 of held-out images."""
    check_comparable(generated=held_out, real=real)
    known = real.moments["features"]
    fresh = frechet_distance(generated=held_out.moments["features"], real=known)
    if fresh <= _ROUNDING * np.trace(known.covariance):
        raise InputError("The held-out images are those that they are compared with: give images not trained on.")
    named = f"{name_of('fid', name, held_out.facts.get('n'))}{_HELD_OUT}"
    return {named: fresh, name_of("fdr", name, None): distance / fresh}


def check_counts(*, generated: int | None, real: int | None) -> None:
    """Raises InputError where these numbers of images, as far as they are known, are too few for a distance."""
    for what, count in (("samples", generated), ("reference images", real)):
        if count is not None and count < _FEWEST:
            raise InputError(f"{count} {what}: a distance needs at least {_FEWEST}.")


def _of_images(protocol: Protocol, generated: FeatureSet, real: FeatureSet, name: str, few: bool) -> dict[str, Any]:
    """The numbers that need the features of each image of both sets."""
    assert generated.features is not None and real.features is not None
    values = _kernel(protocol, generated, real, name) if protocol.kid or few else {}
    if protocol.mind:
        found = mind(generated=generated.features, real=real.features)
        named = name_of("mind", name, found.count)
        values |= {named: found.value, f"{named}_standard_error": found.standard_error}
    if protocol.cmmd:
        value = cmmd(generated=generated.features, real=real.features)
        values[f"cmmd{name.removeprefix('clip')}"] = value
    return values | (_manifold(protocol, generated, real) if protocol.neighbours else {})


def _kernel(protocol: Protocol, generated: FeatureSet, real: FeatureSet, name: str) -> dict[str, Any]:
    assert generated.features is not None and real.features is not None
    kid = name_of("kid", name, None)
    if protocol.kid == "blocks":
        value, error = kernel_distance_in_blocks(generated=generated.features, real=real.features)
        return {kid: value, f"{kid}_standard_error": error}
    size = subset_size(len(generated.features), len(real.features), halved=protocol.kid != "full_subsets")
    value, spread = kernel_distance(generated=generated.features, real=real.features, size=size)
    return {kid: value, f"{kid}_spread": spread, f"{kid}_subset_size": size}


def _manifold(protocol: Protocol, generated: FeatureSet, real: FeatureSet) -> dict[str, float]:
    assert generated.features is not None and real.features is not None
    count, k = len(real.features), protocol.neighbours
    wanted = count if protocol.manifold_reference is None else min(protocol.manifold_reference, count)
    rows, samples = _even_rows(real.features, wanted), generated.features
    if protocol.manifold_balanced:
        fewer = min(len(rows), len(samples))
        rows, samples = _even_rows(real.features, fewer), _even_rows(samples, fewer)
    if min(len(rows), len(samples)) <= k:
        raise InputError(f"Precision and recall need more than {k} generated and {k} real images: give more.")
    found = manifold(generated=samples, real=rows, k=k)
    names = ("precision", "recall", "density", "coverage", "f_score")
    return {name: getattr(found, name) for name in names} | {"manifold_reference": len(rows)}


def _memorisation(generated: FeatureSet, held_out: FeatureSet, training: FeatureSet, seed: int) -> dict[str, Any]:
    check_comparable(generated=held_out, real=training)
    assert generated.features is not None and held_out.features is not None and training.features is not None
    if np.array_equal(held_out.features, training.features):
        raise InputError("The held-out images are those that were trained on: name other images with held_out.")
    test = data_copying(generated=generated.features, held_out=held_out.features, training=training.features, seed=seed)
    cells = [
        {"c_t": None if np.isnan(score) else float(score), "held_out": int(fresh), "generated": int(made)}
        for score, fresh, made in zip(test.scores, test.held_out, test.generated, strict=True)
    ]
    fresh = authenticity(generated=held_out.features, training=training.features)
    return {"authenticity_held_out": fresh, "c_t": test.value, "c_t_cells": cells}


def _even_rows(features: Float[np.ndarray, "n d"], count: int) -> Float[np.ndarray, "_ d"]:
    """`count` rows, evenly spread."""
    return features[np.unique(np.linspace(0, len(features) - 1, count).astype(int))]


def by_count(generated: FeatureSet, real: FeatureSet, seed: int = 0) -> Extrapolated:
    """Returns the Frechet distance of ever more of the samples, as far as their features are kept."""
    assert generated.features is not None
    return frechet_infinity(generated.features, real.moments["features"], seed=seed)


def at_infinity(fid: str, line: Extrapolated) -> dict[str, float | None]:
    """Returns the end of the line through `by_count`, under the distance's name."""
    return {f"{fid}_infinity": line.value, f"{fid}_infinity_low": line.low, f"{fid}_infinity_high": line.high}


def names(values: dict[str, Any]) -> list[str]:
    """Returns the names of the numbers among what `measure` gave, without those that say how uncertain others are.

    Of a whole result, which has other numbers too, they are those that it lists as measured.
    """
    if "measured" in values:
        return list(values["measured"])
    uncertain = ("_standard_error", "_spread", "_low", "_high")
    return [name for name, value in values.items() if isinstance(value, float) and not name.endswith(uncertain)]


def rows(values: dict[str, Any]) -> list[list[str]]:
    """Returns name, value with its uncertainty, and meaning of each number, as text."""
    found = []
    for name in names(values):
        value = values[name]
        error = values.get(f"{name}_standard_error", values.get(f"{name}_spread"))
        shown = f"{value:.4f}" if error is None else f"{value:.4f} +- {error:.4f}"
        if values.get(f"{name}_low") is not None:
            shown = f"{value:.4f} ({values[f'{name}_low']:.4f} to {values[f'{name}_high']:.4f})"
        found.append([name, shown, _meaning(name)])
    return found


def _meaning(name: str) -> str:
    if name.endswith("_infinity"):
        return "the distance at infinitely many samples, by a line in 1/n; interval over its subsets"
    if name.endswith(_HELD_OUT):
        return f"the same of the held-out images: {_meaning(name.removesuffix(_HELD_OUT))}"
    known = max((key for key in _MEANINGS if name.startswith(key)), key=len, default="")
    return _MEANINGS.get(known, "")


def lines(values: dict[str, Any]) -> list[str]:
    """Returns the same lines for a terminal, with the warning."""
    found = rows(values)
    width = max([22, *(len(name) + 2 for name, _, _ in found)])
    text = [f"{name:<{width}}{shown}" for name, shown, _ in found]
    return text + ([f"Warning: {values['warning']}"] if "warning" in values else [])
