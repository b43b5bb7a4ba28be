"""One job at a time writes checkpoints in a folder."""

import dataclasses
import json
import subprocess
import sys
import threading
import time

import pytest

from score_jax.errors import InputError
from score_jax.training import lease as module
from score_jax.training.lease import FILE_NAME, Lease, Writer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "RENEWED_SECONDS", 0.05)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.02)


def said(folder, **values):
    """Another writer's word, from another machine where nothing else is said."""
    values = {"machine": "elsewhere", "host": "other-host"} | values
    writer = dataclasses.replace(Writer.here(), **values)
    (folder / FILE_NAME).write_text(json.dumps(dataclasses.asdict(writer)))
    return writer


def test_a_writer_is_named_while_it_writes_and_not_after(tmp_path):
    folder = tmp_path / "checkpoints"
    with Lease(folder) as lease:
        first = json.loads((folder / FILE_NAME).read_text())
        assert first["pid"] == Writer.here().pid
        time.sleep(0.3)
        assert json.loads((folder / FILE_NAME).read_text())["utc"] > first["utc"]
        lease.check()
    assert list(folder.iterdir()) == []


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path):
    with Lease(tmp_path) as first:
        with pytest.raises(InputError, match="Another run writes checkpoints"), Lease(tmp_path, wait=3.0):
            pass
        first.check()  # and has lost nothing by it
        assert (tmp_path / FILE_NAME).exists()


def test_the_second_goes_on_as_soon_as_the_first_has_ended(tmp_path):
    with Lease(tmp_path) as first:
        threading.Timer(0.3, first.__exit__).start()
        began = time.monotonic()
        with Lease(tmp_path, wait=20.0) as second:
            assert 0.2 < time.monotonic() - began < 10
            second.check()


def test_a_silent_writer_elsewhere_is_waited_for_and_then_succeeded(tmp_path, capsys):
    said(tmp_path)
    began = time.monotonic()
    with Lease(tmp_path, wait=0.3) as lease:
        assert time.monotonic() - began >= 0.3
        lease.check()
    assert "on other-host" in capsys.readouterr().out


def test_a_writer_that_surely_ended_is_not_waited_for(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine = Writer.here().machine
    for values in (
        {"pid": ended.pid, "machine": machine},
        {"started": "1", "machine": machine},  # the number is another process's by now
        {"utc": time.time() - 3600},
    ):
        said(tmp_path, **values)
        began = time.monotonic()
        with Lease(tmp_path, wait=30.0):
            pass
        assert time.monotonic() - began < 5, values


def test_who_stood_still_and_lost_it_writes_nothing_more(tmp_path):
    with Lease(tmp_path) as lease:
        other = said(tmp_path)
        with pytest.raises(InputError, match="has taken over .*other-host"):
            lease.check()
        time.sleep(0.2)
    assert json.loads((tmp_path / FILE_NAME).read_text())["run"] == other.run  # and takes nothing back


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "x"}'])
def test_a_damaged_word_is_nobodys(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with Lease(tmp_path, wait=30.0) as lease:
        lease.check()


def test_a_word_that_is_being_written_at_the_end_does_not_stay(tmp_path, monkeypatch):
    writing, write = threading.Event(), Lease._write

    def slowly(self):
        writing.set()
        time.sleep(0.2)
        write(self)

    with Lease(tmp_path) as lease:
        monkeypatch.setattr(Lease, "_write", slowly)
        assert writing.wait(5)  # the word of the thread that renews it
    lease._renewing.join(5)
    assert not (tmp_path / FILE_NAME).exists()
