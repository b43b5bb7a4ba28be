"""Captions beside images: of folders, of arrays and of our own data, and how they reach a batch."""

import json

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data import captioned_shapes
from score_jax.data.builders import captioned
from score_jax.data.folder_captions import read_captions
from score_jax.data.loader import eval_batches, make_loader
from score_jax.data.sources import open_source
from score_jax.data.stores import FolderStore
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError

WORDS = text_tokenizer("words", 12)
TEXTS = {"cat/1.png": "a red circle", "cat/2.png": "a blue square", "3.png": "a green cross"}


@pytest.fixture
def folder(tmp_path):
    for i, file in enumerate(TEXTS):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        PILImage.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / file)
    return tmp_path


def listed(path, texts):
    path.write_text("".join(json.dumps({"file_name": f, "text": t}) + "\n" for f, t in texts.items()))


def opened(name, split="all", tokenizer=WORDS):
    return open_source(name, split, image_size=8, channels=3, tokenizer=tokenizer)


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.jsonl"])
def test_a_list_at_the_top_names_files_below_it(folder, name, capsys):
    listed(folder / name, TEXTS)
    source = opened(f"folder:{folder}")
    for i, file in enumerate(source.rows.files):
        assert source.caption(i) == TEXTS[file]
        np.testing.assert_array_equal(source[i]["tokens"], WORDS.encode(TEXTS[file]))
    assert "each with a caption; none left out" in capsys.readouterr().out


def test_a_nearer_list_counts_and_names_files_from_its_own_folder(folder):
    listed(folder / "metadata.jsonl", TEXTS)
    listed(folder / "cat" / "metadata.jsonl", {"2.png": "a cross"})
    assert read_captions(FolderStore(folder), list(TEXTS)) == ["a red circle", "a cross", "a green cross"]


def test_texts_beside_images_and_empty_ones(folder):
    for file, text in TEXTS.items():
        (folder / file).with_suffix(".txt").write_text(f"{text}\n")
    (folder / "3.txt").write_text("")
    assert read_captions(FolderStore(folder), list(TEXTS)) == ["a red circle", "a blue square", ""]


def test_without_a_tokenizer_captions_are_not_read(folder):
    source = opened(f"folder:{folder}", tokenizer=None)
    assert "tokens" not in source[0]
    with pytest.raises(InputError, match="no caption"):
        source.caption(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"3 of the 3 images of .* have no caption, such as '\S+png': name each in metadata.jsonl"),
        ('{"file_name": "3.png", "text": "a cross"}', "2 of the 3 images of .* have no caption, such as 'cat/1.png'"),
        ('{"file_name": "3.png", "text": "x"}\n\n{"file_name": ', r"Line 3 of .*metadata.jsonl is .*expected one like"),
        ('{"file_name": "3.png", "caption": "x"}', r'Line 1 of .*expected one like {"file_name"'),
        ('{"file_name": "3.png", "text": ["x"]}', "Line 1 of "),
        ("[" * 100_000, "Line 1 of "),
        (b"\xff", "it is no UTF-8"),
    ],
)
def test_what_is_wrong_with_captions_is_said(folder, content, message):
    if content is not None:
        (folder / "metadata.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as found:
        read_captions(FolderStore(folder), list(TEXTS))
    assert "\n" not in str(found.value)


def test_another_caption_is_other_data(folder):
    listed(folder / "metadata.jsonl", TEXTS)
    contents = {opened(f"folder:{folder}").content, opened(f"folder:{folder}", tokenizer=None).content}
    listed(folder / "metadata.jsonl", TEXTS | {"3.png": "a red cross"})
    contents.add(opened(f"folder:{folder}").content)
    assert len(contents) == 3


def test_captions_of_arrays(tmp_path):
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(3), captions=np.array(list(TEXTS.values())))
    source = opened(str(tmp_path / "x.npz"))
    assert [source.caption(i) for i in range(3)] == list(TEXTS.values()) and source[2]["label"] == 2
    contents = {source.content}
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(3), captions=np.array(["a circle"] * 3))
    assert opened(str(tmp_path / "x.npz")).content not in contents
    for wrong in (np.array(["a"]), np.arange(3)):
        np.savez(tmp_path / "x.npz", images=images, captions=wrong)
        with pytest.raises(InputError, match=r"The array captions of .* for 3 images: expected one text for each"):
            opened(str(tmp_path / "x.npz"))


def test_data_without_captions_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.uint8))
    for name, split in ((str(tmp_path / "x.npy"), "all"), ("dead_leaves", "train")):
        with pytest.raises(InputError, match="has no captions, but data.tokenizer reads them"):
            opened(name, split)


def test_cut_captions_are_said(folder, capsys):
    listed(folder / "metadata.jsonl", TEXTS | {"3.png": "a red circle above a blue square"})
    assert opened(f"folder:{folder}", tokenizer=text_tokenizer("words", 3))[0]["tokens"].shape == (3,)
    out = capsys.readouterr().out
    assert "1 of 3 captions are longer than data.max_tokens=3 and are cut, such as 'a red circle above" in out


def load(source, **options):
    return make_loader(source, batch_size=4, seed=0, process_index=0, process_count=1, **options)


def test_batches_of_captioned_shapes_carry_tokens(tmp_path, monkeypatch):
    monkeypatch.setitem(captioned._COUNTS, "two", {"train": 1, "test": 1, "held_out": 1})
    name, place = "captioned_shapes/two", str(tmp_path)
    source = open_source(name, "held_out", image_size=32, channels=3, data_dir=place, tokenizer=WORDS)
    assert len(source) == 160
    batch = next(load(source, flip=False))
    assert batch["tokens"].shape == (4, 12) and batch["tokens"].dtype == np.int32
    for tokens, index, label in zip(batch["tokens"], batch["index"], batch["label"], strict=True):
        caption = source.caption(int(index))
        np.testing.assert_array_equal(tokens, WORDS.encode(caption))
        assert caption in captioned_shapes.combinations("two")[label].captions
    assert next(eval_batches(source, 4, 0, 1))["tokens"].shape == (4, 12)
    with pytest.raises(InputError, match=r"data.flip mirrors images, .* say left or right, such as .*data.flip=False"):
        load(source, flip=True)


def test_captions_that_name_no_side_may_be_flipped(folder):
    listed(folder / "metadata.jsonl", TEXTS)
    assert next(load(opened(f"folder:{folder}"), flip=True))["tokens"].shape == (4, 12)
    listed(folder / "metadata.jsonl", TEXTS | {"3.png": "on the left"})
    with pytest.raises(InputError, match="'on the left'"):
        load(opened(f"folder:{folder}"), flip=True)
