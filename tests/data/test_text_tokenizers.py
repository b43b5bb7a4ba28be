"""Rows of ids: what frames a text, what follows it, what is cut, and what no text is."""

import numpy as np
import pytest

from score_jax.data import captioned_shapes
from score_jax.data.text_tokenizers import TextTokenizer, text_tokenizer
from score_jax.data.tokenizer import END, START
from score_jax.errors import InputError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "play", "##ing", "##s", "cafe", ",", "日"]


@pytest.fixture
def vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return tmp_path / "vocab.txt"


def bert(vocabulary, length=10):
    return text_tokenizer(f"bert:{vocabulary}", length)


def pieces(row):
    return [PIECES[i] for i in row]


def test_no_name_is_no_tokenizer():
    assert text_tokenizer("") is None


@pytest.mark.parametrize(("name", "padding"), [("clip", END), ("open_clip", 0)])
def test_clip_pads_to_77(name, padding):
    cat, empty = (text_tokenizer(name).encode(text) for text in ("a photo of a cat", ""))
    np.testing.assert_array_equal(cat, [START, 320, 1125, 539, 320, 2368, END] + [padding] * 70)
    np.testing.assert_array_equal(empty, [START, END] + [padding] * 75)
    assert cat.dtype == np.int32 and text_tokenizer(name).vocabulary_size == 49408


def test_a_clip_row_that_is_cut_ends_with_the_end():
    short = text_tokenizer("open_clip", 4)
    np.testing.assert_array_equal(short.encode("a photo of a cat"), [START, 320, 1125, END])
    assert short.is_cut("a photo of") and not short.is_cut("a photo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red cat", ["a", "red", "cat"]),
        ("playing,cats", ["play", "##ing", ",", "cat", "##s"]),
        ("Café", ["cafe"]),
        ("a日a", ["a", "日", "a"]),
        ("dog a", ["[UNK]", "a"]),
        ("a [MASK]", ["a", "[MASK]"]),
        ("  a\n\ta ", ["a", "a"]),
        ("cat" * 100, ["[UNK]"]),
        ("", []),
    ],
)
def test_word_pieces_are_the_longest_ones_in_small_letters(vocabulary, text, expected):
    row = bert(vocabulary).encode(text)
    assert pieces(row) == ["[CLS]", *expected, "[SEP]"] + ["[PAD]"] * (8 - len(expected)) and row.dtype == np.int32


def test_bert_cuts_before_its_last_mark(vocabulary):
    row = bert(vocabulary, 4).encode("a red cat a")
    assert pieces(row) == ["[CLS]", "a", "red", "[SEP]"]
    assert bert(vocabulary, 4).is_cut("a red cat") and not bert(vocabulary, 4).is_cut("a red")
    assert bert(vocabulary).vocabulary_size == len(PIECES)
    np.testing.assert_array_equal(bert(vocabulary.parent).encode("a"), bert(vocabulary).encode("a"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read the vocabulary .*No such file"),
        (b"a\nb\n", r"has no \[CLS\], \[SEP\], \[PAD\], \[UNK\]: expected BERT's vocab.txt"),
        (b"\xff\xfe\x00", "Cannot read the vocabulary .*it is no text"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as found:
        text_tokenizer(f"bert:{tmp_path / 'v.txt'}")
    assert "\n" not in str(found.value)


def test_words_of_all_captions_have_one_id_each():
    words = text_tokenizer("words", 11)
    captions = [c for kind in ("one", "two") for each in captioned_shapes.combinations(kind) for c in each.captions]
    assert not any(words.is_cut(caption) for caption in captions)
    rows = np.stack([words.encode(caption) for caption in captions])
    assert len(np.unique(rows, axis=0)) == len(captions)
    assert set(np.unique(rows)) == set(range(words.vocabulary_size))
    assert not words.encode("").any() and words.is_cut("a " * 12)
    np.testing.assert_array_equal(words.encode("A red, circle."), words.encode("a red circle"))


def test_a_word_that_is_none_is_named():
    with pytest.raises(InputError, match="Unknown word 'rod'. Did you mean 'red'"):
        text_tokenizer("words").encode("a rod circle")


@pytest.mark.parametrize(
    ("name", "length", "message"),
    [
        ("clop", 77, "Unknown data.tokenizer 'clop'. Did you mean 'clip'.*bert:FILE"),
        ("bert:", 77, "Unknown data.tokenizer 'bert:'"),
        ("clip", 2, "data.max_tokens is 2: expected at least 3"),
    ],
)
def test_names_and_lengths_that_are_none(name, length, message):
    with pytest.raises(InputError, match=message):
        text_tokenizer(name, length)


def test_each_is_a_text_tokenizer_of_its_length(vocabulary):
    for name in ("clip", "open_clip", "words", f"bert:{vocabulary}"):
        found = text_tokenizer(name, 12)
        assert isinstance(found, TextTokenizer) and found.length == 12 and found.encode("a red a").shape == (12,)
        assert found.encode("").max() < found.vocabulary_size and hash(found) == hash(text_tokenizer(name, 12))
