"""A process that waits for others in vain says for whom, and ends."""

import os
import socket
import threading
import time

import pytest

from score_jax.errors import InputError
from score_jax.runtime import rendezvous
from score_jax.runtime.rendezvous import connected, expected_hosts, missing_hosts, seconds_to_wait, waiting


def row(local, remote, state, number):
    """As a line of /proc/net/tcp, split."""
    return ["0:", local, remote, state, *["0"] * 5, number]


ANY6, MAPPED = "0" * 32, "0000000000000000FFFF0000"
LISTENING = row("0100007F:1F90", "00000000:0000", "0A", "77")
LISTENING_TOO = row(f"{ANY6}:1F90", f"{ANY6}:0000", "0A", "77")
FROM_HOST = row("0100007F:1F90", "0700000A:8235", "01", "0")
FROM_MAPPED = row(f"{MAPPED}0100007F:1F90", f"{MAPPED}0900000A:8236", "01", "0")
TO_OTHER_PORT = row("0100007F:1F91", "0800000A:8237", "01", "0")


def test_who_is_connected_to_this_process_is_known():
    rows = [LISTENING, LISTENING_TOO, FROM_HOST, FROM_MAPPED, TO_OTHER_PORT]
    assert connected(rows, {"77"}) == ["10.0.0.7", "10.0.0.9"]
    assert connected(rows, {"78"}) is None


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="tables of Linux")
def test_a_real_connection_is_seen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = connected(rendezvous._rows_of_sockets(), rendezvous._own_sockets())
        with socket.create_connection(server.getsockname()), server.accept()[0]:
            after = connected(rendezvous._rows_of_sockets(), rendezvous._own_sockets())
    assert after.count("127.0.0.1") == before.count("127.0.0.1") + 1


def test_missing_hosts_are_named_where_the_launcher_names_them(monkeypatch):
    assert expected_hosts({}) == []
    assert expected_hosts({"TPU_WORKER_HOSTNAMES": "a,b"}) == ["a", "b"]
    assert missing_hosts(["localhost", "no-such-host.invalid", socket.gethostname()], ["127.0.0.1"]) == [
        "no-such-host.invalid"
    ]


def test_a_line_is_said_while_waiting_and_one_in_the_end(monkeypatch, capsys):
    monkeypatch.setattr(rendezvous, "_LINE_EVERY", 0.1)
    said = threading.Event()
    lines = []
    with waiting(0.25, "3 processes", lambda line: (lines.append(line), said.set())):
        assert said.wait(5)
    assert "waited 0 s for 3 processes" in lines[0] and "SCORE_JAX_JOIN_SECONDS" in lines[0]
    assert capsys.readouterr().err.count("Waiting for 3 processes") == 2


def test_who_comes_in_time_ends_the_wait():
    lines = []
    with waiting(0.1, "others", lines.append):
        pass
    time.sleep(0.2)
    assert not lines


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_the_seconds_are_a_positive_number(text):
    assert seconds_to_wait({}) == 300
    with pytest.raises(InputError, match="SCORE_JAX_JOIN_SECONDS"):
        seconds_to_wait({"SCORE_JAX_JOIN_SECONDS": text})
