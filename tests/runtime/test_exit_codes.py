"""Whether an error is of the world, and the code that a command ends with for each kind."""

import errno

import pytest

from score_jax.cli import main as cli
from score_jax.errors import InputError, Outage
from score_jax.runtime.exit_codes import AGAIN, INTERRUPTED, MEND
from score_jax.runtime.outages import is_outage

OUTAGES = [
    OSError("503 Service Unavailable"),
    OSError(errno.ETIMEDOUT, "Connection timed out"),
    OSError(errno.EIO, "Input/output error"),
    ConnectionResetError("Connection reset by peer"),
    TimeoutError(),
    ValueError("UNAVAILABLE: Error opening kvs driver: HTTP response code: 503 with body 'backendError'"),
    ValueError("DEADLINE_EXCEEDED: no answer"),
    RuntimeError("status: 429"),
]
OTHERS = [
    OSError(errno.ENOSPC, "No space left on device", "/runs/500/state"),
    PermissionError(errno.EACCES, "Permission denied"),
    ValueError("NOT_FOUND: HTTP response code: 404"),
    ValueError("Error reading /data/503/time.npy: it is no array"),
    KeyError("timeout"),
]


def chained(error: Exception) -> Exception:
    """As libraries hand it on."""
    try:
        raise RuntimeError("Checkpoint save failed.") from error
    except RuntimeError as found:
        return found


@pytest.mark.parametrize("error", OUTAGES, ids=str)
def test_what_may_work_again_later_is_an_outage(error):
    assert is_outage(error) and is_outage(chained(error))


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_what_a_person_must_mend_is_none(error):
    assert not is_outage(error) and not is_outage(chained(error))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError("No such key."), MEND, "score_jax train: No such key.\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), MEND, "cannot write x: No space left on device.\n"),
        (Outage("The bucket is away."), AGAIN, "score_jax train: The bucket is away.\n"),
        (OSError("503 Service Unavailable"), AGAIN, "503 Service Unavailable. The same command goes on"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted. Run the same command again to resume.\n"),
    ],
    ids=str,
)
def test_each_kind_of_error_has_its_code_and_one_line(monkeypatch, capsys, error, code, said):
    def fails(words):
        raise error

    monkeypatch.setattr(cli, "_prepared", lambda verb, words: fails)
    assert cli.main(["score_jax", "train"]) == code
    found = capsys.readouterr().err
    assert said in found and found.count("\n") == 1
