"""Training by the exact likelihood beside the evaluations that its solve makes: a pair of `in_loops.py`."""

from collections.abc import Callable

import jax
from in_loops_models import Model
from ratios import Pair, seconds

from score_jax.likelihood.divergence import Divergence
from score_jax.samplers.ode import example_drift

ODE_STEPS = 2
_PULLBACKS = 1 + 6 * ODE_STEPS
"""Of the solve's gradient: one for each evaluation by dopri5, with a value of its own."""
_VALUES = _PULLBACKS + 7
"""Of the solve itself, and of its first step once more, from the one checkpoint that diffrax keeps of two steps."""


def likelihood_training_pair(whole: Callable[[], float], model: Model) -> Pair:
    """A step of training by the exact likelihood beside the evaluations of the drift that the solve makes, by call.

    Args:
      whole: seconds of a step.
      model: that is trained by its likelihood, in `ODE_STEPS`.
    """
    forward, backward = drift_programs(model)
    arguments = (model.params, *model.noise())

    def in_calls() -> float:
        return _VALUES * seconds(forward, *arguments, times=4) + _PULLBACKS * seconds(backward, *arguments, times=4)

    return Pair(
        "loop_ratio_likelihood_training",
        whole,
        in_calls,
        f"a step through the ODE over its {_VALUES} drifts with divergence and {_PULLBACKS} pullbacks, {model.words}",
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
