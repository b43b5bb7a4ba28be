"""TorchScript archives: the module's tensors by name, and nothing of its code."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from score_jax.convert.readers import read_checkpoint
from score_jax.errors import InputError

SCRIPT = Path(__file__).parent / "files" / "script.pt"


def test_a_module_becomes_its_state_dict():
    found = read_checkpoint(SCRIPT)
    expected = {
        "scale": np.float32(2.5),
        "steps": np.int64(7),
        "plain": np.arange(3, dtype=np.float32) / 8,
        "blocks.0.weight": (np.arange(6, 12, dtype=np.float16) / 8).reshape(2, 3),
        "blocks.0.bias": np.arange(2, dtype=np.float32) / 8,
    }
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], np.asarray(tensor), strict=True)


def test_its_code_is_not_read(tmp_path):
    with zipfile.ZipFile(SCRIPT) as source, zipfile.ZipFile(tmp_path / "other.pt", "w") as out:
        for info in source.infolist():
            code = "/code/" in info.filename
            out.writestr(info.filename, b"import os; os.abort()" if code else source.read(info))
    assert set(read_checkpoint(tmp_path / "other.pt")) == set(read_checkpoint(SCRIPT))


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def module(*attributes: bytes, name: bytes = b"__torch__.a\nB") -> bytes:
    """An object of a script's class, of pickled keys and values."""
    return b"c" + name + b"\n)\x81}(" + b"".join(attributes) + b"ub"


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    + text("0")
    + text("cpu")
    + b"K\x01tQK\x00))\x89NtR"
)


def read(tmp_path: Path, data: bytes):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + data + b".")
        archive.writestr("a/data/0", np.float32(3).tobytes())
        archive.writestr("a/constants.pkl", b"\x80\x02).")
    return read_checkpoint(tmp_path / "a.pt")


def test_a_tensor_within_modules_is_found(tmp_path):
    inner = module(text("weight"), TENSOR, name=b"__torch__.b.___torch_mangle_12\nC")
    assert read(tmp_path, module(text("0"), inner, text("training"), b"\x88")) == {"0.weight": 3.0}


def doubled(depth: int) -> bytes:
    """A module that holds another twice, and so on: 2^depth names of one tensor."""
    if depth == 0:
        return module(text("w"), TENSOR)
    memo = bytes([depth])
    return module(text("a"), doubled(depth - 1), b"q" + memo, text("b"), b"h" + memo)


HOSTILE = {
    "call": module(text("a"), b"cos\nsystem\n" + text("true") + b"\x85R"),
    "function": b"c__torch__\nload\n" + text("a") + b"\x85R" + b"cos\nsystem\n\x86",
    "dotted": module(name=b"__torch__\nA.__init__"),
    "another_package": module(name=b"__torch__evil\nA"),
    "jit_load": b"ctorch.jit\nload\n" + text("a") + b"\x85R",
    "state": b"c__torch__\nA\n)\x81K\x01b",
    "class_state": b"c__torch__\nA\n}" + text("tensors") + b"K\x01sb",
    "list_of_a_number": module(text("a"), b"ctorch.jit._pickle\nbuild_intlist\nK\x01\x85R"),
    "helper_state": module(text("a"), b"ctorch.jit._pickle\nbuild_intlist\n}" + text("function") + b"K\x01sb"),
    "within_itself": b"c__torch__\nA\n)\x81q\x00}" + text("a") + b"h\x00sb",
    "unfolding": doubled(40),
    "long_name": module(text("a" * 1000), TENSOR),
    "name_of_a_number": module(b"K\x01", TENSOR),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_tampering_is_refused(tmp_path, data):
    with pytest.raises(InputError, match="not a plain checkpoint|damaged") as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_what_is_no_hazard_passes(tmp_path):
    """The refusals above are for their reasons: the same files without those are read."""
    assert read(tmp_path, doubled(2)) == dict.fromkeys(("a.a.w", "a.b.w", "b.a.w", "b.b.w"), 3.0)
    listed = b"ctorch.jit._pickle\nbuild_intlist\n]K\x01a\x85R"
    assert read(tmp_path, module(text("a"), listed, text("w"), TENSOR, name=b"__torch__\nA")) == {"w": 3.0}
