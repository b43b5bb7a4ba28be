"""Training in its loops beside the same steps outside of any: pairs of `in_loops.py`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from in_loops_models import Model, demo_config
from ratios import Pair, seconds, silence

from score_jax.arrays import keys_per_example
from score_jax.builder.objective import build_loss
from score_jax.data.loader import make_loader, prefetch_to_device
from score_jax.data.sources import open_source
from score_jax.divergence import Divergence
from score_jax.jobs.train import compiled_step, compiled_steps, fresh_state
from score_jax.samplers.ode import GridODE, example_drift, solve
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.log import TrainingLog
from score_jax.training.loop import Schedule, run_training
from score_jax.training.optimizer import update_ema
from score_jax.training.sharding import over_batch, replicated
from score_jax.training.stop import Stop, any_process_asks
from score_jax.training.throughput import Meter

PARTS = 4
"""Steps of a dispatch, and parts of a batch that are accumulated."""
_STEPS_OF_A_ROUND = 6
_ODE_STEPS = 2
_NEVER = 10**9


class Bare:
    """One step after another on a batch that lies on the devices, each a program of its own."""

    def __init__(self, model: Model):
        self.model = model
        self._step, self._state = compiled_step(model.experiment, model.mesh), None

    def seconds(self, times: int = 1) -> float:
        """Of a step, the mean of so many."""
        if self._state is None:
            self._state = fresh_state(self.model.experiment, self.model.mesh)
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
            self._state = fresh_state(self._model.experiment, self._model.mesh)
        begin = int(self._state.step)
        end, times = begin + _STEPS_OF_A_ROUND, []
        with (
            silence(),
            Checkpoints(self._folder / "checkpoints", keep=1) as checkpoints,
            TrainingLog(self._folder, end, begin, Meter(self._model.size)) as log,
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


def loop_pair(model: Model, bare: Bare, folder: Path, name: str = "loop_ratio") -> Pair:
    """A step of `train` beside the bare one."""
    real = RealLoop(model, folder)
    return Pair(
        name,
        real.seconds,
        lambda: bare.seconds(_STEPS_OF_A_ROUND - 1),
        f"a step through the training loop over a jitted one, {_told(model)}",
    )


def dispatch_pair(name: str, model: Model, bare: Bare) -> Pair:
    """Steps handed over together beside the same number, one after another."""
    steps, states = compiled_steps(model.experiment, model.mesh), [fresh_state(model.experiment, model.mesh)]

    def together() -> jax.Array:
        state, metrics = steps(states.pop(), (model.batch,) * PARTS)
        states.append(state)
        return metrics["loss"]

    return Pair(
        name,
        lambda: seconds(together) / PARTS,
        lambda: bare.seconds(PARTS),
        f"a step of {PARTS} in one program over one of its own, {_told(model)}",
    )


def accumulation_pair(model: Model, gradient: Callable, name: str = "loop_ratio_accumulate") -> Pair:
    """A step on a batch in parts beside as many gradients of a part, each a call, and one update."""
    config = model.experiment.config.copy_and_resolve_references()
    config.training.accumulate = PARTS
    whole, part, key = Bare(Model(config)), model.rows(model.size // PARTS), jax.random.key(0)
    state, update = fresh_state(model.experiment, model.mesh), _update_program(model)
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
        f"a step in {PARTS} parts over {PARTS} gradients of a part, added up, and an update, {_told(model)}",
    )


def loss_of(model: Model) -> Callable[[Any, dict[str, jax.Array], jax.Array], jax.Array]:
    """`loss(params, batch, key)`, the mean that a step makes smaller."""
    e = model.experiment
    loss = build_loss(e.config, e.process, e.network, e.predict)

    def mean(params, batch, key):
        b = len(batch["image"])
        times, factors = loss.draw(key, b, None)
        return jnp.mean(factors * loss.values(params, batch, times, keys_per_example(key, jnp.arange(b)), key))

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

    program = jax.jit(run, out_shardings=replicated(model.mesh))
    return lambda total, state: program(total, state, tx.init(state.params))


def likelihood_training_pair(model: Model) -> Pair:
    """A step of training by the exact likelihood beside the evaluations of the drift that the solve makes, by call."""
    whole, values, pullbacks = Bare(model), *evaluations_of_a_gradient(_ODE_STEPS)
    forward, backward = drift_programs(model)
    arguments = (model.params, *model.noise())

    def in_calls() -> float:
        return values * seconds(forward, *arguments, times=4) + pullbacks * seconds(backward, *arguments, times=4)

    return Pair(
        "loop_ratio_likelihood_training",
        whole.seconds,
        in_calls,
        f"a step through the ODE over its {values} drifts with divergence and {pullbacks} pullbacks, {_told(model)}",
    )


def drift_programs(model: Model, derivative: str = "forward") -> tuple[Callable, Callable]:
    """The drift with its divergence of a batch, and its pullback to parameters and states."""
    e, divergence = model.experiment, Divergence(derivative=derivative)

    def drifts(params, x, t):
        def predictor(x, t):
            return e.predict(params, x, t, train=True, rngs={"dropout": jax.random.key(0)})

        def of_one(x, t):
            probes = divergence.draw(jax.random.key(0), x)
            return divergence.of(lambda x: example_drift(predictor, e.process, x, t, None), x, probes)

        return jax.vmap(of_one)(x, t)

    def pullback(params, x, t):
        value, transposed = jax.vjp(lambda params, x: drifts(params, x, t), params, x)
        return transposed(value)

    return jax.jit(drifts), jax.jit(pullback)


def evaluations_of_a_gradient(steps: int) -> tuple[int, int]:
    """Values of the vector field and pullbacks, each with a value of its own, in the gradient of a solve on a grid."""
    counts = {"values": 0, "pullbacks": 0}

    def counting(name: str, y: jax.Array) -> jax.Array:
        def count(y):
            counts[name] += 1
            return y

        return jax.pure_callback(count, jax.ShapeDtypeStruct(y.shape, y.dtype), y, vmap_method="expand_dims")

    @jax.custom_vjp
    def field(y):
        return jnp.sin(counting("values", y))

    field.defvjp(lambda y: (field(y), y), lambda y, g: (counting("pullbacks", g * jnp.cos(y)),))
    ode = GridODE(tuple(np.linspace(0.0, 1.0, steps + 1).tolist()), differentiable=True)

    def end(y):
        return jnp.sum(solve(lambda t, y, _: field(y), y, None, 0.0, 1.0, ode).y)

    jax.block_until_ready(jax.jit(jax.value_and_grad(end))(jnp.ones((1, 2))))
    return counts["values"] - counts["pullbacks"], counts["pullbacks"]


def _told(model: Model) -> str:
    count = sum(leaf.size for leaf in jax.tree.leaves(model.experiment.network.shapes()))
    h, w, c = model.experiment.image_shape
    return f"{count / 1e6:.2g} M parameters, {model.size} images of {h} x {w} x {c}"


def training_pairs(folder: Path) -> list[Pair]:
    """All of training."""
    model = Model(demo_config(batch_size=64))
    bare = Bare(model)
    sliced = Model(demo_config("sliced", batch_size=32))
    by_likelihood = demo_config("likelihood", batch_size=8, channels=16)
    by_likelihood.loss.ode_steps = _ODE_STEPS
    return [
        loop_pair(model, bare, folder),
        dispatch_pair("loop_ratio_dispatch", model, bare),
        accumulation_pair(model, gradient_program(model)),
        dispatch_pair("loop_ratio_sliced", sliced, Bare(sliced)),
        likelihood_training_pair(Model(by_likelihood)),
    ]
