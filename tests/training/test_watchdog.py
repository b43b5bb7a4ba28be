"""A training whose steps stand still ends, and one that is only slow, compiles or saves does not."""

import queue
import time

import pytest

from score_jax.training.step_clock import StepClock
from score_jax.training.watchdog import FACTOR, limit_of, watchdog


def standing_still(clock):
    clock.begin(1)
    clock.begin(1)


def compiling(clock):
    clock.begin(1)
    clock.begin(10)  # another size is another program


def saving(clock):
    clock.begin(1)
    clock.begin(1)
    clock.end()


def test_a_step_that_stands_still_ends_the_process_once():
    lines, clock = queue.SimpleQueue(), StepClock()
    with watchdog(clock, 0.05, lines.put):
        standing_still(clock)
        line = lines.get(timeout=60)
        with pytest.raises(queue.Empty):
            lines.get(timeout=0.6)
    assert line.startswith("no step ended for 0 s") and "training.step_timeout" in line


@pytest.mark.parametrize(("work", "timeout"), [(standing_still, 0.0), (compiling, 0.05), (saving, 0.05)])
def test_no_other_wait_does(work, timeout):
    lines, clock = queue.SimpleQueue(), StepClock()
    with watchdog(clock, timeout, lines.put):
        work(clock)
        with pytest.raises(queue.Empty):
            lines.get(timeout=0.6)


def test_steps_are_counted_without_what_is_compiled_or_lies_between(monkeypatch):
    now, clock = [0.0], StepClock()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for seconds in (1000, 100, 120, 110):
        clock.begin(1)
        now[0] += seconds
    clock.end()
    now[0] += 5000
    assert clock.seconds == 330 and clock.usual == 110
    assert limit_of(clock, 600.0) == FACTOR * 110 and limit_of(clock, 1e5) == 1e5
