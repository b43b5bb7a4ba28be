"""Learning rates in cycles: their ends, their boundaries, and one cycle as the plain schedule has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.training.optimizer import Cycle, cyclic_schedule, learning_rate_schedule

CYCLES = (Cycle(100, 20, 0.1, 1.0, 0.3), Cycle(50, 0, 0.2, 0.7, 0.0))


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        # Step 20 begins the fall: "linear" as if it had fallen from the cycle's beginning.
        ("linear", {0: 0.1, 10: 0.55, 20: 0.3 + 0.7 * 0.8, 100: 0.3, 101: 0.7 * 49 / 50, 150: 0.0, 900: 0.0}),
        ("cosine", {0: 0.1, 10: 0.55, 20: 1.0, 60: 0.65, 100: 0.3, 125: 0.35, 150: 0.0, 900: 0.0}),
    ],
)
def test_cycles(decay, expected):
    schedule = jax.jit(cyclic_schedule(CYCLES, decay))
    found = {step: float(schedule(jnp.asarray(step))) for step in expected}
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_cycle_that_never_ends_is_a_warmup_and_a_constant():
    endless = cyclic_schedule([Cycle(10**13, 100, 1e-6, 1.0, 1.0)], "linear")
    plain = learning_rate_schedule(1.0, 100, "constant", 1000, first=1e-6)
    for step in (0, 1, 50, 99, 100, 101, 10_000):
        np.testing.assert_allclose(endless(step), plain(step), rtol=1e-5, atol=1e-7)


def test_one_cosine_cycle_is_the_plain_schedule_with_its_ends():
    one = cyclic_schedule([Cycle(600, 40, 0.05, 2.0, 0.1)], "cosine")
    plain = learning_rate_schedule(2.0, 40, "cosine", 600, first=0.05 / 2.0, last=0.1 / 2.0)
    for step in (0, 20, 40, 41, 320, 600, 1000):
        np.testing.assert_allclose(one(step), plain(step), rtol=1e-5)


def test_linear_decay_ends_at_its_share():
    plain = learning_rate_schedule(2.0, 10, "linear", 110, last=0.25)
    np.testing.assert_allclose([plain(10), plain(60), plain(110), plain(500)], [2.0, 1.25, 0.5, 0.5], rtol=1e-6)


def test_an_unknown_decay_of_a_cycle():
    with pytest.raises(InputError, match="decay of a cycle"):
        cyclic_schedule(CYCLES, "quadratic")
