"""Being asked to stop: once for a safe point, twice by hand for now."""

import os
import signal

import pytest

from score_jax.runtime import stop as stopping
from score_jax.runtime.stop import Stop, stop_on_signals


def test_nobody_asked():
    stop = Stop()
    assert not stop


@pytest.mark.parametrize(
    ("number", "cause", "code"), [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "Ctrl-C", 130)]
)
def test_a_signal_asks_and_what_handled_it_before_does_so_again(number, cause, code):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop and (stop.cause, stop.exit_code) == (cause, code)
    assert signal.getsignal(number) is before


def test_a_key_press_that_arrives_twice_is_one(capsys):
    with stop_on_signals() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop and capsys.readouterr().err.count("Ctrl-C again ends at once") == 1


def test_asked_again_by_hand_it_ends_at_once(monkeypatch):
    monkeypatch.setattr(stopping, "IMPATIENCE_SECONDS", -1.0)
    codes = []
    monkeypatch.setattr(stopping.os, "_exit", codes.append)
    with stop_on_signals():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    assert codes == [130]
