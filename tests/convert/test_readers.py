"""Files that real PyTorch and Flax wrote, read without them; and files that someone damaged."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import msgpack
import numpy as np
import pytest
from other_files import KINDS
from safetensors.numpy import save_file

from score_jax.convert.readers import read_checkpoint
from score_jax.errors import InputError

FILES = Path(__file__).parent / "files"
WRITTEN = sorted(path for path in FILES.iterdir() if path.suffix != ".md")


def counting(*shape, start=0):
    return (start + np.arange(np.prod(shape, dtype=int)).reshape(shape)) / 8


@pytest.mark.parametrize("name", ["tensors.pt", "tensors_legacy.pt"])
def test_tensors_of_both_formats(name):
    found = read_checkpoint(FILES / name)
    assert (found["step"], found["names"], found["size"], found["lr"]) == (3, ["a", "b"], (1, 2), 0.5)
    np.testing.assert_array_equal(found["numpy"], np.arange(4.0))
    tensors = found["tensors"]
    for kind in ("float32", "float64", "float16"):
        np.testing.assert_array_equal(tensors[kind], counting(2, 3).astype(kind), strict=True)
    assert tensors["bfloat16"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tensors["bfloat16"].astype(np.float64), counting(2, 3))
    np.testing.assert_array_equal(tensors["int64"], np.arange(6).reshape(2, 3), strict=True)
    np.testing.assert_array_equal(tensors["bool"], [True, False, True])
    np.testing.assert_array_equal(tensors["transposed"], counting(2, 3).T)
    np.testing.assert_array_equal(tensors["view"], counting(2, 3, start=4))
    np.testing.assert_array_equal(tensors["same_storage"], counting(20)[::5])
    np.testing.assert_array_equal(tensors["expanded"], np.broadcast_to(counting(3), (2, 3)))
    np.testing.assert_array_equal(tensors["parameter"], counting(3))
    assert tensors["scalar"].shape == () and tensors["scalar"] == 2.5
    assert tensors["empty"].shape == (0, 3)


def test_arrays_of_numpy_and_safetensors(tmp_path):
    arrays = {"a.weight": counting(2, 3), "b": np.arange(3)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    save_file(arrays, tmp_path / "misnamed.pth")
    for name in ("a.npz", "misnamed.pth"):
        found = read_checkpoint(tmp_path / name)
        assert set(found) == set(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(found[key], array, strict=True)


def test_a_checkpoint_in_an_archive_is_read_in_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.write(FILES / "ncsn_legacy.pth", "run/../../logs/checkpoint.pth")
        archive.writestr("run/config.yml", "model: ncsn")
    before = set(tmp_path.rglob("*"))
    found = read_checkpoint(tmp_path / "run.zip")
    np.testing.assert_array_equal(found[0]["module.begin_conv.weight"], counting(2, 1, 3, 3))
    assert set(tmp_path.rglob("*")) == before
    with zipfile.ZipFile(tmp_path / "run.zip", "a") as archive:
        archive.write(FILES / "score_sde.pth", "second.pth")
    with pytest.raises(InputError, match="holds 2 checkpoints.*name one of them"):
        read_checkpoint(tmp_path / "run.zip")


def test_pieces_of_a_flax_array_are_joined():
    np.testing.assert_array_equal(
        read_checkpoint(FILES / "chunked.msgpack")["params"]["Conv_0"]["kernel"], counting(3, 4)
    )


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is empty"),
        (b"GIF89a...", "unknown format: expected PyTorch's"),
        (b"\x81\xa1", "no valid msgpack"),
        (msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[2], "object", b"x" * 16]))}), "type 'object'"),
        (msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[9], "float32", b"x" * 16]))}), "is damaged"),
        (struct.pack("<Q", 20) + b'{"a": {"dtype": "F32"' + b"x" * 40, "no valid safetensors"),
        (b"x" * 257 + b"ustar" + b"x" * 300, "tar archive"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, contents, message):
    (tmp_path / "file.pth").write_bytes(contents)
    with pytest.raises(InputError, match=message) as caught:
        read_checkpoint(tmp_path / "file.pth")
    assert "\n" not in str(caught.value) and "file.pth" in str(caught.value)


ZIP = (FILES / "tensors.pt").read_bytes()
OTHER_FILES = {
    **KINDS,
    "html": (b"<!doctype html>\n<html>", "The file is an HTML page"),
    "cut": (ZIP[: len(ZIP) // 2], "cut short, its end is missing"),
    "cut_end": (ZIP[:-1], "cut short, its end is missing|is damaged"),
    "noise": (bytes(range(1, 250)), "unknown format"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_what_a_file_is_instead_is_said(tmp_path, name):
    contents, message = OTHER_FILES[name]
    (tmp_path / "weights.pth").write_bytes(contents)
    with pytest.raises(InputError, match=message) as caught:
        read_checkpoint(tmp_path / "weights.pth")
    assert str(caught.value).isprintable() and "weights.pth" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("pickle", "executed", "hostile"))


def test_safetensors_of_every_type_are_read(tmp_path):
    """Also where numpy has not the type; a header by hand, as numpy's own writer has no fp8."""
    values = {"F8_E4M3": (ml_dtypes.float8_e4m3fn, 1), "BF16": (ml_dtypes.bfloat16, 2), "U16": (np.uint16, 2)}
    header, data = {}, b""
    for name, (dtype, size) in values.items():
        header[name] = {"dtype": name, "shape": [3], "data_offsets": [len(data), len(data) + 3 * size]}
        data += np.array([1, 2, 3]).astype(dtype).tobytes()
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + data
    (tmp_path / "a.safetensors").write_bytes(whole)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run/a.safetensors", whole)
    for name in ("a.safetensors", "a.zip"):
        found = read_checkpoint(tmp_path / name)
        for key, (dtype, _) in values.items():
            np.testing.assert_array_equal(found[key], np.array([1, 2, 3]).astype(dtype), strict=True)


def test_no_file(tmp_path):
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(InputError, match="No file"):
            read_checkpoint(path)


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Cannot read the array a.npy"):
        read_checkpoint(tmp_path / "a.npz")


def test_arrays_of_objects_beside_weights_are_named_and_left_out(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", w=np.ones(3), about=np.array([{"a": 1}], dtype=object))
    assert set(read_checkpoint(tmp_path / "a.npz")) == {"w"}
    assert "left out, and nothing of it executed: about" in capsys.readouterr().out


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(b"\x00" * 2**26))
    with pytest.raises(InputError, match="would unpack from"):
        read_checkpoint(tmp_path / "bomb.pt")


def damaged(data: bytes, rng: np.random.Generator):
    """Cut short at, and with one bit flipped in, many places."""
    for stop in {*range(0, min(len(data), 40)), *rng.integers(0, len(data), 40).tolist()}:
        yield data[:stop]
    for _ in range(160):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        yield bytes(flipped)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_damage_is_an_error_or_harmless(tmp_path, path):
    """Whatever happens to a file, the outcome is a tree or an InputError."""
    errors = []
    for contents in damaged(path.read_bytes(), np.random.default_rng(0)):
        (tmp_path / "file").write_bytes(contents)
        try:
            read_checkpoint(tmp_path / "file")
        except InputError as error:
            errors.append(str(error))
    assert len(errors) > 40
    assert not any("\n" in error for error in errors)


def test_a_member_that_is_cut_short_is_told(tmp_path):
    source = io.BytesIO((FILES / "tensors.pt").read_bytes())
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(tmp_path / "short.pt", "w") as out:
        for info in archive.infolist():
            data = archive.read(info)
            out.writestr(info.filename, data[:-1] if info.filename.endswith("data/0") else data)
    with pytest.raises(InputError, match="Storage 0 has 23 bytes where 24 are expected"):
        read_checkpoint(tmp_path / "short.pt")
