"""Checkpoints: orbax for the training state and the data iterator, JSON for the config beside them.

workdir/config.json            the config of the run
workdir/checkpoints/<step>/    state/ and data/, committed atomically
"""

import json
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from score_jax.errors import InputError
from score_jax.files import written_whole
from score_jax.training.state import TrainState

_FREE_SECTIONS = ("guidance", "sampler", "sampling", "likelihood", "evaluation")
_FREE_KEYS = ("training.log_every", "training.checkpoint_every", "training.keep", "training.sample_every")


def save_config(workdir: Path, config: ConfigDict) -> None:
    """Writes config.json atomically."""
    with written_whole(workdir / "config.json") as temporary:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def load_config(workdir: Path) -> ConfigDict:
    """The config that a workdir was trained with, locked.

    Raises:
      InputError: there is none, or it is not JSON.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"No config.json in {workdir}: expected the --workdir of a `train` run.")
    try:
        return ConfigDict(_tuples(json.loads(path.read_text()))).lock()
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON ({error}): restore it or train into a new --workdir.") from None


def _flatten(config: ConfigDict) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in _tuples(json.loads(json.dumps(config.to_dict()))).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": leaf for name, leaf in value.items()}
        else:
            flat[key] = value
    return flat


def check_same_config(workdir: Path, config: ConfigDict) -> None:
    """Refuses to resume a run with another config; what does not change the trained parameters is free.

    `training.steps` is free too while the learning rate does not decay towards it.

    Raises:
      InputError: naming the keys that differ.
    """
    old, new = _flatten(load_config(workdir)), _flatten(config)
    free = set(_FREE_KEYS) | {"data.data_dir"}
    if new["optimizer.decay"] == "constant":
        free.add("training.steps")
    missing = object()
    differ = [
        f"{key} ({old.get(key)!r} there, {new.get(key)!r} here)"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing) != new.get(key, missing)
        and key not in free
        and key.split(".")[0] not in _FREE_SECTIONS
    ]
    if differ:
        raise InputError(
            f"{workdir} holds a run of another config: {'; '.join(differ)}. Use a new --workdir, or the old values."
        )


class Checkpoints:
    """The checkpoints of one workdir; a context manager that waits for saves in flight."""

    def __init__(self, workdir: Path, keep: int = 3):
        self.directory = (workdir / "checkpoints").absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest committed checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, data_state: dict) -> None:
        """Starts an asynchronous, atomic save; an earlier one that failed raises here."""
        self._manager.check_for_errors()
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data_state))
        self._manager.save(int(state.step), args=items)

    def wait(self) -> None:
        """Until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.check_for_errors()

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict]:
        """The state at `step` (the newest if None) and the data iterator's state.

        Args:
          like: a state of `jax.ShapeDtypeStruct` with shardings: where the arrays shall live.
          step: which checkpoint.

        Raises:
          InputError: there is no such checkpoint, or it is of another network.
        """
        steps = self._manager.all_steps()
        step = self.latest if step is None else step
        if step not in steps:
            found = f"found steps {sorted(steps)}" if steps else "found none"
            wanted = "a checkpoint" if step is None else f"checkpoint {step}"
            raise InputError(f"No {wanted} in {self.directory}: {found}. Train first, or check --workdir.")
        items = ocp.args.Composite(state=ocp.args.StandardRestore(like), data=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=items)
        except (ValueError, KeyError, FileNotFoundError) as error:
            first_line = str(error).strip().splitlines()[0][:200]
            raise InputError(
                f"Checkpoint {step} in {self.directory} does not fit this config's network or is damaged: {first_line}"
            ) from error
        state = restored["state"]
        if int(state.step) != step:
            raise InputError(f"Checkpoint {step} in {self.directory} holds step {int(state.step)}: it is damaged.")
        return state, restored["data"]


def abstract_state(create, sharding: jax.sharding.Sharding) -> TrainState:
    """Shapes, dtypes and places of the state that `create()` would make, without making it."""
    shapes = jax.eval_shape(create)
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes)
