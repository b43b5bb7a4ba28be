"""Result files whose arrays come in pieces: the bytes of the whole, or nothing."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from score_jax.runtime.results import write_arrays, write_joined

RNG = np.random.default_rng(0)


def members(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: (info.compress_type, archive.read(info)) for info in archive.infolist()}


@pytest.mark.parametrize(
    "array",
    [
        RNG.integers(0, 256, (7, 4, 4, 3), dtype=np.uint8),
        RNG.normal(size=(7, 1, 1, 2)).astype(np.float32),
        np.asfortranarray(RNG.integers(-9, 9, (7, 3), dtype=np.int16)),
    ],
    ids=["pixels", "numbers", "fortran"],
)
@pytest.mark.parametrize("sizes", [[7], [3, 3, 1], [1] * 7])
def test_pieces_give_the_bytes_of_the_whole(tmp_path, array, sizes):
    labels = np.arange(7)
    write_arrays(tmp_path / "whole.npz", {"arr_0": np.ascontiguousarray(array), "arr_1": labels})
    pieces = np.split(array, np.cumsum(sizes)[:-1])
    write_joined(tmp_path / "joined.npz", "arr_0", iter(pieces), 7, {"arr_1": labels})
    assert members(tmp_path / "joined.npz") == members(tmp_path / "whole.npz")
    with np.load(tmp_path / "joined.npz") as found:
        np.testing.assert_array_equal(found["arr_0"], array, strict=True)


def test_what_ends_in_between_leaves_the_old_file_alone(tmp_path):
    def pieces():
        yield np.zeros((2, 3))
        raise OSError("no space")

    (tmp_path / "a.npz").write_bytes(b"old")
    with pytest.raises(OSError, match="no space"):
        write_joined(tmp_path / "a.npz", "x", pieces(), 4, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert (tmp_path / "a.npz").read_bytes() == b"old"


def test_memory_is_that_of_a_piece(tmp_path):
    tracemalloc.start()
    try:
        write_joined(tmp_path / "a.npz", "x", (np.full(2**20, i, np.uint8) for i in range(32)), 2**25, {})
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(found["x"][:: 2**20], np.arange(32))
