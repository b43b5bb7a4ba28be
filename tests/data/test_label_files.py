"""Classes from a table or from JSON: what each form means, and what is said of a bad entry."""

import json

import numpy as np
import pytest

from score_jax.data.label_files import every_class, numbered, read_labels
from score_jax.data.sources import open_source
from score_jax.errors import InputError

NAMES = ["a/1.png", "a/2.png", "b/3.jpg", "b/4.jpg"]
KINDS = dict(zip(NAMES, ["cat", "dog", "cat", "dog"], strict=True))


def read(tmp_path, text, names=NAMES, ending="csv"):
    path = tmp_path / f"labels.{ending}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path, names)


@pytest.mark.parametrize(
    "text",
    [
        "a/1.png,cat\na/2.png,dog\nb/3.jpg,cat\nb/4.jpg,dog\n",
        "file_name,label\na/1.png,cat\na/2.png,dog\nb/3.jpg,cat\nb/4.jpg,dog",
        "whatever,this is\na/1.png,cat\na/2.png,dog\nb/3.jpg,cat\nb/4.jpg,dog\n",  # a header of unknown names
        "\ufeffid;split;breed\r\n1;x;cat\r\n2;x;dog\r\n3;y;cat\r\n4;y;dog\r\n",  # names without their ending
        "1.png\tcat\n2.png\tdog\n\n3.jpg\tcat\n4.jpg\tdog\n",
        '{"labels": [["a/1.png", "cat"], ["a/2.png", "dog"], ["b\\\\3.jpg", "cat"], ["./b/4.jpg", "dog"]]}',
        json.dumps(KINDS),
    ],
)
def test_every_form_gives_the_same_classes(tmp_path, text):
    found, said = read(tmp_path, text)
    assert found == KINDS and said == ""


def test_numbers_are_the_classes_and_names_are_in_natural_order(tmp_path):
    numbers, _ = read(tmp_path, "1.png,3\n2.png,0\n3.jpg,3\n4.jpg,1\n")
    labels, classes = numbered([numbers[name] for name in NAMES], None, "x")
    np.testing.assert_array_equal(labels, [3, 0, 3, 1])
    assert classes == ("0", "1", "2", "3")
    labels, classes = numbered(["grade 10", "grade 2", None, "grade 2"], None, "x")
    np.testing.assert_array_equal(labels, [1, 0, -1, 0])
    assert classes == ("grade 2", "grade 10")
    assert numbered([1, 0], ("cat", "dog"), "x")[1] == ("cat", "dog")
    with pytest.raises(InputError, match="x has the class 2: expected whole numbers from 0 to 1"):
        numbered([2, 0], ("cat", "dog"), "x")


def test_numbers_beside_names_are_names(tmp_path):
    assert set(read(tmp_path, "1.png,-1\n2.png,none\n")[0].values()) == {"-1", "none"}


def test_entries_of_other_images_are_counted(tmp_path):
    found, said = read(tmp_path, "1.png,cat\nelsewhere.png,dog\n")
    assert (
        found == {"a/1.png": "cat"}
        and "1 entry of" in said
        and "names no image" in said
        and "('elsewhere.png')" in said
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "are empty: expected lines"),
        ("a/1.png,cat\na/2.png\n", "Line 2 of .* is 'a/2.png': expected lines"),
        ("a/1.png,cat\na/2.png,\n", "Line 2 of .* is 'a/2.png,': expected"),
        ("a/1.png,cat\n1.png,dog\n", "Line 2 of .*, but an entry before it gave the class 'cat'"),
        ("x,y,z\n1,2,3\n", "The first line of .* is 'x,y,z': .* or a header"),
        ("x.png,cat\ny.png,dog\n", "names none of the 4 images, such as"),
        (b"\xff\xfea", "no UTF-8"),
        ('"a', "Cannot read the labels .*: unexpected end of data"),
        ("[1, 2]", "expected {"),
        ("{", "is no JSON"),
        ('{"labels": 3}', "The labels of .* are 3"),
        ('{"labels": [["a/1.png"]]}', r"Entry 0 of .* is \['a/1.png'\]: expected a file's name and its class"),
        ('{"a/1.png": -1}', "Entry 0 of .*: expected a file's name and its class"),
        ('{"a/1.png": 1.5}', "Entry 0 of "),
        ('{"a/1.png": true}', "Entry 0 of "),
        ('{"a/1.png": 0, "a/1.png": 1}', "has 'a/1.png' twice, as 0 and 1: keep one"),
        ("[" * 100_000, "no JSON"),
        *(
            (f"1.png,0\n2.png,{number}\n", f"Line 2 of .* is '2.png,{number}': expected classes that are all whole")
            for number in ("-1", "0.5", "1.0", "nan", "1e3", "9" * 30)
        ),
    ],
)
def test_a_bad_entry_is_one_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as found:
        read(tmp_path, text)
    assert "\n" not in str(found.value) and "\x1b" not in str(found.value)


def test_a_name_that_several_images_have_is_asked_for_in_full(tmp_path):
    names = ["a/1.png", "b/1.png"]
    assert read(tmp_path, "a/1.png,x\nb/1.png,y\n", names)[0] == {"a/1.png": "x", "b/1.png": "y"}
    with pytest.raises(InputError, match="several images are called so; give its path"):
        read(tmp_path, "file,class\n1.png,x\n", names)


def test_an_image_without_a_class_is_named():
    with pytest.raises(InputError, match="2 of the 4 images have no class in x.csv, such as 'a/2.png'"):
        every_class({"a/1.png": 0, "b/3.jpg": 1}, NAMES, "x.csv")


def test_labels_of_a_file_count_and_folders_do_not(tmp_path):
    from PIL import Image as PILImage

    for name in NAMES:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        PILImage.new("RGB", (8, 8)).save(tmp_path / "images" / name)
    (tmp_path / "labels.json").write_text(json.dumps(KINDS))
    options = {"image_size": 8, "channels": 3, "labels": str(tmp_path / "labels.json")}
    source = open_source(f"folder:{tmp_path / 'images'}", "all", **options)
    assert {file: source.classes[label] for file, label in zip(source.rows.files, source.labels, strict=True)} == KINDS
    before = source.summary()
    (tmp_path / "labels.json").write_text(json.dumps(KINDS | {"a/1.png": "dog", "a/2.png": "cat"}))
    assert open_source(f"folder:{tmp_path / 'images'}", "all", **options).summary() != before
    with pytest.raises(InputError, match="data.labels=.* is for folders and archives of images, and digits is none"):
        open_source("digits", "train", **options)
