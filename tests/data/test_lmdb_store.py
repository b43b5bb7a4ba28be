"""Our reader of LMDBs against LMDB's own library, which writes them; and damaged ones, which end a process of that."""

import contextlib
import random

import numpy as np
import pytest

from score_jax.data.lmdb_store import FILE, open_lmdb_store
from score_jax.errors import InputError

lmdb = pytest.importorskip("lmdb")


@pytest.fixture
def made(tmp_path):
    """Values below, at and above a page, in several transactions with some overwritten and some gone."""
    rng, values = np.random.default_rng(0), {}
    with lmdb.open(str(tmp_path), map_size=2**24) as environment:
        for _ in range(4):
            with environment.begin(write=True) as writing:
                for _ in range(150):
                    key = rng.bytes(20).hex()
                    values[key] = rng.bytes(int(rng.choice([0, 5, 100, 2000, 2030, 4080, 9000])))
                    writing.put(key.encode(), values[key])
                for key in list(values)[::9]:
                    values.pop(key)
                    writing.delete(key.encode())
                for key in list(values)[::7]:
                    values[key] = rng.bytes(300)
                    writing.put(key.encode(), values[key])
    return tmp_path, values


def test_every_value_is_what_was_written(made):
    folder, values = made
    contents = open_lmdb_store(folder)
    assert sorted(contents.names) == sorted(values) and len(values) > 400
    assert all(contents.store.read(name) == value for name, value in values.items())
    assert contents.store.sizes(contents.names) == [len(values[name]) for name in contents.names]


def test_an_empty_one_has_nothing(tmp_path):
    lmdb.open(str(tmp_path)).close()
    assert open_lmdb_store(tmp_path).names == []


def test_databases_within_and_several_values_are_refused(tmp_path):
    for name, options in (("within", {"key": b"x"}), ("several", {"dupsort": True})):
        (tmp_path / name).mkdir()
        with lmdb.open(str(tmp_path / name), max_dbs=2) as environment:
            inner = environment.open_db(**options) if options.get("key") else environment.open_db(b"y", **options)
            with environment.begin(write=True, db=inner) as writing:
                writing.put(b"a", b"1")
        with pytest.raises(InputError, match="holds databases within it"):
            open_lmdb_store(tmp_path / name)


@pytest.mark.parametrize("seed", range(60))
def test_damage_is_found_or_harmless(made, seed):
    folder, _ = made
    raw, rng = bytearray((folder / FILE).read_bytes()), random.Random(seed)
    for _ in range(rng.choice([1, 4, 30])):
        raw[rng.randrange(len(raw) if seed % 2 else 200)] = rng.randrange(256)
    (folder / FILE).write_bytes(raw[: rng.randrange(len(raw))] if seed % 3 == 0 else raw)
    with contextlib.suppress(InputError):
        contents = open_lmdb_store(folder)
        assert all(len(contents.store.read(name)) == size for name, (_, size) in contents.store.places.items())
