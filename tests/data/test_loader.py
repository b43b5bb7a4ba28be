import dataclasses
import threading
import time
from collections.abc import Sequence

import jax
import numpy as np
import pytest

from score_jax.data import loader as loading
from score_jax.data.loader import eval_batches, make_loader, prefetch_to_device
from score_jax.data.sources import open_source
from score_jax.errors import InputError
from score_jax.runtime.sharding import make_mesh, over_batch

COUNT = 20


@pytest.fixture
def source(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    return open_source(str(tmp_path / "images.npy"), "all", image_size=4, channels=1)


def loader(source, *, batch_size=5, seed=0, flip=True, process_index=0, process_count=1):
    return make_loader(
        source,
        batch_size=batch_size,
        seed=seed,
        flip=flip,
        process_index=process_index,
        process_count=process_count,
    )


def take(batches, count):
    rows = [next(batches) for _ in range(count)]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}


def assert_same(a, b):
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_an_epoch_is_every_example_once_and_epochs_differ(source):
    index = take(loader(source), 3 * COUNT // 5)["index"].reshape(3, COUNT)
    for epoch in index:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(COUNT))
    assert (index[0] != index[1]).any() and (index[1] != index[2]).any()


def test_the_stream_depends_on_the_seed_alone(source):
    assert_same(take(loader(source), 7), take(loader(source), 7))
    assert (take(loader(source, seed=1), 4)["index"] != take(loader(source), 4)["index"]).any()


def test_state_continues_the_stream(source):
    whole, first = loader(source), loader(source)
    take(whole, 3)
    take(first, 3)
    state = first.get_state()
    resumed = loader(source)
    resumed.set_state(state)
    assert resumed.get_state() == state
    assert_same(take(whole, 6), take(resumed, 6))


def test_threads_make_no_difference_to_either_stream(source):
    many, one = (dataclasses.replace(source, threads=threads) for threads in (7, 1))
    assert_same(take(loader(many), 9), take(loader(one), 9))
    for a, b in zip(eval_batches(many, 8, 0, 1), eval_batches(one, 8, 0, 1), strict=True):
        assert_same(a, b)
        np.testing.assert_array_equal(a["image"], np.stack([source[i]["image"] for i in a["index"]]))


def test_a_loader_that_read_ahead_goes_back(source):
    batches = loader(source)
    first = take(batches, 3)
    batches.set_state({"batches": 1})
    assert_same({key: rows[5:] for key, rows in first.items()}, take(batches, 2))


class Watched(Sequence):
    """Rows that say which of them were read; those behind the first `free` wait until they may."""

    def __init__(self, rows, free):
        self.rows, self.free, self.read, self.may = rows, free, [], threading.Event()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.read.append(i)
        if len(self.read) > self.free:
            self.may.wait(20)
        return self.rows[i]


@pytest.mark.parametrize(("size", "ahead"), [(10**9, 64), (5 * (4 * 4 + 4 + 4) * 9, 9), (1, 2)])
def test_no_more_is_read_ahead_than_fits(source, monkeypatch, size, ahead):
    monkeypatch.setattr(loading, "_BYTES_AHEAD", size)
    watched = Watched(source.rows, 10**9)
    batches = loader(dataclasses.replace(source, rows=watched, threads=2))
    before = len(watched.read)
    next(batches)
    expected, until = before + 5 * (1 + ahead), time.monotonic() + 10
    while len(watched.read) < expected and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(watched.read) == expected
    batches.close()


def test_a_closed_loader_reads_no_more(source):
    watched = Watched(source.rows, 12)
    batches = loader(dataclasses.replace(source, rows=watched, threads=1))
    next(batches)
    batches.close()
    watched.may.set()
    time.sleep(0.1)
    assert len(watched.read) <= 20  # two batches of five that may have begun, of 64


def test_what_is_wrong_with_an_example_is_said(source):
    def prepare(pixels, name):
        if name.startswith("image 3 "):
            raise InputError("no image")
        return pixels

    with pytest.raises(InputError, match="no image"):
        take(loader(dataclasses.replace(source, prepare=prepare)), COUNT // 5)


def test_two_processes_share_the_stream_of_one(source):
    one = loader(source, batch_size=4)
    two = [loader(source, batch_size=4, process_index=p, process_count=2) for p in (0, 1)]
    for _ in range(7):
        parts = [next(part) for part in two]
        assert_same(next(one), {key: np.concatenate([p[key] for p in parts]) for key in parts[0]})
    assert two[0].get_state() == one.get_state()


def test_flips_mirror_half_of_the_images(source):
    batch = take(loader(source), 40)
    originals = np.stack([source[i]["image"] for i in batch["index"]])
    same = (batch["image"] == originals).all((1, 2, 3))
    mirrored = (batch["image"] == originals[:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all()
    assert 0.35 < mirrored.mean() < 0.65
    plain = take(loader(source, flip=False), 4)
    np.testing.assert_array_equal(plain["image"], np.stack([source[i]["image"] for i in plain["index"]]))


def test_a_source_smaller_than_the_batch_repeats(source):
    index = take(loader(source, batch_size=50), 2)["index"]
    np.testing.assert_array_equal(np.bincount(index), [5] * COUNT)


def test_uneven_processes_are_refused(source):
    with pytest.raises(InputError, match="cannot be split over 2 processes"):
        loader(source, batch_size=5, process_count=2)


def test_prefetched_batches_carry_the_state_after_themselves(source):
    batches = prefetch_to_device(loader(source, batch_size=8), over_batch(make_mesh()))
    for _ in range(3):
        batch, state = next(batches)
    assert batch["image"].sharding == over_batch(make_mesh())
    resumed = loader(source, batch_size=8)
    resumed.set_state(state)
    following, _ = next(batches)
    assert_same(jax.device_get(following), next(resumed))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("count", [COUNT, 7])
def test_evaluation_counts_each_example_once(source, processes, count):
    parts = [list(eval_batches(source, 6, p, processes, count=count)) for p in range(processes)]
    assert len({len(part) for part in parts}) == 1
    batches = [batch for part in parts for batch in part]
    assert {batch["image"].shape[0] for batch in batches} == {6 // processes}
    seen = np.concatenate([batch["index"][batch["mask"]] for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(count))
