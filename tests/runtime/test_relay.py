"""What other processes write on stderr is said by the first one, with their names, and never without end."""

import io
import json
import logging
import sys

import pytest

from score_jax.runtime import relay
from score_jax.runtime.relay import Overheard, Relay, grouped


class Mail(dict):
    """A store in this process."""

    put = dict.__setitem__

    def take(self, folder):
        return {key.removeprefix(folder): self.pop(key) for key in list(self) if key.startswith(folder)}


def mail(**hosts_and_lines):
    """From process_turn = (host, lines)."""
    return {key[1:].replace("_", "/"): json.dumps(each) for key, each in hosts_and_lines.items()}


def test_a_text_is_said_once_with_all_that_wrote_it():
    found = grouped(mail(_10_1=("c", ["slow"]), _2_1=("b", ["slow", "hot"]), _2_2=("b", ["hot"])))
    assert found == ["processes 2 (b), 10 (c): slow", "process 2 (b): hot"]
    many = grouped({f"{i}/1": json.dumps(("host", ["slow"])) for i in range(1, 64)})
    assert many == ["processes 1 (host), 2 (host), 3 (host), 4 (host) and 59 more: slow"]


def test_lines_and_records_of_loggers_are_passed_on_and_still_written(monkeypatch, capsys, tmp_path):
    store, own = Mail(), io.StringIO()
    overheard = Overheard(own)
    monkeypatch.setattr(relay, "_kept", None)
    with monkeypatch.context() as other:
        other.setattr(sys, "stderr", overheard)
        print("loader.py:3: UserWarning: the disk is slow", file=sys.stderr)
        logging.StreamHandler(sys.stderr).emit(logging.makeLogRecord({"msg": "a chip is hot"}))
        print("no end yet", end="", file=sys.stderr)
    process = Relay(store, 1, overheard)
    process.turn(0.0)
    process.turn(1.0)
    assert len(store) == 1
    Relay(store, 0).turn(1.0)
    said = capsys.readouterr().err
    for text in ("the disk is slow", "a chip is hot"):
        assert text in own.getvalue()
        assert f"process 1 ({relay.socket.gethostname()}): " in said and text in said
    assert "no end yet" not in said
    assert not list(tmp_path.iterdir())
    relay.keep_of_others(tmp_path)
    assert (tmp_path / relay.FILE_NAME).read_text() == said
    Relay(store, 0).turn(2.0)
    assert not store and not capsys.readouterr().err


def test_the_file_descriptor_is_that_of_the_stream():
    assert Overheard(sys.__stderr__).fileno() == sys.__stderr__.fileno()


@pytest.mark.parametrize("per_turn", [1, 1000])
def test_a_process_that_does_not_stop_is_counted_not_said(per_turn):
    overheard, said = Overheard(io.StringIO()), []
    for now in range(1, 60):
        overheard.write("slow\n" * per_turn)
        said += overheard.taken(float(now))
    assert len(said) <= relay._MOST
    overheard.write("over\n")
    after = overheard.taken(61.0)
    assert after[0] == "over" and "more lines, in its own output" in " ".join(said + after)
