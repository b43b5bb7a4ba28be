"""What a folder is taken for: its order, parts, classes, links, and what is left out of it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.folder import in_fixed_order, in_natural_order, open_folder, parts_of
from score_jax.data.sources import open_source
from score_jax.errors import InputError


def put(path, value=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", (8, 8), (value, value, value)).save(path, **options)


def opened(path, split="all"):
    return open_source(f"folder:{path}", split, image_size=8, channels=3, resize_filter="box")


def files(source):
    return list(source.rows.files)


def by_class(source):
    """Class names of a source's images, from their folders, and by the numbers that labels give them."""
    folders = [file.split("/")[-2] for file in files(source)]
    return folders, [source.classes[row["label"]] for row in source.rows]


@pytest.fixture
def ten_classes(tmp_path):
    for label in "abcdefghij":
        for i in range(10):
            put(tmp_path / label / f"{i}.png", i)
    return tmp_path


def test_held_out_parts_do_not_follow_the_classes(ten_classes):
    train, held_out = opened(ten_classes, "all[:90%]"), opened(ten_classes, "all[90%:]")
    assert (len(train), len(held_out)) == (90, 10)
    assert not set(files(train)) & set(files(held_out))
    assert set(by_class(train)[0]) == set("abcdefghij")
    assert len(set(by_class(held_out)[0])) >= 5
    for source in (train, held_out):
        assert source.classes == tuple("abcdefghij")
        assert by_class(source)[0] == by_class(source)[1]


def test_the_order_is_that_of_sha256_on_every_platform():
    # By sha256sum: 5863.. for "b/é.png" in the spelling of most systems, 8630.., b22c.., c77c.. for the others.
    expected = ["b/é.png", "a/1.png", "b/2.png", "b/1.png"]
    assert in_fixed_order(sorted(expected)) == expected
    as_a_mac_spells = [name.replace("é", "e\u0301") for name in expected]
    assert in_fixed_order(sorted(as_a_mac_spells)) == as_a_mac_spells


def test_two_spellings_of_one_name_stay_in_the_order_of_their_names():
    spellings = ["a/é.png", "a/e\u0301.png"]  # of one hash
    for found in (spellings, spellings[::-1]):
        assert [name for name in in_fixed_order([*found, "a/1.png"]) if name in spellings] == sorted(spellings)


def test_order_labels_and_hash_are_those_that_runs_have_kept(tmp_path):
    for name in ("a/1.png", "a/10.png", "b/é.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode() * 3)
    source = opened(tmp_path)
    assert files(source) == ["2.png", "b/é.png", "a/10.png", "a/1.png"] and source.labels.tolist() == [-1, 1, 0, 0]
    assert source.content == "8928a2d9b2f5ee75e70ae7bf2950f5ebaaadca5f4150ca2f7f60a62ce58597dc"


def test_one_more_file_leaves_the_order_of_the_others(ten_classes):
    before = files(opened(ten_classes))
    put(ten_classes / "a" / "new.png")
    put(ten_classes / "k" / "new.png")
    after = files(opened(ten_classes))
    assert [file for file in after if "new" not in file] == before and len(after) == 102


def test_a_moved_folder_has_the_same_order(ten_classes, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(ten_classes, other)
    assert files(opened(other)) == files(opened(ten_classes))
    assert opened(other).content == opened(ten_classes).content


def test_a_folder_without_parts_has_all_alone(ten_classes):
    for split in ("train", "test", "a", "val[:10%]"):
        with pytest.raises(InputError, match=r"has no part '\w+'; its 100 images are one set: .*all\[:90%\]") as found:
            opened(ten_classes, split)
        assert "\n" not in str(found.value)


@pytest.fixture
def in_parts(tmp_path):
    for file in ("train/cat/1", "train/dog/1", "train/dog/2", "val/dog/3", "val/emu/4"):
        put(tmp_path / f"{file}.png")
    return tmp_path


def test_folders_of_parts_are_no_classes_and_share_one_mapping(in_parts):
    for split, count in (("train", 3), ("val", 2), ("all", 5), ("Train", 3)):
        source = opened(in_parts, split)
        assert len(source) == count and source.classes == ("cat", "dog", "emu")
        assert by_class(source)[0] == by_class(source)[1]
    with pytest.raises(InputError, match=r"has no folder 'test' with images, but it has 'train', 'val'"):
        opened(in_parts, "test")


def test_an_only_part_is_not_everything(tmp_path):
    put(tmp_path / "train" / "1.png")
    assert len(opened(tmp_path, "train")) == len(opened(tmp_path, "all")) == 1
    assert opened(tmp_path, "train").classes == ()
    with pytest.raises(InputError, match="has no folder 'test'"):
        opened(tmp_path, "test")


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (["train/1.png", "test/1.png"], ("test", "train")),
        (["train2017/1.png", "val2017/1.png", "annotations/1.png"], ("train2017", "val2017")),
        (["training/a/1.png", "validation/b/1.png"], ("training", "validation")),
        (["train/a/1.png", "extras/1.png"], ("train",)),
        (["bus/1.png", "car/1.png", "train/1.png"], ()),  # a train beside a bus
        (["1.png", "2.png"], ()),
        (["cat/train/1.png", "dog/test/1.png"], ()),
    ],
)
def test_which_folders_are_parts(found, parts):
    assert parts_of(found) == parts


def test_classes_are_in_natural_order(tmp_path):
    for label in ("11", "2", "0", "10", "1"):
        put(tmp_path / label / "x.png", int(label))
    source = opened(tmp_path)
    assert source.classes == ("0", "1", "2", "10", "11")
    for i in range(5):
        assert source[i]["image"][0, 0, 0] == int(source.classes[source[i]["label"]])
    assert in_natural_order(["b10", "b9", "a", "b09", "2x", "n2c10", "n2c9"]) == (
        "2x", "a", "b09", "b9", "b10", "n2c9", "n2c10",
    )  # fmt: skip


def test_hidden_and_system_names_are_no_classes_and_no_images(in_parts, capsys):
    put(in_parts / ".ipynb_checkpoints" / "x.png")
    put(in_parts / "__MACOSX" / "train" / "x.png")
    put(in_parts / "train" / ".hidden" / "x.png")
    put(in_parts / "train" / "@eaDir" / "x.png")
    (in_parts / "train" / "cat" / "._1.png").write_bytes(b"\0\5\26\7")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (in_parts / "train" / "cat" / name).write_bytes(b"x")
    source = opened(in_parts, "train")
    assert source.classes == ("cat", "dog", "emu") and len(source) == 3
    assert "left out: 8 hidden or of the system ('.ipynb_checkpoints')" in capsys.readouterr().out


def test_links_are_followed_and_loops_are_not(tmp_path, capsys):
    put(tmp_path / "store" / "c1" / "1.png")
    put(tmp_path / "store" / "c2" / "2.png")
    root = tmp_path / "subset"
    (root / "c3").mkdir(parents=True)
    (root / "c1").symlink_to(tmp_path / "store" / "c1")
    (root / "c2").symlink_to(os.path.join("..", "store", "c2"))
    (root / "c3" / "3.png").symlink_to(tmp_path / "store" / "c1" / "1.png")
    (root / "c3" / "gone.png").symlink_to("nowhere.png")
    (root / "c3" / "itself.png").symlink_to("itself.png")
    (root / "c3" / "up").symlink_to("..")
    (root / "here").symlink_to(".")
    source = opened(root)
    assert sorted(files(source)) == ["c1/1.png", "c2/2.png", "c3/3.png"]
    assert source.classes == ("c1", "c2", "c3") and source[0]["image"].shape == (8, 8, 3)
    out = capsys.readouterr().out
    assert "2 broken link ('c3/gone.png'), 2 link back to a folder above it ('c3/up')" in out
    (tmp_path / "linked").symlink_to(root)
    assert files(opened(tmp_path / "linked")) == files(source)


def test_every_format_of_pillow_is_taken_by_ending_or_by_content(tmp_path, capsys):
    endings = "png jpg jpeg jfif jpe gif webp bmp tif tiff ppm pgm jp2 tga ico pcx sgi apng PNG JPG Jpeg GIF avif"
    for ending in endings.split():
        put(tmp_path / f"as_{ending}.{ending}", 100)
    put(tmp_path / "no_ending", 100, format="PNG")
    put(tmp_path / "ILSVRC_1.odd", 100, format="JPEG")
    for name, content in {
        "notes.txt": b"x", "labels.json": b"{}", "readme": b"text", "noise.dat": bytes(range(256)), "empty": b"",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    source = opened(tmp_path)
    assert len(source) == len(endings.split()) + 2
    for i in range(len(source)):
        np.testing.assert_allclose(source[i]["image"].astype(int), 100, atol=3)  # lossy codecs
    assert "; left out: 5 no image that Pillow reads ('empty')." in capsys.readouterr().out


def test_what_was_taken_is_one_line(ten_classes, capsys):
    opened(ten_classes, "all[:90%]")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("split 'all[:90%]': 90 of its 100 images, classes: 10; none left out.")
    put(ten_classes / "beside.png")
    (ten_classes / "b\n\x1b[31m.txt").write_text("x")
    source = opened(ten_classes)
    (line,) = capsys.readouterr().out.splitlines()
    assert "images beside the folders of the classes and so of none: 1" in line and "\x1b" not in line
    assert sorted(source.labels)[:2] == [-1, 0]  # no class, and not the first one


def test_a_folder_with_nothing_in_it_says_what_it_has(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"No images in .*; left out: 1 no image that Pillow reads \('a.txt'\)"):
        open_folder(tmp_path, "all")
    with pytest.raises(InputError, match="a.txt is a file"):
        open_folder(tmp_path / "a.txt", "all")


def test_the_hashes_see_one_file_added_and_one_overwritten(ten_classes):
    def hashes():
        source = opened(ten_classes)
        return source.content, source.fingerprint

    whole = hashes()
    assert hashes() == whole
    for change in (
        lambda: put(ten_classes / "a" / "new.png"),
        lambda: PILImage.fromarray(np.full((8, 8), 7, np.uint8)).save(ten_classes / "e" / "5.png"),
        lambda: (ten_classes / "a" / "new.png").rename(ten_classes / "b" / "new.png"),
    ):
        change()
        now = hashes()
        assert now[0] != whole[0] and now[1] != whole[1]
        whole = now


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (("training_set/a", "test_set/a"), ("test_set", "training_set")),
        (("seg_train/a", "seg_test/a"), ("seg_test", "seg_train")),
        (("train_32x32", "valid_32x32"), ("train_32x32", "valid_32x32")),
        (("train/a", "validate/a"), ("train", "validate")),
        (("test_tube", "train_station", "cat"), ()),
        (("test_tube", "cat"), ()),
    ],
)
def test_folders_named_after_parts_are_parts_where_all_are(folders, parts):
    assert parts_of([f"{folder}/x.png" for folder in folders]) == parts
