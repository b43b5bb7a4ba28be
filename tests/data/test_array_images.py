"""Images and labels of array files: what could be read in two ways is said or refused."""

import tracemalloc

import numpy as np
import pytest

from score_jax.data import array_images
from score_jax.data.array_images import array_rows
from score_jax.data.sources import open_source
from score_jax.errors import InputError
from score_jax.runtime.file_rows import FileRows

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def rows_of(tmp_path):
    def read(suffix=".npz", **arrays):
        path = tmp_path / f"a{suffix}"
        with path.open("wb") as file:
            np.savez(file, **arrays)
        return array_rows(path)

    return read


def test_the_rows_are_the_images_and_their_labels(rows_of):
    images = pixels(5, 4, 6, 3)
    for labels in (np.arange(5), np.arange(5, dtype=">i2"), np.arange(5, dtype=np.uint8)):
        for stored in (images, np.asfortranarray(images)):
            rows = rows_of(arr_0=stored, labels=labels)
            np.testing.assert_array_equal([row["image"] for row in rows], images)
            np.testing.assert_array_equal([row["label"] for row in rows], np.arange(5))
            assert rows[0]["label"].dtype == np.int32
    assert "label" not in rows_of(images=images)[0]


@pytest.mark.parametrize("shape", [(5, 4, 6, 3), (5, 4, 6)])
def test_large_images_stay_in_their_file_and_are_the_same(tmp_path, monkeypatch, shape):
    images, labels = pixels(*shape), np.array([3, 1, 4, 1, 5])
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", labels=labels, images=images)
    np.savez_compressed(tmp_path / "c.npz", labels=labels, images=images)
    np.savez(tmp_path / "d.npz", labels=labels, images=np.asfortranarray(images))
    for name, stays in (("a.npy", True), ("b.npz", True), ("c.npz", False), ("d.npz", False)):
        options = {"image_size": 4, "channels": 1 if len(shape) == 3 else 3, "resize_filter": "box"}
        monkeypatch.setattr(array_images, "_IN_MEMORY", 2**28)
        read = open_source(str(tmp_path / name), "all[1:4]", **options)
        monkeypatch.setattr(array_images, "_IN_MEMORY", 0)
        left = open_source(str(tmp_path / name), "all[1:4]", **options)
        assert isinstance(array_rows(tmp_path / name).images, FileRows) == stays
        np.testing.assert_array_equal([row["image"] for row in left.rows], images.reshape(5, 4, 6, -1)[1:4])
        assert left.content == read.content and left.fingerprint == read.fingerprint
        np.testing.assert_array_equal(left.labels if name != "a.npy" else labels[1:4], labels[1:4])


def test_opening_large_images_takes_no_memory_of_their_size(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", images=pixels(2000, 32, 32, 3), labels=np.arange(2000) % 7)
    monkeypatch.setattr(array_images, "_IN_MEMORY", 2**20)
    tracemalloc.start()
    try:
        source = open_source(str(tmp_path / "a.npz"), "all", image_size=32, channels=3)
        assert source[1999]["label"] == 1999 % 7 and len(source.content) == 64
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20  # of six million bytes
    finally:
        tracemalloc.stop()


def test_the_content_counts_and_not_the_name(tmp_path):
    images = pixels(5, 4, 4, 3)
    np.save(tmp_path / "a.npy", images)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=images)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name in ("a.npz", "b.npy"):
        source = open_source(str(tmp_path / name), "all", image_size=4, channels=3)
        np.testing.assert_array_equal(source[2]["image"], images[2])


def test_what_grey_images_are_taken_for_is_said(rows_of, capsys):
    images = pixels(5, 28, 30)
    rows = rows_of(images=images)
    np.testing.assert_array_equal([row["image"] for row in rows], images[..., None])
    assert "5 grey images, 28 pixels high and 30 wide" in capsys.readouterr().out
    rows_of(images=pixels(5, 28, 30, 1))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (pixels(32, 32, 3), r"uint8 \(32, 32, 3\): one image \(h, w, 3\) is array\[None\]"),
        (pixels(28, 28, 1), "one image"),
        (pixels(28, 28, 4), "one image"),
        (pixels(3, 32, 32), r"channels first array.transpose\(1, 2, 0\)\[None\]"),
        (pixels(28, 28), r"one grey image is array\[None, :, :, None\]"),
        (pixels(5, 784), r"\.reshape\(n, h, w, c\)"),
        (pixels(5, 3, 32, 32), r"channels come first, so save array.transpose\(0, 2, 3, 1\)"),
        (pixels(5, 1, 28, 28), "channels come first"),
        (pixels(5, 8, 8, 4), "alpha channel"),
        (pixels(5, 8, 8, 2), "expected uint8 images"),
        (pixels(5, 1, 8, 8, 3), "expected uint8 images"),
        (pixels(0, 8, 8, 3), "holds nothing"),
        (pixels(5, 8, 8, 3) / 255, "float64 .*bring floats to 0..255"),
        (pixels(5, 8, 8, 3).astype(np.float16), "bring floats"),
        (pixels(5, 8, 8, 3).astype(np.int64), "astype"),
        (pixels(5, 8, 8, 3) > 9, "bool"),
        (np.array(["a", "b"]), "<U1"),
    ],
)
def test_what_is_no_stack_of_images_is_refused_with_its_shape(rows_of, images, message):
    with pytest.raises(InputError, match=message) as caught:
        rows_of(arr_0=images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array(["cat", "dog", "cat"]), r"<U3 .*image 0 is 'cat'"),
        (np.array([1, 2.5, 3]), r"image 1 is 2.5"),
        (np.array([1, np.nan, 3]), r"image 1 is nan"),
        (np.array([1.0, 2, 3]), r"image 0 is 1.0"),
        (np.array([[1], [2], [3]]), r"\(3, 1\): .*reshape"),
        (np.eye(3, 4, dtype=int), "one-hot"),
        (np.array([0, 5, -1]), "image 2 is -1"),
        (np.array([0, 2**40, 1]), "image 1 is 1099511627776"),
        (np.array([0, 1]), "for 3 images"),
        (np.array(3), "expected integers"),
        (np.array([True, False, True]), "image 0 is True"),
    ],
)
def test_labels_are_integers_of_every_image(rows_of, labels, message):
    with pytest.raises(InputError, match=message) as caught:
        rows_of(images=pixels(3, 4, 4, 3), labels=labels)
    assert "\n" not in str(caught.value) and "labels" in str(caught.value)


def test_two_arrays_that_could_be_meant_are_refused(rows_of):
    with pytest.raises(InputError, match="both images and arr_0"):
        rows_of(images=pixels(3, 4, 4, 3), arr_0=pixels(3, 4, 4, 3))
    with pytest.raises(InputError, match="both labels and arr_1"):
        rows_of(images=pixels(3, 4, 4, 3), labels=np.arange(3), arr_1=np.arange(3))
    assert len(rows_of(images=pixels(3, 4, 4, 3), x=np.ones(3), labels=np.arange(3), y=np.ones(3))) == 3
    with pytest.raises(InputError, match="holds mu, sigma: expected 'images'"):
        rows_of(mu=np.ones(3), sigma=np.eye(3))
