"""Rules along the probability flow, where its map is known: of Gaussian data, by the order of their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VP, LinearVE
from score_jax.samplers import dpm_solver, heun, steps

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
    "dpm_solver_2m": (2, dpm_solver.multistep),
}


def std_at(process, t):
    return jnp.sqrt((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)


def error(process, rule, grid):
    """Of the end of a walk that begins at 1, whose true end is std_s / std_t."""
    model = score_predictor(lambda x, t: -x / std_at(process, t)[:, None] ** 2, process)
    step, remembers = rule(process), rule is dpm_solver.multistep

    def advance(carry, pair):
        x, memory = carry
        t, s = pair[:1], pair[1:]
        rest = (memory,) if remembers else ()
        x, _, *memory = step(lambda j: jnp.zeros_like(x), x, t, s, model, *rest)
        return (x, memory[0] if remembers else None), None

    start = jnp.ones((1, 1))
    carry = (start, dpm_solver.no_memory(start) if remembers else None)
    (end, _), _ = jax.lax.scan(advance, carry, jnp.stack([grid[:-1], grid[1:]], axis=1))
    return abs(end[0, 0] - std_at(process, grid[-1]) / std_at(process, grid[0]))


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("process", [VP(), LinearVE(1.0)], ids=["vp", "linear_ve"])
def test_halved_steps_divide_the_error_by_two_to_the_order(name, process, x64):
    order, rule = ORDERS[name]
    of = jax.jit(lambda grid: error(process, rule, grid))
    # Uneven steps: a multistep rule has to know how long the last one was.
    coarse, fine = (of(0.9 * jnp.linspace(1.0, 0.3, n + 1) ** 2) for n in (64, 128))
    # The midpoint rule gains an order on dx/dt = x t / (STD² + t²).
    best = 3 if (name, type(process)) == ("midpoint", LinearVE) else order
    np.testing.assert_allclose(np.log2(coarse / fine), best, atol=0.15)
