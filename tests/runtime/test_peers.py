"""What each process of a job concludes from what the others tell."""

import io
import queue
import threading

import pytest

from score_jax.runtime import peers
from score_jax.runtime.exit_codes import AGAIN, MEND
from score_jax.runtime.peers import Ending, Peers
from score_jax.runtime.relay import Overheard, Relay


class Texts(dict):
    """A store in this process."""

    put = dict.__setitem__

    def below(self, folder):
        return {key.removeprefix(folder): text for key, text in self.items() if key.startswith(folder)}

    def take(self, folder):
        found = self.below(folder)
        for key in found:
            del self[folder + key]
        return found


def quiet(store):
    """The relay of a process that writes nothing."""
    return Relay(store, 1, Overheard(io.StringIO()))


@pytest.fixture
def job():
    store = Texts()
    return [Peers(store, index, silence=10.0) for index in range(3)]


def told(job, seconds, silent=()):
    """What each concludes in the end, where some tell nothing; each second for so many."""
    found = {}
    for now in range(seconds):
        found = {index: peers.tell(float(now)) for index, peers in enumerate(job) if index not in silent}
    return found


def test_nothing_ends_a_job_whose_processes_live(job):
    assert set(told(job, 50).values()) == {None}


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_a_silent_process_is_named_to_all(job, silent):
    told(job, 3)
    assert set(told(job, 10, {silent}).values()) == {None}
    for _ in range(2):  # the first says it, the others hear it
        found = told(job, 14, {silent})
    for ending in found.values():
        assert ending.code == AGAIN and f"process {silent} (" in ending.line, ending


def test_several_silent_ones_are_named_in_one_line(job):
    told(job, 3)
    ending = told(job, 14, {1, 2})[0]
    assert "processes 1 (" in ending.line and "), 2 (" in ending.line


@pytest.mark.parametrize("failing", [0, 2])
def test_all_end_as_the_one_that_failed(job, failing):
    told(job, 3)
    ending = Ending(MEND, "process 2 (a) ended: no such file", stacks=True)
    job[failing].fail(ending)
    assert set(told(job, 2, {failing}).values()) == {ending}


def test_what_failed_first_is_told_of_two_that_end(job):
    told(job, 3)
    job[1].fail(Ending(AGAIN, "process 1 ended: another process cannot be reached"))
    job[2].fail(Ending(MEND, "process 2 ended: no such file"))
    assert told(job, 2, {1, 2})[0].code == MEND


def test_who_left_in_order_is_not_missed(job):
    told(job, 3)
    job[0].leave()
    job[1].leave()
    assert told(job, 50, {0, 1}) == {2: None}


def test_a_first_process_that_does_not_answer_is_not_waited_for(monkeypatch):
    class Stuck(Peers):
        def tell(self, now):
            threading.Event().wait(20)

    monkeypatch.setattr(peers, "SILENCE_SECONDS", 0.5)
    endings = queue.SimpleQueue()
    watch = peers._Watch(Stuck(Texts(), 1), quiet(Texts()), endings.put)
    assert endings.get(timeout=10).code == AGAIN
    watch.tell_end(None)


def test_the_end_of_another_leaves_time_for_an_own_word():
    store, endings = Texts(), queue.SimpleQueue()
    Peers(store, 0).fail(Ending(MEND, "process 0 ended: no such file"))
    watch = peers._Watch(Peers(store, 1), quiet(store), endings.put)
    watch.tell_end(Ending(MEND, "process 1 ended: no such file"))  # it has the same to say
    assert "failed/1" in " ".join(store)
    with pytest.raises(queue.Empty):
        endings.get(timeout=3)
