"""Configs of earlier versions, as workdirs keep them.

Version 1 (until November 2026, without a key `version`) had one flat section for all samplers, one for all losses, one
for all ways to measure a likelihood; the range of pixels was `data.value_range`, a guiding classifier's workdir
`guidance.classifier`, and the variance of a bound that of the sampler.
"""

import functools
from collections.abc import Mapping
from typing import Any

from score_jax.builder import options
from score_jax.builder.guidance_options import GUIDANCES
from score_jax.builder.likelihood_options import LIKELIHOODS
from score_jax.builder.loss_options import LOSSES
from score_jax.builder.processes import kind_of
from score_jax.builder.sampler_options import SAMPLERS
from score_jax.errors import InputError, quoted

VERSION = 2
MOVED = {
    "data.value_range": "codec.value_range",
    "guidance.classifier": "guidance.name=classifier with guidance.workdir",
    "likelihood.method": "likelihood.name",
    "loss.label_dropout": "loss.condition_dropout",
}
"""Keys of version 1 that are called otherwise now."""
Values = dict[str, Any]


def hint_of_moved(key: str) -> InputError | None:
    """Returns the error for a key that has moved; None for others."""
    return InputError(f"{key} is now {MOVED[key]}.") if key in MOVED else None


def migrated(values: Values) -> Values:
    """Returns the values of a config in today's form; those of today's form as they are.

    Raises:
      InputError: the config is of a later version than this one.
    """
    version = values.get("version", 1)
    if version == VERSION and not isinstance(version, bool | float):
        return values
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"version={quoted(version)}: give {VERSION}, or 1 for a config from before November 2026.")
    if version > VERSION:
        raise InputError(
            f"version={version}: this release of score_jax reads configs up to version {VERSION}: install a "
            "newer release."
        )
    return _from_flat_sections(values)


def _read_by(table: Mapping[str, type[options.Options]], values: Values, name: str, *, kind: str) -> Values:
    """What the method of this name reads, of a flat section of all methods' keys."""
    if not isinstance(name, str) or name not in table:
        return values | {"name": name}
    read = {key: value for key, value in values.items() if key in options.keys_of(table[name])}
    not_read = options.unread(table[name], read, kind)
    return {"name": name} | {key: value for key, value in read.items() if key not in not_read}


def _from_flat_sections(old: Values) -> Values:
    new = {key: dict(value) if isinstance(value, dict) else value for key, value in old.items()}
    data, sampler, loss = (new.get(section, {}) for section in ("data", "sampler", "loss"))
    guidance, likelihood = new.get("guidance", {}), new.get("likelihood", {})
    if "value_range" in data:
        new["codec"] = {"name": "pixels", "value_range": data.pop("value_range")}
    if sampler.get("grid") == "uniform" and new.get("process", {}).get("name") == "linear_ve":
        sampler["grid"] = "auto"  # the default before the few steps of an even grid were found too coarse
    if "label_dropout" in loss:
        loss["condition_dropout"] = loss.pop("label_dropout")
    variance = sampler.get("variance", "auto")
    read_by = functools.partial(_read_by, kind=kind_of(new.get("process", {}).get("name")))
    new["sampler"] = read_by(SAMPLERS, sampler, sampler.get("name", "euler_maruyama"))
    new["loss"] = read_by(LOSSES, loss, loss.get("name", "denoising"))
    workdir = guidance.get("classifier", "")
    kind = "classifier" if workdir else "classifier_free"
    new["guidance"] = read_by(GUIDANCES, guidance, kind) | ({"workdir": workdir} if workdir else {})
    method = likelihood.pop("method", "ode")
    new["likelihood"] = read_by(LIKELIHOODS, likelihood | {"variance": variance}, method)
    return new | {"version": VERSION}
