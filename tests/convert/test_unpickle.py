"""Hostile pickles: refused, and nothing of them runs."""

import collections
import io
import os
import pickle
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from score_jax.convert import unpickle
from score_jax.convert.readers import read_checkpoint
from score_jax.convert.torch_files import LEGACY_START
from score_jax.errors import InputError


class Call:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def payloads(marker: Path):
    """Ways to run code on loading, each of which would make the file `marker`."""
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    yield "os.system", pickle.dumps(Call(os.system, touch))
    yield "eval", pickle.dumps(Call(eval, f"__import__('os').system({touch!r})"), protocol=2)
    yield "exec", pickle.dumps(Call(exec, code), protocol=0)
    yield "popen", pickle.dumps(Call(subprocess.Popen, ["touch", str(marker)]))
    yield "import", b"\x80\x02cimportlib\nimport_module\nX\x02\x00\x00\x00os\x85R."
    yield "getattr", b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x01\x00\x00\x00a\x86R."
    yield "inst", f"(S'{touch}'\nios\nsystem\n.".encode()
    yield "obj", b"(cos\nsystem\nX" + len(touch).to_bytes(4, "little") + touch.encode() + b"o."
    dotted = b"\x8c\x0bcollections\x8c\x1aOrderedDict.__init__.__func\x93."
    yield "dotted", b"\x80\x04" + dotted
    yield "numpy", pickle.dumps(Call(np.load, str(marker)))
    yield "lambda_of_ours", b"\x80\x02cscore_jax.convert.unpickle\nunpickle\n."
    yield "torch_load", b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00a\x85R."


def wrapped(data: bytes, marker: Path, kind: str, tmp_path: Path) -> Path:
    path = tmp_path / f"checkpoint_{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            archive.writestr("archive/version", "3\n")
    elif kind == "legacy":
        facts = pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
        path.write_bytes(LEGACY_START + facts + data + pickle.dumps([], 2))
    elif kind == "nested":
        inner = LEGACY_START + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + data + pickle.dumps([], 2)
        head = b"\x80\x04ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little")
        path.write_bytes(head + inner + b"\x85R.")
    else:
        path.write_bytes(data if data[:1] == b"\x80" else b"\x80\x02" + data)
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "nested", "plain"])
def test_no_payload_runs(tmp_path, kind):
    marker = tmp_path / "executed"
    for name, data in payloads(marker):
        with pytest.raises(InputError, match="not a plain checkpoint|damaged") as caught:
            read_checkpoint(wrapped(data, marker, kind, tmp_path))
        assert not marker.exists(), name
        assert "\n" not in str(caught.value)


def test_the_payloads_are_real(tmp_path):
    """Python's own unpickler runs them, so the test above tests something."""
    marker = tmp_path / "executed"
    for name, data in payloads(marker):
        if name in ("os.system", "eval", "exec", "inst", "obj"):
            pickle.loads(data if data[:1] == b"\x80" else b"\x80\x02" + data)
            assert marker.exists(), name
            marker.unlink()


def test_the_error_names_what_the_file_wants(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Call(os.system, "true")))
    with pytest.raises(InputError, match=r"wants to call (posix|nt)\.system.*Nothing in it was executed"):
        read_checkpoint(tmp_path / "a.pth")


def load(data: bytes):
    return unpickle.resolve(unpickle.unpickle(io.BytesIO(data)))


STORAGE = b"ctorch\nFloatStorage\n"


@pytest.mark.parametrize(
    "data",
    [
        # BUILD on stand-ins for functions, types and classes, with a dictionary and with a tuple for slots.
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00functionK\x01sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x08\x00\x00\x00functionK\x01s\x86b.",
        b"\x80\x02" + STORAGE + b"}X\x05\x00\x00\x00dtypeK\x01sb.",
        b"\x80\x02cargparse\nNamespace\n}X\x0c\x00\x00\x00__setstate__K\x01sb.",
        b"\x80\x02cnumpy\ndtype\n}X\x05\x00\x00\x00dtypeK\x01sb.",
        # Arguments that no checkpoint has.
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00K\x01\x85K\x01\x85\x89NtR.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n(K\x01\x89NtR.",
        b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
        b"\x80\x02cnumpy\ndtype\n]K\x01a\x85R.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\nK\x01\x85R.",
        # A storage that is not in the file, an extension code, an object number that would fill the memory.
        b"\x80\x02X\x01\x00\x00\x00aQ.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Nr\xff\xff\xff\x7f.",
    ],
)
def test_tampering_is_refused(data):
    before = dict(unpickle._GLOBALS)
    with pytest.raises(InputError):
        load(data)
    assert before == unpickle._GLOBALS


def test_stand_ins_are_not_changed_by_a_file():
    stand_in = unpickle._GLOBALS["torch._utils", "_rebuild_tensor_v2"]
    function = stand_in.function
    with pytest.raises(InputError):
        load(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00functionK\x01sb.")
    assert stand_in.function is function and vars(stand_in) == {"function": function}


def tensor_file(tmp_path, size, stride, offset=0, count=4):
    """A zip checkpoint with one float32 tensor on a storage of four elements."""
    ordered = f"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{count}\ntQ"
    shape = "".join(f"I{n}\n" for n in size)
    steps = "".join(f"I{n}\n" for n in stride)
    data = f"{ordered}I{offset}\n({shape}t({steps}tI00\nNtR.".encode()
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/data/0", np.arange(4, dtype=np.float32).tobytes())
    return tmp_path / "t.pt"


def test_tensors_stay_within_their_storage(tmp_path):
    np.testing.assert_array_equal(read_checkpoint(tensor_file(tmp_path, (2, 2), (2, 1))), [[0, 1], [2, 3]])
    for size, stride, offset in (
        ((5,), (1,), 0),
        ((2, 2), (3, 1), 0),
        ((2,), (1,), 3),
        ((2,), (-1,), 1),
        ((2**40,), (0,), 0),
        ((2, 2), (2,), 0),
        ((1,), (1,), 2**50),
    ):
        with pytest.raises(InputError):
            read_checkpoint(tensor_file(tmp_path, size, stride, offset))
    with pytest.raises(InputError, match="has 16 bytes where"):
        read_checkpoint(tensor_file(tmp_path, (4,), (1,), count=2**40))


def test_shared_objects_do_not_unfold():
    """Forty lists, each holding the one before twice: a tree of 2^40 leaves, a graph of forty nodes."""
    value = [1]
    for _ in range(40):
        value = [value, value]
    assert load(pickle.dumps(value))[0][1] is not None
    for _ in range(400):
        value = [value]
    with pytest.raises(InputError, match="nested too deeply"):
        load(pickle.dumps(value))


def test_containers_come_as_plain_ones():
    ordered = collections.OrderedDict(a=[1, (2.5, None)], b={"c": b"d"})
    found = load(pickle.dumps(ordered))
    assert found == {"a": [1, (2.5, None)], "b": {"c": b"d"}} and type(found) is dict
    assert load(pickle.dumps({"x": np.arange(3)[::2], "y": np.float32(0.5)}))["x"].tolist() == [0, 2]
