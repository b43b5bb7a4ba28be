"""numpy's files by content: what they claim is compared with what they hold before memory is taken."""

import io
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from other_files import KINDS

from score_jax.errors import InputError, named, quoted
from score_jax.runtime.array_files import array_headers, read_arrays


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def archive(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as out:
        for name, data in members:
            out.writestr(name, data)
    return file.getvalue()


def encrypted(data: bytes) -> bytes:
    """The same archive, of which every member says that it needs a password."""
    changed = bytearray(data)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        changed[changed.index(mark) + place] |= 1
    return bytes(changed)


A = np.arange(12.0).reshape(3, 4)
ARRAYS = {
    "floats": A,
    "fortran": np.asfortranarray(A),
    "big_endian": A.astype(">f4"),
    "fortran_big_endian": np.asfortranarray(np.arange(24).reshape(2, 3, 4)).astype(">i8", order="F"),
    "strided": A[::2, ::-1],
    "scalar": np.array(3),
    "empty": np.zeros((0, 3)),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"ab", b"c"]),
    "bool": A > 3,
    "complex": A * 1j,
    "half": A.astype(np.float16),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".dat"])
def test_arrays_come_back_whatever_the_file_is_called(tmp_path, name, suffix):
    array, path = ARRAYS[name], tmp_path / f"a{suffix}"
    for contents, key in ((npy(array), "arr_0"), (npz(x=array), "x"), (archive(("x.npy", npy(array))), "x")):
        path.write_bytes(contents)
        found = read_arrays(path)
        assert list(found) == [key]
        np.testing.assert_array_equal(found[key], array, strict=True)
        assert array_headers(path)[key].shape == array.shape


def test_some_arrays_are_read_alone(tmp_path):
    (tmp_path / "a.npz").write_bytes(archive(("x.npy", npy(A)), ("y.npy", npy(A)[:-1] + b"\x00"), ("read.me", b"text")))
    assert set(read_arrays(tmp_path / "a.npz", ("x", "z"))) == {"x"}


def test_objects_beside_are_no_hindrance(tmp_path):
    """As dSprites has them, whose metadata are pickled."""
    (tmp_path / "a.npz").write_bytes(npz(x=A, metadata=np.array([{"a": 1}], dtype=object)))
    assert array_headers(tmp_path / "a.npz")["metadata"].dtype == object
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", ["x"])["x"], A)
    with pytest.raises(InputError, match="metadata.npy: it holds pickled objects"):
        read_arrays(tmp_path / "a.npz")


def claiming(shape: str) -> bytes:
    """An array file whose header claims another shape, of as many characters as it takes."""
    data = npy(A)
    return data.replace(b"(3, 4), }" + b" " * len(shape), shape.encode() + b", }" + b" " * 6, 1)


BAD = {
    **KINDS,
    "empty": (b"", "is empty"),
    "text": (b"mu, sigma\n1, 2", "a text that begins 'mu, sigma"),
    "unknown": (b"\x01\x02\x03", "expected an .npy or .npz file"),
    "cut": (npy(A)[:-1], "claims float64 of shape .3, 4., 96 bytes, where the file has 95"),
    "longer": (npy(A) + npy(A), "where the file has"),
    "cut_header": (npy(A)[:40], "damaged"),
    "cut_magic": (b"\x93NUMPY", "does not begin like an .npy"),
    "header": (npy(A)[:10] + b"x" + npy(A)[11:], "its header is no header"),
    "header_length": (npy(A)[:8] + b"\xff\xff" + npy(A)[10:], "damaged"),
    "version": (b"\x93NUMPY\x07\x00" + npy(A)[8:], "does not begin like an .npy"),
    "298_gib": (claiming("(200000, 200000)"), "claims float64 of shape .200000, 200000., 320000000000 bytes"),
    "negative": (claiming("(-3, -4)"), "damaged"),
    "objects": (npy(np.array([{}], dtype=object), allow_pickle=True), "pickled objects, which are never read"),
    "objects_npz": (npz(a=np.array([{}, "a"], dtype=object)), "Cannot read the array a.npy: it holds pickled objects"),
    "zip_cut": (npz(a=A)[:-30], "cut short, its end is missing"),
    "zip_start": (b"PK\x03\x04 no", "cut short, its end is missing"),
    "checksum": (archive(("a.npy", npy(A))).replace(A[2, 3].tobytes(), A[2, 2].tobytes()), "Bad CRC"),
    "member_cut": (archive(("a.npy", npy(A)[:-8])), "where the file has 88"),
    "twice": (archive(("a.npy", npy(A)), ("a.npy", npy(2 * A))), "two members called a.npy"),
    "encrypted": (encrypted(npz(a=A)), "a.npy in the archive is encrypted"),
    "no_arrays": (archive(("archive/data.pkl", b"x")), "a zip archive without arrays .it has archive/data.pkl"),
    "zip_of_nothing": (archive(), "without arrays"),
    "escape": (archive(("\x1b[31m\n.npy", b"\x93NUMPY")), "x1b"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line_and_no_memory(tmp_path, name):
    contents, message = BAD[name]
    (tmp_path / "a.npz").write_bytes(contents)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message) as caught:
            read_arrays(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable() and "a.npz" in str(caught.value)


def test_no_file_a_folder_and_a_link_to_nothing_are_one_line(tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / ".git" / "annex" / "objects" / "x")
    for name, message in (("none.npz", "No file"), (".", "it is a folder"), ("link.npz", "git annex get")):
        with pytest.raises(InputError, match=message):
            read_arrays(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "bomb.npz").write_bytes(npz(a=np.zeros(2**27, np.uint8), b=np.zeros(2**29, np.uint8)))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="bytes would unpack to 671088640, more than the 536870912"):
            read_arrays(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**22
        assert read_arrays(tmp_path / "bomb.npz", ["a"])["a"].nbytes == 2**27
    finally:
        tracemalloc.stop()


def test_what_packs_well_is_read(tmp_path):
    """The covariance of features that are all alike, and 10,000 blank images."""
    (tmp_path / "a.npz").write_bytes(npz(sigma=np.zeros((2048, 2048)), arr_0=np.zeros((10_000, 32, 32, 3), np.uint8)))
    found = read_arrays(tmp_path / "a.npz")
    assert found["sigma"].shape == (2048, 2048) and not found["arr_0"].any()


def test_reading_takes_the_memory_of_the_arrays_alone(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (2000, 5000), dtype=np.uint8)
    for contents in (npz(a=array), archive(("a.npy", npy(array))), npy(array)):
        (tmp_path / "a").write_bytes(contents)
        tracemalloc.start()
        try:
            read_arrays(tmp_path / "a")
            assert tracemalloc.get_traced_memory()[1] < 1.5 * array.nbytes
        finally:
            tracemalloc.stop()


VALUES = ["a\nb", "\x1b[31m", "\u202e", "a" * 10**7, b"\x00" * 10**6, 10**5000, (1,) * 10**6, {"a": "\n"}]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_text_from_files_is_short_and_printable_in_messages(value):
    for shown in (quoted(value), named(value)):
        assert len(shown) <= 100 and shown.isprintable()
    assert quoted("a") == "'a'" and named("a.b-c/d") == "a.b-c/d" and named("a b") == "'a b'"
