"""What checkpoints have beside weights: known things are read, foreign ones are named and left out, nothing runs."""

import contextlib
import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from score_jax.convert import unpickle
from score_jax.convert.readers import read_checkpoint
from score_jax.errors import InputError

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize("name", ["odd.pt", "odd_legacy.pt"])
def test_tensors_of_every_kind_are_read(name):
    tensors = read_checkpoint(FILES / name)["tensors"]
    for kind in ("attributes", "parameter"):
        np.testing.assert_array_equal(tensors[kind], np.arange(3, dtype=np.float32) / 8, strict=True)
    np.testing.assert_array_equal(tensors["expanded"], np.full(1000, 0.5, np.float32), strict=True)
    np.testing.assert_array_equal(tensors["conjugated"], np.array([1 - 2j], np.complex64), strict=True)
    np.testing.assert_array_equal(tensors["negated"], np.array([-2], np.float32), strict=True)
    for kind in ("complex64", "complex128"):
        np.testing.assert_array_equal(tensors[kind], np.array([1 + 2j], kind), strict=True)
    np.testing.assert_array_equal(tensors["complex32"], np.array([1 + 2j, 3 - 4j], np.complex64), strict=True)
    for kind in ("uint16", "uint32", "uint64"):
        np.testing.assert_array_equal(tensors[kind], np.arange(4, dtype=kind), strict=True)
    for kind in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"):
        assert tensors[kind].dtype == getattr(ml_dtypes, kind)
        np.testing.assert_array_equal(tensors[kind].astype(np.float32), [1, 2, 3, 4])
    np.testing.assert_array_equal(tensors["float8_e8m0fnu"].astype(np.float32), [1, 2, 4, 4])


@pytest.mark.parametrize("name", ["odd.pt", "odd_legacy.pt"])
def test_foreign_objects_are_named_and_left_out(name, capsys):
    found = read_checkpoint(FILES / name)
    assert found["by_number"][0].tolist() == [0, 0.125]
    assert found["of_a_class"]["w"].tolist() == found["within"]["shadow"]["w"].tolist() == [0, 0.125]
    beside = {name: value for name, value in found["beside"].items() if name != "text"}
    assert beside == {
        "bytes": b"abc",
        "counter": {"a": 2, "b": 1},
        "default": {"a": [1]},
        "size": (1, 2),
        "dtype": "float32",
        "device": "cuda:0",
        "set": (1,),
        "frozen": (1,),
        "path": "/a/b",
        "namespace": {"a": 1},
        "scalar": 0.5 * 4,
    }
    assert "sparse" not in found
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "left out, and nothing of it executed: " in line
    for left in ("_rebuild_sparse_tensor", "lightning_like.Stage", "lightning_like.Settings", "numpy array of objects"):
        assert left in line


class Global:
    """Pickles as a global of this name, whether or not there is one."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self):
        raise AssertionError


class Pickler(pickle._Pickler):
    def save_named(self, named: Global) -> None:
        module, _, name = named.name.rpartition(".")
        self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")

    dispatch = pickle._Pickler.dispatch | {Global: save_named}


class Made:
    """Pickles as a call of a global, with a state, entries of a list and entries of a dictionary."""

    def __init__(self, name, *args, state=None, items=(), entries=None):
        self.parts = (Global(name), args, state, iter(items), iter((entries or {}).items()))

    def __reduce__(self):
        return self.parts


def pickled(value, protocol=2) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def read(tmp_path, value, protocol=2):
    (tmp_path / "a.pkl").write_bytes(pickled(value, protocol))
    return read_checkpoint(tmp_path / "a.pkl")


W = np.arange(3.0)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_weights_beside_a_call_are_read_and_nothing_is_called(tmp_path, capsys, protocol):
    marker = tmp_path / "executed"
    evil = Made("os.system", f"touch {marker}")
    called_twice = Made("builtins.getattr", Global("os.path"), "join")
    found = read(tmp_path, {"w": W, "a": evil, "b": [called_twice, 3]}, protocol)
    np.testing.assert_array_equal(found["w"], W)
    assert found["b"] == [None, 3] and "a" not in found and not marker.exists()
    assert "os.system" in capsys.readouterr().out


def test_an_object_with_arrays_is_read_as_its_attributes(tmp_path, capsys):
    module = Made("my.nets.Net", state={"training": True, "_parameters": {"w": W}, "_modules": {}})
    assert read(tmp_path, {"model": module})["model"]["_parameters"]["w"].tolist() == W.tolist()
    slots = Made("my.Ema", state=(None, {"shadow": [W, W]}))
    assert len(read(tmp_path, slots)["shadow"]) == 2
    listed = Made("my.List", items=[W, 3])
    assert read(tmp_path, {"a": listed})["a"][1] == 3
    entries = Made("my.Dict", entries={"w": W, 3: W})
    assert set(read(tmp_path, entries)) == {"w", 3}
    assert capsys.readouterr().out == ""


def test_an_object_that_knows_its_owner_is_left_out(tmp_path):
    owner: dict = {}
    owned = Made("omegaconf.DictConfig", state={"parent": owner, "deep": [[[[]]]]})
    owner["child"] = owned
    assert set(read(tmp_path, {"w": W, "config": Made("a.B", state={"o": owner})})) == {"w"}
    deep: list = []
    for _ in range(90):
        deep = [deep]
    assert set(read(tmp_path, {"w": W, "config": Made("a.B", state={"deep": deep})})) == {"w"}


@pytest.mark.parametrize("name", ["a.b\nc", "os\x1b[31m.x", "a." + "b" * 3_000_000, "\u202ea.b", "a.b c"])
def test_a_name_cannot_write_into_a_message(tmp_path, capsys, name):
    data = b"\x80\x04" + b"".join(
        (b"\x8c" + bytes([len(part)]) if len(part) < 256 else b"X" + struct.pack("<I", len(part))) + part
        for part in (text.encode() for text in name.rsplit(".", 1))
    )
    (tmp_path / "a.pkl").write_bytes(data + b"\x93.")
    with pytest.raises(InputError, match="not a plain checkpoint") as caught:
        read_checkpoint(tmp_path / "a.pkl")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500 + len(str(tmp_path))
    beside = b"X\x01\x00\x00\x00w" + pickled(W)[2:-1] + b"s" + b"X\x01\x00\x00\x00x" + data[2:] + b"\x93s."
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04}" + beside)
    assert set(read_checkpoint(tmp_path / "a.pkl")) == {"w"}
    line = capsys.readouterr().out
    assert line[:-1].isprintable() and len(line) < 500 + len(str(tmp_path))


def test_arrays_of_the_newer_protocol_and_of_jax_are_read(tmp_path):
    (tmp_path / "a.pkl").write_bytes(
        pickle.dumps({"w": W, "f": np.asfortranarray(np.eye(2, 3)), "b": W.astype(">f4")}, 5)
    )
    found = read_checkpoint(tmp_path / "a.pkl")
    np.testing.assert_array_equal(found["w"], W)
    np.testing.assert_array_equal(found["f"], np.eye(2, 3))
    np.testing.assert_array_equal(found["b"], W)
    build, args, state = W.__reduce__()
    array = Made("jax._src.array._reconstruct_array", build, args, state, {"weak_type": False})
    np.testing.assert_array_equal(read(tmp_path, {"w": array})["w"], W)


def storage(key: str, count: int) -> bytes:
    head = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX" + struct.pack("<I", len(key)) + key.encode()
    return head + b"X\x03\x00\x00\x00cpuJ" + struct.pack("<i", count) + b"tQ"


def views(path: Path, names: int, size: tuple, stride: tuple, count: int) -> Path:
    """A zip checkpoint of so many tensors of one size and stride on one storage."""
    numbers = lambda values: b"(" + b"".join(b"J" + struct.pack("<i", n) for n in values) + b"t"  # noqa: E731
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage("0", count) + b"K\x00" + numbers(size) + numbers(stride)
    entries = b"".join(b"J" + struct.pack("<i", i) + tensor + b"\x89NtR" for i in range(names))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}(" + entries + b"u.")
        archive.writestr("a/data/0", np.arange(count, dtype=np.float32).tobytes(), zipfile.ZIP_STORED)
    return path


def test_views_of_a_storage_share_its_memory(tmp_path):
    path = views(tmp_path / "views.pth", 64, (1000, 1000), (1000, 1), 1_000_000)
    tracemalloc.start()
    try:
        found = read_checkpoint(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 64 and found[63][999, 999] == 999_999
    assert peak < 2 * path.stat().st_size


def test_expanded_views_that_come_to_more_than_a_file_may_are_refused(tmp_path):
    bomb = views(tmp_path / "bomb.pth", 1500, (2**18,), (0,), 4)
    with pytest.raises(InputError, match="would unpack to") as caught:
        read_checkpoint(bomb)
    assert "\n" not in str(caught.value)
    assert read_checkpoint(views(tmp_path / "few.pth", 15, (2**18,), (0,), 4))[3].shape == (2**18,)


BOMBS = {
    "lists": b"\x80\x02(" + b"]" * 2**19 + b"l.",
    "globals": b"\x80\x02(" + b"".join(b"ca\nb%d\n0" % i for i in range(2**13)) + b"N.",
    "copies": b"\x80\x02("
    + b"cbuiltins\nset\nq\x000("
    + b"N" * 2**16
    + b"lq\x010"
    + b"h\x00h\x01\x85R" * 2**10
    + b"l.",
    "pairs": b"\x80\x02(ccollections\nOrderedDict\nq\x000("
    + b"N" * 2**16
    + b"lq\x010"
    + b"h\x00h\x01\x85R" * 2**8
    + b"l.",
    "encoded": b"\x80\x02(c_codecs\nencode\nq\x000X"
    + struct.pack("<I", 2**20)
    + b"a" * 2**20
    + b"q\x010("
    + b"h\x00h\x01\x85R" * 2**12
    + b"ll.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_pickle_does_not_fill_the_memory(name, monkeypatch):
    monkeypatch.setattr(unpickle, "_MAX_OPCODES", 2**17)  # a quarter of a second, and not ten
    tracemalloc.start()
    try:
        with contextlib.suppress(InputError):
            unpickle.resolve(unpickle.unpickle(io.BytesIO(BOMBS[name])))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**26


def test_numbers_of_every_protocol_are_read(tmp_path):
    for protocol in range(6):
        assert read(tmp_path, {"w": W, "c": 1 - 2j, "b": True, "n": 10**30}, protocol)["c"] == 1 - 2j


def test_a_good_checkpoint_is_not_touched_by_the_bounds(tmp_path):
    """Thousands of tensors, a long history, and everything shared."""
    state = {f"layer.{i}.weight": np.full(2, i, np.float32) for i in range(2000)}
    found = read(tmp_path, {"model": state, "same": state, "history": [0.5] * 50_000, "ema": dict(state)}, 4)
    assert found["model"] is found["same"] and len(found["history"]) == 50_000
    np.testing.assert_array_equal(found["ema"]["layer.1999.weight"], [1999, 1999])
