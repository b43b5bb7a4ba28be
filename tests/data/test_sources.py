import errno
import sys

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data import sources
from score_jax.data.builders.packaged import every_fifth_of_a_class
from score_jax.data.dead_leaves import dead_leaves
from score_jax.data.sources import open_source
from score_jax.errors import InputError, Outage
from score_jax.runtime import outages


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(3):
            pixels = rng.integers(0, 256, (10, 8, 3), dtype=np.uint8)
            PILImage.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    return tmp_path


def test_digits_are_scikit_learns(tfds_dir):
    from sklearn.datasets import load_digits

    sources = [open_source("digits", s, image_size=8, channels=1, data_dir=tfds_dir) for s in ("train", "test")]
    assert [len(s) for s in sources] == [1442, 355]
    ours = {(row["image"].tobytes(), int(row["label"])) for s in sources for row in (s[i] for i in range(len(s)))}
    data = load_digits()
    theirs = {
        (np.round(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(data.images, data.target, strict=True)
    }
    assert ours == theirs
    assert "tensorflow" not in sys.modules


def test_mnist_5k_splits_are_balanced_and_disjoint(tfds_dir):
    seen = []
    for split, per_class in (("train", 400), ("test", 100)):
        source = open_source("mnist_5k", split, image_size=28, channels=1, data_dir=tfds_dir)
        rows = [source[i] for i in range(len(source))]
        np.testing.assert_array_equal(np.bincount([row["label"] for row in rows]), [per_class] * 10)
        seen.append({row["image"].tobytes() for row in rows})
    assert not seen[0] & seen[1]
    part = open_source("mnist_5k", "train[:10%]", image_size=28, channels=1, data_dir=tfds_dir)
    assert len(part) == 400


def test_held_out_fifth():
    labels = np.array([0] * 10 + [1] * 5)
    np.testing.assert_array_equal(np.flatnonzero(every_fifth_of_a_class(labels)), [4, 9, 14])


def test_folder_labels_by_class_folder(folder):
    source = open_source(f"folder:{folder}", "all", image_size=8, channels=3, resize_filter="box")
    assert source.classes == ("cat", "dog")
    for i, row in enumerate(source.rows):
        assert source[i]["label"] == row["label"] == source.classes.index(row["image"].parent.name)
        original = np.asarray(PILImage.open(row["image"]))
        np.testing.assert_array_equal(source[i]["image"], original[1:9])  # the central square of 10 x 8
    np.testing.assert_array_equal(np.bincount(source.labels), [3, 3])
    assert source[0]["image"].shape == (8, 8, 3)
    grey = open_source(f"folder:{folder}", "all[2:4]", image_size=4, channels=1, resize_filter="box")
    assert len(grey) == 2 and grey[0]["image"].shape == (4, 4, 1)


def test_folder_of_splits(folder, tmp_path):
    (tmp_path / "data").mkdir()
    (folder / "cat").rename(tmp_path / "data" / "train")
    (folder / "dog").rename(tmp_path / "data" / "test")
    source = open_source(f"folder:{tmp_path / 'data'}", "test", image_size=8, channels=3, resize_filter="box")
    assert len(source) == 3


def test_box_filter_averages(folder):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    np.save(folder / "x.npy", pixels[None])
    source = open_source(str(folder / "x.npy"), "all", image_size=4, channels=1, resize_filter="box")
    expected = pixels.reshape(4, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(source[0]["image"][..., 0], expected, atol=0.51)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:60]), "Cannot read the image .*0.png"),
        (lambda p: p.write_text("not an image"), "Cannot read the image .*0.png"),
    ],
)
def test_a_damaged_image_is_named(folder, break_it, message):
    break_it(folder / "cat" / "0.png")
    source = open_source(f"folder:{folder}", "all", image_size=8, channels=3, resize_filter="box")
    with pytest.raises(InputError, match=message):
        source[0]


def test_another_size_says_how_to_mend_it(folder):
    source = open_source(f"folder:{folder}", "all", image_size=16, channels=3)
    with pytest.raises(InputError, match=r"10x8 pixels, data.image_size is 16: .*data.resize_filter"):
        source[0]


def test_arrays(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", arr_0=images, labels=np.arange(5))
    source = open_source(str(tmp_path / "a.npz"), "all[-2:]", image_size=4, channels=3)
    np.testing.assert_array_equal(source[0]["image"], images[3])
    assert int(source[1]["label"]) == 4


class Exploit:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_in_arrays_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "evil.npz", images=np.array([Exploit()], dtype=object))
    with pytest.raises(InputError, match="Cannot read"):
        open_source(str(tmp_path / "evil.npz"), "all", image_size=4, channels=3)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("no_such_set", "train", "No data set 'no_such_set': expected digits"),
        ("cifar10", "train", "not prepared .*tfds build cifar10 --file_format=array_record"),
        ("digits", "trian", "Split 'trian' of digits: Unknown split"),
        ("folder:/no/such/folder", "train", "No folder /no/such/folder"),
        ("dead_leaves", "train[", "expected a name like"),
        ("dead_leaves", "val", "dead_leaves has no part 'val': expected 'train' or 'test'"),
        ("dead_leaves", "test[10:5]", r"Split 'test\[10:5\]' of dead_leaves is empty"),
        ("digits", "test[10:5]", r"Split 'test\[10:5\]' of digits: it is empty"),
        ("digits", "test[5:5]", r"Split 'test\[5:5\]' of digits: it is empty"),
        ("digits/large", "train", "No data set 'digits/large': .*Did you mean 'digits'"),
        ("digts", "train", "No data set 'digts': .*Did you mean 'digits'"),
        ("folder:", "train", "No data set 'folder:'"),
        ("", "train", "No data set ''"),
        ("no such/", "train", "No data set 'no such/': .*There is no such folder either"),
        ("gs://bucket/x", "train", "No data set 'gs://bucket/x'"),
        ("pictures", "train", "No data set 'pictures': .*It is a folder: name it as folder:pictures"),
        ("pictures/", "train", "No data set 'pictures/': .*It is a folder: name it as folder:pictures/"),
        ("./pictures", "train", "It is a folder: name it as folder:./pictures"),
        ("cifar10", "train", "if you mean the folder, name it as folder:cifar10"),
        ("notes.txt", "train", "It is a file of another kind"),
    ],
)
def test_what_is_missing_is_said(name, split, message, tfds_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=message) as found:
        open_source(name, split, image_size=8, channels=1, data_dir=tfds_dir)
    assert "\n" not in str(found.value)


def test_classes_are_those_that_tfds_knows(tfds_dir):
    for split in ("train", "test[:5]"):
        source = open_source("digits", split, image_size=8, channels=1, data_dir=tfds_dir)
        assert source.classes == tuple("0123456789") and source.labels is None
    assert open_source("dead_leaves", "test", image_size=8, channels=1).classes == ()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
@pytest.mark.parametrize("split", ["train", "test", "val[:10%]"])
def test_arrays_have_no_parts(tmp_path, suffix, split):
    save = np.savez if suffix == ".npz" else np.save
    save(tmp_path / f"x{suffix}", np.zeros((10, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"has no part '\w+'; its 10 images are one set: .*all\[:90%\]"):
        open_source(str(tmp_path / f"x{suffix}"), split, image_size=8, channels=3)


def test_a_cut_of_sorted_arrays_says_which_labels_it_lost(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", images=np.zeros((10, 8, 8, 3), np.uint8), labels=np.arange(10) // 2)
    source = open_source(str(tmp_path / "x.npz"), "all[80%:]", image_size=8, channels=3)
    np.testing.assert_array_equal(source.labels, [4, 4])
    assert "2 of its 10 images, with 1 of its 5 labels." in capsys.readouterr().out


def test_stored_content_does_not_depend_on_how_it_is_prepared(folder):
    name = f"folder:{folder}"
    large, small = (open_source(name, "all", image_size=s, channels=3, resize_filter="box") for s in (8, 4))
    assert large.content == small.content and large.fingerprint != small.fingerprint


def test_wrong_arrays_are_refused(tmp_path):
    np.save(tmp_path / "float.npy", np.zeros((2, 4, 4)))
    with pytest.raises(InputError, match="float64 .*expected uint8"):
        open_source(str(tmp_path / "float.npy"), "all", image_size=4, channels=1)


def test_dead_leaves_depend_on_seed_and_index_alone():
    first, again = (open_source("dead_leaves", "train", image_size=16, channels=3) for _ in range(2))
    np.testing.assert_array_equal(first[123_456]["image"], again[123_456]["image"])
    assert (first[0]["image"] != first[1]["image"]).any()
    test = open_source("dead_leaves", "test", image_size=16, channels=3)
    assert (first[0]["image"] != test[0]["image"]).any()


def test_dead_leaves_are_discs_of_uniform_colour():
    image = dead_leaves(np.random.default_rng(0), 64, smallest=8.0)
    colours = np.unique(image.reshape(-1, 3), axis=0)
    assert 3 < len(colours) < 200  # many pixels share the colour of a leaf
    values = np.concatenate([dead_leaves(np.random.default_rng(i), 8).ravel() for i in range(300)])
    np.testing.assert_allclose(values.mean(), 127.5, atol=4)


def test_fingerprint_tells_contents_apart(tmp_path):
    images = np.zeros((8, 4, 4, 1), np.uint8)
    prints = []
    for value in (0, 1):
        images[-1] = value
        np.save(tmp_path / "x.npy", images)
        prints.append(open_source(str(tmp_path / "x.npy"), "all", image_size=4, channels=1).fingerprint)
    assert prints[0] != prints[1]


class Failing(list):
    """Rows of which each read fails so many times before it works."""

    failures = 0

    def __getitem__(self, i):
        if self.failures:
            self.failures -= 1
            raise self.error
        return super().__getitem__(i)


def failing(failures, error):
    pixels = np.zeros((2, 2, 1), np.uint8)
    rows = Failing([{"image": pixels, "label": 3}])
    rows.error = error
    source = sources.Source("flaky:train", rows, lambda pixels, name: pixels)
    rows.failures = failures  # from now on: the type check of the tests reads rows too
    return source


BROKEN, AWAY = ValueError("the record is no image"), OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("error", "most"), [(BROKEN, 2), (AWAY, 8)])
def test_a_record_that_fails_for_a_while_is_read_again(monkeypatch, error, most):
    monkeypatch.setattr(sources, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(outages, "PAUSES", (0.0, 0.0))
    assert failing(1, error)[0]["label"] == failing(most, error)[0]["label"] == 3


@pytest.mark.parametrize(
    ("error", "times", "kind", "said"),
    [(BROKEN, 3, InputError, "flaky:train, tried 3 times: the record"), (AWAY, 9, Outage, "now: .*Input/output error")],
)
def test_a_record_that_always_fails_is_named(monkeypatch, error, times, kind, said):
    monkeypatch.setattr(sources, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(outages, "PAUSES", (0.0, 0.0))
    with pytest.raises(kind, match=f"Cannot read record 0 of .*{said}"):
        failing(times, error)[0]


def test_a_name_that_writes_into_terminals_is_quoted(folder):
    (folder / "cat" / "0.png").rename(folder / "cat" / "\x1b[31m\n.png")
    (folder / "cat" / "\x1b[31m\n.png").write_text("x")
    source = open_source(f"folder:{folder / 'cat'}", "all", image_size=8, channels=3, resize_filter="box")
    with pytest.raises(InputError, match="Cannot read the image ") as found:
        [source[i] for i in range(len(source))]
    assert str(found.value).isprintable()


def test_a_file_that_is_gone_is_named(folder, monkeypatch):
    monkeypatch.setattr(sources, "WAITS", (0.0,))
    source = open_source(f"folder:{folder}", "all", image_size=8, channels=3, resize_filter="bicubic")
    (folder / "cat" / "1.png").unlink()
    with pytest.raises(InputError, match=r"Cannot read .*cat/1.png, tried 2 times"):
        [source[i] for i in range(len(source))]


@pytest.mark.parametrize(("name", "dim", "dtype"), [("swiss_roll", 2, np.float32), ("heartbeat", 20, np.uint8)])
def test_data_that_are_no_images_are_images_of_one_pixel(name, dim, dtype):
    train, test = (open_source(name, split, image_size=1, channels=dim) for split in ("train[:50]", "test"))
    assert (len(train), len(test)) == (50, 10_000) and train.dtype == dtype and train.classes == ()
    rows = np.stack([train[i]["image"] for i in range(50)])
    assert rows.shape == (50, 1, 1, dim) and rows.dtype == dtype
    assert not np.array_equal(rows, np.stack([test[i]["image"] for i in range(50)]))
    if name == "heartbeat":
        assert set(np.unique(rows)) == {0, 255} and (rows.reshape(50, 4, 5).sum(axis=2) == 255).all()
    with pytest.raises(InputError, match=rf"{name} is of shape \(1, 1, {dim}\): give .*data.channels={dim}"):
        open_source(name, "train", image_size=8, channels=3)


def test_dead_leaves_are_drawn_once_where_they_are_few():
    few, many = (open_source("dead_leaves", split, image_size=8, channels=1) for split in ("train[:50]", "train"))
    first = few[7]["image"]
    assert few.rows[7]["image"] is few.rows[7]["image"] and many.rows[7]["image"] is not many.rows[7]["image"]
    np.testing.assert_array_equal(first, many[7]["image"])
