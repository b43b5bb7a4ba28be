"""Rows of arrays that stay in their files."""

import io
import zipfile

import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.runtime.file_rows import open_rows

ARRAY = np.arange(24, dtype=">i2").reshape(4, 2, 3)


def test_rows_are_those_of_the_array(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    np.savez(tmp_path / "a.npz", first=np.ones(3), x=ARRAY)
    (tmp_path / "behind.npz").write_bytes(b"PK, and what stands before an archive" + (tmp_path / "a.npz").read_bytes())
    for name, array in (("a.npy", "arr_0"), ("a.npz", "x"), ("behind.npz", "x")):
        rows = open_rows(tmp_path / name, array, (4, 6))
        assert rows is not None and len(rows) == 4
        np.testing.assert_array_equal(list(rows), ARRAY.reshape(4, 6))
        np.testing.assert_array_equal(rows[-1], ARRAY[-1].reshape(6), strict=True)
        with pytest.raises(IndexError):
            rows[4]


def test_what_does_not_lie_in_the_file_as_it_is_has_no_rows_there(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=ARRAY)
    np.save(tmp_path / "b.npy", np.asfortranarray(ARRAY))
    assert open_rows(tmp_path / "a.npz", "x", ARRAY.shape) is None
    assert open_rows(tmp_path / "b.npy", "arr_0", ARRAY.shape) is None


def test_a_damaged_member_is_one_line(tmp_path):
    out, npy = io.BytesIO(), io.BytesIO()
    np.save(npy, ARRAY)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x.npy", npy.getvalue())
    damaged = out.getvalue().replace(ARRAY[3].tobytes(), ARRAY[2].tobytes())
    (tmp_path / "a.npz").write_bytes(damaged)
    with pytest.raises(InputError, match=r"Cannot read .*a\.npz: Cannot read the array x\.npy, .*Bad CRC"):
        open_rows(tmp_path / "a.npz", "x", ARRAY.shape)


def test_a_file_that_is_replaced_is_read_on_and_one_that_is_cut_is_one_line(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    rows = open_rows(tmp_path / "a.npy", "arr_0", ARRAY.shape)
    np.save(tmp_path / "b.npy", ARRAY + 1)
    (tmp_path / "b.npy").rename(tmp_path / "a.npy")
    np.testing.assert_array_equal(rows[3], ARRAY[3])
    rows = open_rows(tmp_path / "a.npy", "arr_0", ARRAY.shape)
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(150)
    with pytest.raises(InputError, match=r"a\.npy was cut while it was read: restore it"):
        rows[3]
