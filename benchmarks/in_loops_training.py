"""Training in its loops beside the same steps outside of any: pairs of `in_loops.py`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from in_loops_likelihood import ODE_STEPS, likelihood_training_pair
from in_loops_models import Model, demo_config
from ratios import Pair, seconds, silence

from score_jax.arrays import keys_per_example
from score_jax.data.loader import make_loader, prefetch_to_device
from score_jax.data.sources import open_source
from score_jax.jobs.train import compiled_step, compiled_steps
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.runtime.stop import Stop, any_process_asks
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.log import TrainingLog
from score_jax.training.loggers import Run, open_loggers
from score_jax.training.loop import Schedule, run_training
from score_jax.training.objective import Surroundings
from score_jax.training.optimizer import update_ema
from score_jax.training.throughput import Meter

PARTS = 4
"""Steps of a dispatch, and parts of a batch that are accumulated."""
_STEPS_OF_A_ROUND = 6
_NEVER = 10**9


class Bare:
    """One step after another on a batch that lies on the devices, each a program of its own."""

    def __init__(self, model: Model):
        self.model = model
        self._step, self._state = compiled_step(model.experiment, model.mesh), None

    def seconds(self, times: int = 1) -> float:
        """Of a step, the mean of so many."""
        if self._state is None:
            self._state = self.model.state()
        return seconds(self._once, times=times)

    def _once(self) -> jax.Array:
        self._state, metrics = self._step(self._state, self.model.batch)
        return metrics["loss"]


class RealLoop:
    """What `train` runs: loader, loop, log and, at the end of each round, a checkpoint, which is not counted."""

    def __init__(self, model: Model, folder: Path):
        c, shape = model.experiment.config, (2048, *model.experiment.image_shape)
        np.savez(folder / "images.npz", images=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        source = open_source(str(folder / "images.npz"), "all", image_size=shape[1], channels=shape[3])
        loader = make_loader(
            source, batch_size=c.training.batch_size, seed=0, flip=True, process_index=0, process_count=1
        )
        self._batches = prefetch_to_device(loader, over_batch(model.mesh))
        self._steps, self._state = compiled_steps(model.experiment, model.mesh), None
        self._model, self._folder = model, folder

    def seconds(self) -> float:
        """Of a step, from that of the first dispatch of the round to that of the last."""
        if self._state is None:
            self._state = self._model.state()
        begin = int(self._state.step)
        end, times = begin + _STEPS_OF_A_ROUND, []
        loggers = open_loggers(("tensorboard",), Run(self._folder, begin, {}))
        with (
            silence(),
            Checkpoints(self._folder / "checkpoints", keep=1) as checkpoints,
            TrainingLog(self._folder, end, begin, Meter(self._model.size), loggers) as log,
        ):
            self._state = run_training(
                self._state,
                self._steps,
                self._batches,
                workdir=self._folder,
                checkpoints=checkpoints,
                log=log,
                schedule=Schedule(end, log_every=_STEPS_OF_A_ROUND - 2, checkpoint_every=_NEVER, sample_every=0),
                draw_samples=lambda state: None,
                post_stop=any_process_asks(Stop(), self._model.mesh),
                trace=lambda step: times.append(time.perf_counter()),
            )
        return (times[-1] - times[0]) / (len(times) - 1)


def loop_pair(name: str, model: Model, bare: Bare, folder: Path) -> Pair:
    """A step of `train` beside the bare one."""
    real = RealLoop(model, folder)
    return Pair(
        name,
        real.seconds,
        lambda: bare.seconds(_STEPS_OF_A_ROUND - 1),
        f"a step through the training loop over a jitted one, {model.words}",
    )


def dispatch_pair(name: str, model: Model, bare: Bare) -> Pair:
    """Steps handed over together beside the same number, one after another."""
    steps, states = compiled_steps(model.experiment, model.mesh), [model.state()]

    def together() -> jax.Array:
        state, metrics = steps(states.pop(), (model.batch,) * PARTS)
        states.append(state)
        return metrics["loss"]

    return Pair(
        name,
        lambda: seconds(together) / PARTS,
        lambda: bare.seconds(PARTS),
        f"a step of {PARTS} in one program over one of its own, {model.words}",
    )


def accumulation_pair(name: str, model: Model, gradient: Callable) -> Pair:
    """A step on a batch in parts beside as many gradients of a part, each a call, and one update."""
    config = model.experiment.config.copy_and_resolve_references()
    config.training.accumulate = PARTS
    whole, part, key = Bare(Model(config)), model.rows(model.size // PARTS), jax.random.key(0)
    state, update = model.state(), _update_program(model)
    zero = jax.tree.map(jnp.zeros_like, state.params)

    def in_calls() -> Any:
        total = zero
        for _ in range(PARTS):
            total, _ = gradient(state.params, part, key, total)
        return update(total, state)

    return Pair(
        name,
        lambda: whole.seconds(2),
        lambda: seconds(in_calls, times=2),
        f"a step in {PARTS} parts over {PARTS} gradients of a part, added up, and an update, {model.words}",
    )


def loss_of(model: Model) -> Callable[[Any, dict[str, jax.Array], jax.Array], jax.Array]:
    """`loss(params, batch, key)`, the mean that a step makes smaller."""
    loss, alone = model.experiment.groups["model"].objective, Surroundings({}, None, None, jnp.array(0))

    def mean(params, batch, key):
        b = len(batch["image"])
        times, factors = loss.draw(key, b, None)
        found = loss.values(params, alone, batch, times, keys_per_example(key, jnp.arange(b)), key)
        return jnp.mean(factors * found.values)

    return mean


def gradient_program(model: Model) -> Callable:
    """`program(params, batch, key, total) -> (total + gradient, loss)`, jitted."""

    def run(params, batch, key, total):
        value, gradient = jax.value_and_grad(loss_of(model))(params, batch, key)
        return jax.tree.map(jnp.add, total, gradient), value

    return jax.jit(run, out_shardings=replicated(model.mesh))


def _update_program(model: Model) -> Callable:
    """What a step does with the sum of gradients: mean, norm, clipping, Adam and the average of parameters."""
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    def run(total, state, opt_state):
        gradient = jax.tree.map(lambda leaf: leaf / PARTS, total)
        updates, opt_state = tx.update(gradient, opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return (
            params,
            opt_state,
            update_ema(state.ema_params, params, 0.9, False, state.step),
            optax.global_norm(gradient),
        )

    program, opt_state = jax.jit(run, out_shardings=replicated(model.mesh)), tx.init(model.params)
    return lambda total, state: program(total, state, opt_state)


class Training:
    """A model of the demo's kind, and the programs that pairs share."""

    def __init__(self, batch_size: int):
        self.model = Model(demo_config(batch_size=batch_size))
        self.bare, self.gradient = Bare(self.model), gradient_program(self.model)


def training_pairs(folder: Path) -> dict[str, Callable[[], Pair]]:
    """What makes those of training, by name."""
    training = Training(batch_size=64)

    def sliced() -> Pair:
        model = Model(demo_config("sliced", batch_size=16))
        return dispatch_pair("loop_ratio_sliced", model, Bare(model))

    def likelihood() -> Pair:
        config = demo_config("likelihood", batch_size=8, channels=16)
        config.loss.ode_steps = ODE_STEPS
        model = Model(config)
        return likelihood_training_pair(Bare(model).seconds, model)

    return {
        "loop_ratio": lambda: loop_pair("loop_ratio", training.model, training.bare, folder),
        "loop_ratio_dispatch": lambda: dispatch_pair("loop_ratio_dispatch", training.model, training.bare),
        "loop_ratio_accumulate": lambda: accumulation_pair("loop_ratio_accumulate", training.model, training.gradient),
        "loop_ratio_sliced": sliced,
        "loop_ratio_likelihood_training": likelihood,
    }
