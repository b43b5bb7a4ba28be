"""Checkpoints of the training state and the data iterator, by orbax: asynchronous, atomic, and checked when read.

CHECKPOINTS/<step>/state    the training state, each process writing what it holds
                   data     where the data iterator stands
                   about    fingerprints of the arrays, and what the run says of itself
damaged_checkpoints/        beside it: what could not be read, and was passed over
"""

import contextlib
import functools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh
from jaxtyping import PyTree
from orbax.checkpoint import type_handlers

from score_jax.errors import InputError, Outage, counted
from score_jax.runtime.multihost import any_says
from score_jax.runtime.outages import PAUSES, is_outage, patiently, say_outage
from score_jax.runtime.sharding import sharded_by_size
from score_jax.training.fingerprint import differing, fingerprint
from score_jax.training.state import TrainState

T = TypeVar("T")


class Restored(NamedTuple):
    """What a checkpoint held.

    Attributes:
      state: the training state, or the fields of it that were asked for.
      data: the data iterator's.
      damaged: newer checkpoints that were passed over.
    """

    state: Any
    data: dict
    damaged: tuple[int, ...]


class Contents(NamedTuple):
    """All that a checkpoint holds, on the host.

    Attributes:
      arrays: of the state, by path ("ema_params.Dense_0.kernel").
      data: state of the data iterator.
      about: what the run said of itself; empty before version 0.4.
    """

    arrays: dict[str, np.ndarray]
    data: dict
    about: dict[str, Any]


def directory_of(workdir: Path, elsewhere: str) -> epath.Path:
    """Returns a run's folder of checkpoints: `training.checkpoints`, or else `checkpoints` in its workdir. Absolute."""
    if "://" in elsewhere:
        return epath.Path(elsewhere)
    return epath.Path(Path(elsewhere or workdir / "checkpoints").absolute())


def saved_steps(directory: epath.Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, which need not be there, oldest first."""

    def listed() -> list[int]:
        return [int(path.name) for path in directory.iterdir() if path.name.isdigit()] if directory.is_dir() else []

    return sorted(patiently(listed, f"list {directory}"))


def said_of_run(directory: epath.Path, steps: Sequence[int]) -> dict[str, Any]:
    """Returns what the newest of these checkpoints that can be read says of its run; {} where none says anything.

    Raises:
      Outage: a service or a network fails.
    """
    for step in reversed(steps):
        path = directory / str(step) / "about" / "metadata"
        try:
            return json.loads(patiently(path.read_text, f"read {path}"))
        except (OSError, ValueError) as error:
            if is_outage(error):
                raise _unreadable_now(directory / str(step), error) from error
            continue  # damaged, or of a version before 0.4
    return {}


_FAILURES = 3
"""Saves in a row that a service may fail before training ends."""
_LEAST_SLICE = 2**20
"""Bytes that a device writes at least of an array that several devices hold."""
_METADATA = "_CHECKPOINT_METADATA"
"""Orbax's file of when a checkpoint was begun and whole."""


def _state_handler() -> ocp.PyTreeCheckpointHandler:
    """Has one device write a small array: that each which holds it cuts out a slice takes longer than writing it."""
    arrays = type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=_LEAST_SLICE)
    numbers = [(each, type_handlers.ScalarHandler()) for each in (int, float, np.number)]
    registry = type_handlers.create_type_handler_registry(
        *numbers, (np.ndarray, type_handlers.NumpyHandler()), (jax.Array, arrays)
    )
    return ocp.PyTreeCheckpointHandler(type_handler_registry=registry)


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for saves in flight.

    Args:
      directory: `directory_of`'s.
      keep: newest ones that are kept.
      keep_every: beside those, each whose step is a multiple of it; 0: none.
      about: what each says of the run, JSON-able.
      before_save: raises where nothing may be written.
      saved: told of each checkpoint that is whole, at the next save and on the first process: its step, and the seconds
        that it took.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        keep: int = 3,
        keep_every: int = 0,
        about: dict[str, Any] | None = None,
        before_save: Callable[[], None] = lambda: None,
        saved: Callable[[int, float], None] = lambda step, seconds: None,
    ):
        self.directory = epath.Path(directory)
        self._before_save, self._saved = before_save, saved
        self._under_way: tuple[int, float] | None = None
        self._about = about or {}
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, keep_period=keep_every or None, create=True)
        handlers = {
            "state": _state_handler(),
            "data": ocp.JsonCheckpointHandler(),
            "about": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(self.directory, options=options, item_handlers=handlers)
        self._good, self._failures = self.latest, 0

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """Step of the newest committed checkpoint."""
        return self._manager.latest_step()

    @property
    def steps(self) -> list[int]:
        """Of all committed checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, data_state: dict) -> None:
        """Starts an asynchronous, atomic save.

        One that a service or a network fails is said and left out: the next save is its next try.

        Raises:
          InputError: this save could not begin, or the one before failed.
          Outage: likewise, because a service or a network failed the third save in a row.
        """
        self._counted(self._manager.check_for_errors)
        self._counted(lambda: self._begin(state, data_state))

    def save_last(self, state: TrainState, data_state: dict) -> None:
        """Saves the last state of a training, if it is not saved, and waits until it is on disk.

        There is no next save, so where a service or a network fails it tries again after a while.

        Raises:
          InputError: it could not.
          Outage: likewise, because a service or a network fails, on this process or another.
        """

        def finish() -> None:
            with self._one_line():
                self._finish(state, data_state)

        _tried_by_all(finish, f"write a checkpoint in {self.directory}")

    def _begin(self, state: TrainState, data_state: dict) -> None:
        step, began = int(state.step), time.time()
        self._before_save()
        about = self._about | {"fingerprint": fingerprint(state)}
        items = {
            "state": ocp.args.PyTreeSave(state),
            "data": ocp.args.JsonSave(data_state),
            "about": ocp.args.JsonSave(about),
        }
        self._manager.save(step, args=ocp.args.Composite(**items))
        self._tell_saved()  # of the one before, which is over now
        self._under_way = step, began

    def _finish(self, state: TrainState, data_state: dict) -> None:
        """What is in flight must land first: until then it counts as saved."""
        self._wait()
        if self.latest != int(state.step):
            self._begin(state, data_state)
            self._wait()

    def _wait(self) -> None:
        self._manager.wait_until_finished()
        self._manager.check_for_errors()
        self._tell_saved()

    def _tell_saved(self) -> None:
        """Tells, on the first process, how long a save took that is over and did not fail."""
        if self._under_way is None or jax.process_index():
            return
        step, began = self._under_way
        self._under_way, ended = None, None
        with contextlib.suppress(Exception):  # a service that does not say it fails nothing
            ended = json.loads((self.directory / str(step) / _METADATA).read_text())["commit_timestamp_nsecs"]
        if ended is not None:
            self._saved(step, ended / 1e9 - began)

    def _counted(self, work: Callable[[], None]) -> None:
        """Does a part of a save; of outages in a row only the third is raised."""
        if self.latest != self._good:
            self._good, self._failures = self.latest, 0
        outage = self._outage_of(work)
        if outage is None:
            return
        self._failures += 1
        if self._failures >= _FAILURES:
            raise outage
        say_outage(f"{outage} This run goes on, and the next save tries again")

    def _outage_of(self, work: Callable[[], None]) -> Outage | None:
        try:
            with self._one_line():
                work()
        except Outage as outage:
            return outage
        return None

    def wait(self) -> None:
        """Until everything is on disk.

        Raises:
          InputError: a save failed.
          Outage: likewise, because a service or a network fails.
        """
        with self._one_line():
            self._wait()

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turns whatever a failed save raises into one line: of an outage, or else of what is to be mended."""
        try:
            yield
        except jax.errors.JaxRuntimeError:  # another process is gone
            raise
        except Exception as error:
            if is_outage(error):
                raise Outage(
                    f"Cannot write a checkpoint in {self.directory} now: {_first_line(error)}. The same command goes "
                    f"on from step {self.latest or 0}."
                ) from error
            raise InputError(
                f"Cannot write a checkpoint in {self.directory}: {_first_line(error)}. Make room there; the same "
                f"command then goes on from step {self.latest or 0}."
            ) from error

    def restore_part(self, like: TrainState, field: str, step: int | None = None) -> tuple[PyTree, int]:
        """One field of the state in a checkpoint, and its step; the rest, such as the optimizer's, is not read.

        Args:
          like: as of `restore`.
          field: of it, such as "ema_params".
          step: as of `restore`.

        Raises:
          InputError: as of `restore`.
          Outage: as of `restore`.
        """
        found = self.restore({"step": like.step, field: getattr(like, field)}, step).state
        return found[field], int(found["step"])

    def restore(self, like: TrainState | dict[str, PyTree], step: int | None = None) -> Restored:
        """The checkpoint at `step`; if None the newest that is whole, and a line on stdout for each that is not.

        Args:
          like: a state of `jax.ShapeDtypeStruct` with shardings: where the arrays shall live, on any mesh; or some of
            its fields by name, the step among them.
          step: which checkpoint.

        Raises:
          InputError: there is none, or it is damaged or of another network.
          Outage: it cannot be read because a service or a network fails.
        """
        wanted = self.steps[::-1] if step is None else [step] if step in self.steps else []
        if not wanted:
            found = f"found steps {self.steps}" if self.steps else "found none"
            which = "a checkpoint" if step is None else f"checkpoint {step}"
            raise InputError(f"No {which} in {self.directory}: {found}. Train first, or check --workdir.")
        problems: list[str] = []
        for candidate in wanted:
            read = functools.partial(self._read, candidate, like)
            state, data, problem = _tried_by_all(read, f"read the checkpoint {candidate} in {self.directory}")
            if not any_says(bool(problem)):
                return Restored(state, data, tuple(wanted[: len(problems)]))
            problems.append(problem or "another process cannot read it")
            if candidate != wanted[-1] and jax.process_index() == 0:
                print(f"Checkpoint {candidate} in {self.directory} is damaged: {problems[-1]}.", flush=True)
        raise InputError(
            f"Checkpoint {wanted[0]} in {self.directory} does not fit this config's network or is damaged"
            f"{f', nor does any of {wanted[1:]}' if wanted[1:] else ''}: {problems[0]}"
        )

    def _read(self, step: int, like: TrainState | dict[str, PyTree]) -> tuple[Any, dict, str]:
        """State, data and what is wrong, "" if nothing."""
        where, fields = ocp.checkpoint_utils.construct_restore_args(like), list(like) if isinstance(like, dict) else []
        state_args = ocp.args.PyTreeRestore(like, restore_args=where, partial_restore=bool(fields))
        items = {"state": state_args, "data": ocp.args.JsonRestore()}
        if (self.directory / str(step) / "about").exists():  # absent before version 0.4
            items["about"] = ocp.args.JsonRestore()
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # whatever a damaged file makes a reader raise
            if is_outage(error):
                raise _unreadable_now(self.directory / str(step), error) from error
            return None, {}, _first_line(error)
        state = found["state"]
        held, about = int(state["step"] if fields else state.step), found["about"]
        if held != step:
            return None, {}, f"it holds step {held}"
        if fields and about:
            about = {"fingerprint": _of_fields(about["fingerprint"], fields)}
        if problem := _problem(fingerprint(state), about):
            return None, {}, problem
        return state, found["data"], ""

    def read(self, step: int) -> Contents:
        """All of the checkpoint at `step` as NumPy, on a machine of any kind, without its config.

        Raises:
          InputError: there is none, or it is damaged.
          Outage: it cannot be read because a service or a network fails.
        """
        data, about = self.said(step)
        return Contents(dict(self.arrays(step, about)), data, about)

    def said(self, step: int) -> tuple[dict, dict[str, Any]]:
        """The state of the data iterator in the checkpoint at `step`, and what the run says of itself.

        Raises:
          InputError: as of `read`.
          Outage: as of `read`.
        """
        path = self._path(step)
        with _reading(path), ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
            about = reader.restore(path / "about") if (path / "about").exists() else {}
            return reader.restore(path / "data"), about

    def arrays(self, step: int, about: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
        """The arrays of the checkpoint at `step` by path ("ema_params.Dense_0.kernel"), as NumPy, a part at a time.

        Args:
          step: which checkpoint.
          about: what it says of its run, see `said`.

        Raises:
          InputError: as of `read`; of fingerprints that differ at the end.
          Outage: as of `read`.
        """
        path, fingerprints = self._path(step), dict[str, int]()
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            with _reading(path):
                tree = reader.metadata(path / "state").item_metadata.tree
            leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
            unflatten = functools.partial(jax.tree.unflatten, structure)
            names = [jax.tree_util.keystr(name, simple=True, separator=".") for name, _ in leaves]
            as_numpy = unflatten([ocp.RestoreArgs(restore_type=np.ndarray)] * len(leaves))
            for places in _parts([_bytes_of(leaf) for _, leaf in leaves]):
                wanted = [leaf if i in places else ocp.PLACEHOLDER for i, (_, leaf) in enumerate(leaves)]
                args = ocp.args.PyTreeRestore(unflatten(wanted), restore_args=as_numpy)
                with _reading(path):
                    found = jax.tree.leaves(reader.restore(path / "state", args=args))
                part = {names[i]: np.asarray(found[i]) for i in places}
                fingerprints |= fingerprint(part)
                yield from part.items()
        if problem := _problem(fingerprints, about):
            raise InputError(f"Checkpoint {path} is damaged: {problem}.")

    def _path(self, step: int) -> epath.Path:
        if step not in self.steps:
            raise InputError(f"No checkpoint {step} in {self.directory}: found steps {self.steps}.")
        return self.directory / str(step)

    def set_aside(self, steps: tuple[int, ...]) -> None:
        """Moves damaged checkpoints out of the way of the ones that training will write; nothing is removed."""
        aside = self.directory.parent / f"damaged_{self.directory.name}"
        if steps and jax.process_index() == 0:
            aside.mkdir(parents=True, exist_ok=True)
            for step in steps:
                taken = sum(path.name.split(".")[0] == str(step) for path in aside.iterdir())
                (self.directory / str(step)).rename(aside / (f"{step}.{taken}" if taken else str(step)))
        if steps:
            any_says(False)  # until the first has moved them
            self._manager.reload()


_PART = 2**28
"""Bytes of arrays that are read at a time."""


def _bytes_of(leaf: Any) -> int:
    """Of an array by what is known of it; of a number none."""
    shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
    return math.prod(shape) * np.dtype(dtype).itemsize if shape is not None and dtype is not None else 0


def _parts(sizes: Sequence[int]) -> Iterator[range]:
    """Places in a row of arrays of these sizes, in bytes, as many as come to no more than `_PART`, but at least one."""
    first, held = 0, 0
    for i, size in enumerate(sizes):
        if held and held + size > _PART:
            yield range(first, i)
            first, held = i, 0
        held += size
    if sizes:
        yield range(first, len(sizes))


@contextlib.contextmanager
def _reading(path: epath.Path) -> Iterator[None]:
    """Turns whatever a reader raises into one line: of an outage, or else of a checkpoint that is damaged."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise _unreadable_now(path, error) from error
        raise InputError(f"Checkpoint {path} is damaged: {_first_line(error)}.") from error


def _tried_by_all(work: Callable[[], T], what: str) -> T:
    """What `work` returns; all processes try again where a service or a network fails one of them.

    Raises:
      Outage: it fails each time.
    """
    for pause in (*PAUSES, None):
        outage, found = None, None
        try:
            found = work()
        except Outage as error:
            outage = error
        if not any_says(outage is not None):
            return cast(T, found)
        outage = outage or Outage(f"Another process cannot {what} now.")
        if pause is None:
            raise outage
        say_outage(f"{outage} Trying again in {pause:.0f} s")
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _unreadable_now(path: epath.Path, error: Exception) -> Outage:
    """Of a checkpoint that may be whole: nothing is passed over or moved for a service that fails."""
    return Outage(f"Cannot read the checkpoint {path} now: {_first_line(error)}. The same command tries again.")


def _of_fields(fingerprints: dict[str, int], fields: Iterable[str]) -> dict[str, int]:
    """Those of arrays in some fields of the state."""
    return {path: value for path, value in fingerprints.items() if path.partition(".")[0] in fields}


def _problem(found: dict[str, int], about: dict[str, Any] | None) -> str:
    """What the fingerprints say is wrong, "" if nothing, or if there are none."""
    wrong = differing(found, about["fingerprint"]) if about else []
    return f"{counted(len(wrong), 'array is', 'arrays are')} not what was saved, {wrong[0]} first" if wrong else ""


def abstract_state(create: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Returns shapes, dtypes and places of the state that `create()` would make, without making it."""
    shapes = jax.eval_shape(create)
    places = sharded_by_size(shapes, mesh)
    return jax.tree.map(lambda s, place: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place), shapes, places)
