"""Rules along the probability flow, where its map is known: of Gaussian data, by the order of their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VP, LinearVE
from score_jax.processes.noise import replay
from score_jax.samplers import dpm_solver, heun, steps
from score_jax.samplers.chain import run_chain
from score_jax.samplers.deis import deis
from score_jax.samplers.exponential import no_answers
from score_jax.samplers.unipc import nothing_before, unipc

STD = 0.4
ORDERS = {
    "ddim": (1, steps.ddim),
    "euler": (1, heun.first_order),
    "euler_maruyama": (1, lambda process: steps.euler_maruyama(process, probability_flow=True)),
    "reverse_diffusion": (1, lambda process: steps.reverse_diffusion(process, probability_flow=True)),
    "heun": (2, heun.second_order),
    "midpoint": (2, lambda process: heun.second_order(process, 0.5)),
    "ralston": (2, lambda process: heun.second_order(process, 2 / 3)),
    "dpm_solver_2s": (2, dpm_solver.singlestep),
}
"""Of a rule without memory: its order, and the rule."""
REMEMBERING = {
    "dpm_solver_2m": (2, dpm_solver.multistep, lambda x: no_answers(x, 1)),
    "dpm_solver_3m": (3, lambda process: dpm_solver.multistep(process, 3), lambda x: no_answers(x, 2)),
    "deis_2": (2, lambda process: deis(process, 2), lambda x: no_answers(x, 1)),
    "deis_3": (3, lambda process: deis(process, 3), lambda x: no_answers(x, 2)),
    "unipc_2": (3, lambda process: unipc(process, 2), lambda x: nothing_before(x, 2)),
    "unipc_3": (4, lambda process: unipc(process, 3), lambda x: nothing_before(x, 3)),
}
"""Of a rule with a memory: its order, the rule, and what it begins with; UniPC's corrector adds an order."""


def std_at(process, t):
    return jnp.sqrt((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)


def error(process, rule, grid, memory=None):
    """Of the end of a walk that begins at 1, whose true end is std_s / std_t."""
    model = score_predictor(lambda x, t: -x / std_at(process, t)[:, None] ** 2, process)
    start = jnp.ones((1, 1))
    began = None if memory is None else memory(start)
    end = run_chain(rule(process), model, lambda i: lambda j: jnp.zeros_like(start), start, grid, (), began).x
    return abs(end[0, 0] - std_at(process, grid[-1]) / std_at(process, grid[0]))


def uneven(count):
    """A grid of uneven steps: a multistep rule has to know how long the last one was.

    Its first steps, which have a lower order, are short ones, each half as long again as the one before.
    """
    grid = 0.9 * jnp.linspace(1.0, 0.3, count + 1) ** 2
    short = (grid[0] - grid[3]) * 1.5 ** jnp.arange(-30.0, 0.0)
    return jnp.concatenate([grid[:1], grid[0] - short, grid[3:]])


@pytest.mark.parametrize("name", [*ORDERS, *REMEMBERING])
@pytest.mark.parametrize("process", [VP(), LinearVE(1.0)], ids=["vp", "linear_ve"])
def test_halved_steps_divide_the_error_by_two_to_the_order(name, process, x64):
    order, rule, *memory = (ORDERS | REMEMBERING)[name]
    of = jax.jit(lambda grid: error(process, rule, grid, *memory))
    coarse, fine = (of(uneven(n)) for n in ((256, 512) if memory else (64, 128)))
    # The midpoint rule gains an order on dx/dt = x t / (STD² + t²).
    best = 3 if (name, type(process)) == ("midpoint", LinearVE) else order
    np.testing.assert_allclose(np.log2(coarse / fine), best, atol=0.15)


def error_of_variance(process, step, grid, memory):
    """Of the end of a walk with noise, whose end is a linear map of its beginning and its draws."""
    model = score_predictor(lambda x, t: -x / std_at(process, t)[:, None] ** 2, process)

    def end(begun, draws):
        x = begun.reshape(1, 1)
        return run_chain(step, model, replay(draws.reshape(-1, 1, 1), 1), x, grid, (), memory(x)).x[0, 0]

    of_begun, of_draws = jax.jacfwd(end, (0, 1))(jnp.zeros(()), jnp.zeros(len(grid) - 1))
    variance = (of_begun * std_at(process, grid[0])) ** 2 + jnp.sum(of_draws**2)
    return abs(variance - std_at(process, grid[-1]) ** 2)


@pytest.mark.parametrize("process", [VP(), LinearVE(1.0)], ids=["vp", "linear_ve"])
def test_the_sde_solver_is_of_second_order_in_law(process, x64):
    step = dpm_solver.sde_multistep(process)
    of = jax.jit(lambda grid: error_of_variance(process, step, grid, lambda x: no_answers(x, 1)))
    coarse, fine = (of(uneven(n)) for n in (128, 256))
    np.testing.assert_allclose(np.log2(coarse / fine), 2, atol=0.15)
