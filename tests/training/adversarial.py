"""The least adversarial pair: a generator of points in the plane, and a critic that sees features of a frozen network.

As a program it trains in a folder: `adversarial.py FOLDER STEPS`, and goes on with what it finds there.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from score_jax.arrays import fold_in_each
from score_jax.runtime.sharding import gathered, make_mesh, over_batch, replicated, sharded_by_size
from score_jax.training.checkpoint import Checkpoints, abstract_state
from score_jax.training.log import TrainingLog
from score_jax.training.loop import Schedule, run_training
from score_jax.training.objective import Group, Objective, Outcome
from score_jax.training.state import create_state
from score_jax.training.step import in_sequence, make_train_step
from score_jax.training.throughput import Meter

MEAN, WIDTH, BATCH = jnp.array([1.0, -2.0]), 256, 16


def frozen():
    """A random layer, which no one trains."""
    return {"features": jax.random.normal(jax.random.key(9), (2, WIDTH))}


def generator(key):
    return {"scale": 0.1 * jnp.eye(2), "shift": jnp.zeros(2)}


def critic(key):
    return {"layer": jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH**0.5, "out": jnp.zeros(WIDTH)}


def drawn(params, keys):
    z = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    return z @ params["scale"] + params["shift"][None]


def judged(params, around, points):
    h = jnp.tanh(points @ around.frozen["features"])
    return jnp.tanh(h @ params["layer"]) @ params["out"]


def of_generator(params, around, batch, times, keys, dropout_key):
    fake = judged(around.groups["critic"], around, drawn(params, fold_in_each(keys, 0)))
    return Outcome(-fake, {"fake": fake}, around.statistics)


def of_critic(params, around, batch, times, keys, dropout_key):
    real = judged(params, around, batch["image"])
    fake = judged(params, around, drawn(around.groups["generator"], fold_in_each(keys, 0)))
    statistics = {"mean": 0.9 * around.statistics["mean"] + 0.1 * batch["image"].mean(axis=0)}
    return Outcome(jax.nn.relu(1 - real) + jax.nn.relu(1 + fake), {"real": real}, statistics)


def pair(*, whole_batch=False):
    """Hinge losses; the generator is stepped first."""
    averages = {"ema_decay": 0.9, "ema_warmup": False}
    return {
        "generator": Group(generator, optax.sgd(0.05), Objective(of_generator, whole_batch=whole_batch), **averages),
        "critic": Group(critic, optax.adam(1e-2), Objective(of_critic), **averages),
    }


def create():
    return create_state(pair(), jax.random.key(0), statistics={"mean": jnp.zeros(2)})


def batch_of(i, poisoned=False):
    points = MEAN[None] + 0.3 * jax.random.normal(jax.random.fold_in(jax.random.key(5), i), (BATCH, 2))
    return {"image": jnp.where(poisoned, jnp.nan, points), "index": BATCH * i + jnp.arange(BATCH)}


def batches(first, mesh, poisoned=()):
    i = first
    while True:
        placed = jax.device_put(batch_of(i, i in poisoned), over_batch(mesh))
        i += 1
        yield placed, {"batches": i}


def train(folder, steps, *, mesh=None, poisoned=(), per_dispatch=1, **options):
    """The state after so many steps, from the newest checkpoint in the folder if there is one."""
    mesh = make_mesh() if mesh is None else mesh
    step = make_train_step(pair(), **options)
    places = sharded_by_size(jax.eval_shape(create), mesh)
    jitted = jax.jit(
        in_sequence(lambda state, batch, frozen: step(state, batch, frozen, lambda params: gathered(params, mesh))),
        donate_argnums=0,
        out_shardings=(places, replicated(mesh)),
    )
    network = jax.device_put(frozen(), replicated(mesh))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        if checkpoints.latest is None:
            state, first = jax.jit(create, out_shardings=places)(), 0
        else:
            state, data, _ = checkpoints.restore(abstract_state(create, mesh))
            first = data["batches"]
        with TrainingLog(folder, steps, int(state.step), Meter(BATCH)) as log:
            return run_training(
                state,
                lambda state, taken: jitted(state, taken, network),
                batches(first, mesh, poisoned),
                workdir=folder,
                checkpoints=checkpoints,
                log=log,
                schedule=Schedule(steps, 1, checkpoint_every=3, sample_every=0, per_dispatch=per_dispatch),
                draw_samples=lambda state: None,
                post_stop=lambda: lambda: False,
            )


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
