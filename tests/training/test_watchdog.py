"""A training whose steps stand still ends, and one that is only slow, compiles or saves does not."""

import time

from score_jax.training.watchdog import FACTOR, Watchdog


def ended(work, timeout=0.05):
    """What a watchdog says while `work` is done."""
    lines = []
    with Watchdog(timeout, lines.append) as watchdog:
        work(watchdog)
    return lines


def standing_still(watchdog):
    watchdog.begin(1)
    watchdog.begin(1)
    time.sleep(0.8)


def test_a_step_that_stands_still_ends_the_process_once():
    (line,) = ended(standing_still)
    assert line.startswith("no step ended for 0 s") and "training.step_timeout" in line


def test_no_timeout_means_no_end():
    assert ended(standing_still, timeout=0.0) == []


def test_what_is_compiled_may_take_long():
    def work(watchdog):
        watchdog.begin(1)
        watchdog.begin(10)  # another size is another program
        time.sleep(0.8)

    assert ended(work) == []


def test_what_lies_between_steps_may_take_long():
    def work(watchdog):
        watchdog.begin(1)
        watchdog.begin(1)
        watchdog.end()
        time.sleep(0.8)

    assert ended(work) == []


def test_slow_steps_may_take_longer_than_the_timeout(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watchdog = Watchdog(600.0, print)
    for _ in range(3):
        watchdog.begin(1)
        now[0] += 100
    watchdog.end()
    assert watchdog.limit == FACTOR * 100
