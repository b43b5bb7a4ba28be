"""The config of a run, beside its checkpoints in the workdir, and what a resumed run may not change."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from score_jax.errors import InputError, named
from score_jax.runtime.files import written_whole

_SECTIONS = ("data", "process", "network", "prediction", "loss", "optimizer", "ema", "training", "sampler", "sampling")
"""That configs of all versions have."""
_SECTIONS_OF_CASCADES = ("cascade", "data", "sampling", "evaluation")
_FREE_SECTIONS = ("edit", "guidance", "sampler", "sampling", "likelihood", "evaluation")
_FREE_KEYS = (
    "codec.slices",
    "codec.tile",
    "codec.overlap",
    "training.first_stage",
    "training.condition_encoder",
    "training.clip",
    "training.latents",
    "data.data_dir",
    "data.eval_split",
    "data.threads",
    "network.remat",
    "training.accumulate",
    "training.checkpoint_every",
    "training.checkpoints",
    "training.fsdp",
    "training.keep",
    "training.keep_every",
    "training.log_every",
    "training.loggers",
    "training.on_nonfinite",
    "training.sample_every",
    "training.step_timeout",
    "training.steps_per_dispatch",
)


def save_config(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json atomically."""
    with written_whole(workdir / "config.json") as temporary:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def stored_config(workdir: Path) -> ConfigDict:
    """Returns the config that a workdir keeps, as it was written, by this or an earlier version; locked.

    Raises:
      InputError: there is none, or it is not JSON, or no config.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"No config.json in {workdir}: expected the --workdir of a `train` run.")
    try:
        found = json.loads(path.read_bytes())  # of UTF-8, UTF-16 or UTF-32, with or without a byte order mark
    except (ValueError, RecursionError) as error:
        reason = named(str(error).splitlines()[0])
        raise InputError(f"{path} is not JSON ({reason}): restore it or train into a new --workdir.") from None
    expected = _SECTIONS_OF_CASCADES if isinstance(found, dict) and "cascade" in found else _SECTIONS
    sections = [name for name in expected if not isinstance(found, dict) or not isinstance(found.get(name), dict)]
    if sections:
        raise InputError(
            f"{path} is no config of ours, it has no section {sections[0]!r}: restore it or train into a new --workdir."
        )
    try:
        return config_of(found)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no config ({named(str(error).splitlines()[0])}): restore it.") from None


def _flatten(config: ConfigDict) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in _tuples(json.loads(json.dumps(config.to_dict()))).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": leaf for name, leaf in value.items()}
        else:
            flat[key] = value
    return flat


def config_of(found: dict[str, Any]) -> ConfigDict:
    """Returns the config that JSON was made of, locked."""
    return ConfigDict(_tuples(found)).lock()


def check_same_config(workdir: os.PathLike, old: ConfigDict, config: ConfigDict, free_keys: Iterable[str] = ()) -> None:
    """Refuses to resume a run with another config; what does not change the trained parameters is free.

    `training.steps` is free too while the decay of the learning rate, if there is one, ends where it did.

    Args:
      workdir: of the run, or of its checkpoints.
      old: its config.
      config: to go on with, with the same keys.
      free_keys: keys besides that may differ, such as "data.name".

    Raises:
      InputError: naming the keys that differ.
    """
    old_values, new = _flatten(old), _flatten(config)
    free = {*_FREE_KEYS, *free_keys}
    if _end_of_decay(old_values) == _end_of_decay(new):
        free |= {"training.steps", "optimizer.decay_steps"}
    missing = object()
    differ = [
        f"{key} ({old_values.get(key)!r} there, {new.get(key)!r} here)"
        for key in sorted(old_values.keys() | new.keys())
        if old_values.get(key, missing) != new.get(key, missing)
        and key not in free
        and key.split(".")[0] not in _FREE_SECTIONS
    ]
    if differ:
        longer = old_values.get("optimizer.decay") == new["optimizer.decay"] and "training.steps" not in free
        raise InputError(
            f"{workdir} holds a run of another config: {'; '.join(differ)}. Use a new --workdir, or the old values."
            + (_way_to_prolong(old_values) if longer else "")
        )


def _end_of_decay(values: dict[str, Any]) -> int | None:
    """The step at which the decay of the learning rate ends; None of a constant one."""
    if values.get("optimizer.decay", "constant") == "constant":
        return None
    return values.get("optimizer.decay_steps") or values["training.steps"]


def _way_to_prolong(values: dict[str, Any]) -> str:
    """How a run whose learning rate decays goes on after its end."""
    end = _end_of_decay(values)
    left = values["optimizer.learning_rate"] * values["optimizer.last"]
    return (
        f" The learning rate falls until step {end}: with another end, the steps so far would have had other rates. To "
        f"train for longer, add --config.optimizer.decay_steps={end}: the rate is {left:g} after that step. Or give a "
        "new --workdir, and this one as --config.training.start_from: the rate has a new course."
    )
