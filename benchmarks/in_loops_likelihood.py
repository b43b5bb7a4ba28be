"""Training by the exact likelihood beside the evaluations that its solve makes: a pair of `in_loops.py`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from in_loops_models import Model
from ratios import Pair, seconds

from score_jax.divergence import Divergence
from score_jax.samplers.ode import GridODE, example_drift, solve


def likelihood_training_pair(whole: Callable[[], float], model: Model) -> Pair:
    """A step of training by the exact likelihood beside the evaluations of the drift that the solve makes, by call.

    Args:
      whole: seconds of a step.
      model: that is trained by its likelihood.
    """
    values, pullbacks = evaluations_of_a_gradient(model.experiment.config.loss.ode_steps)
    forward, backward = drift_programs(model)
    arguments = (model.params, *model.noise())

    def in_calls() -> float:
        return values * seconds(forward, *arguments, times=4) + pullbacks * seconds(backward, *arguments, times=4)

    return Pair(
        "loop_ratio_likelihood_training",
        whole,
        in_calls,
        f"a step through the ODE over its {values} drifts with divergence and {pullbacks} pullbacks, {model.words}",
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
