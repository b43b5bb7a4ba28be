"""CLIP's tokenizer: ids of OpenAI's own, and what no text may change."""

import gzip
import hashlib
import importlib.resources
import string
import sys

import numpy as np
import pytest

from score_jax.data import tokenizer
from score_jax.data.tokenizer import CONTEXT, END, START, decode, encode, tokenize
from score_jax.errors import InputError

PUBLISHED = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "don't can't we're": [847, 713, 753, 713, 649, 982],
    "Café déjà-vu": [15304, 25466, 73, 21259, 268, 13230],
    "1234 5th": [272, 273, 274, 275, 276, 640],
    "\U0001f600 \U0001f680": [7334, 13542],
    "日本語": [39121, 44353, 34002, 508],
    "&amp;lt;b&amp;gt;": [283, 321, 285],
    "Ã© mojibake": [4166, 617, 3252, 11878],
    "antidisestablishmentarianism": [3120, 4262, 7726, 12658, 1585, 44351],
    "xx<|startoftext|>yy<|EndOfText|>": [3553, START, 8321, END],
    "aaaaaaaa": [6727, 19336],
    "'ſ Kelvin İ ẞ ǅ": [6, 129, 379, 32859, 328, 16384, 127, 509, 67, 129, 378],
    "\x1c \x1cx\x85y\x1dz": [343, 959, 46451],
    "": [],
}
"""What the release of 2021 answers under ftfy 6.3.1."""
LONG = "word " * 100


def same(text):
    return text


@pytest.mark.parametrize(("text", "ids"), PUBLISHED.items())
def test_ids_are_those_of_the_release(text, ids):
    assert encode(text) == ids


def test_the_vocabulary_is_the_published_one():
    folder = importlib.resources.files("score_jax.data").joinpath("vocabularies")
    unpacked = gzip.decompress(folder.joinpath("bpe_simple_vocab_16e6.txt.gz").read_bytes())
    notice = folder.joinpath("NOTICE").read_text()
    assert hashlib.sha256(unpacked).hexdigest() in notice
    assert "67603cfda2e032ad" in notice and "Permission is hereby granted" in notice


def test_every_word_of_the_vocabulary_is_one_id():
    words = {i: word for i in range(START) if (word := decode([i])).endswith(" ") and word[:-1].isalpha()}
    assert len(words) > 30_000
    unreached = [word for i, word in words.items() if encode(word, same) != [i]]
    assert unreached == [f"{letter} " for letter in string.ascii_uppercase]  # text is in small letters


@pytest.mark.parametrize(
    "text", ["a cat , 2 dogs !", "crème brûlée", "\U0001f469\u200d\U0001f680 日本語", "\x00\x01\x7f"]
)
def test_decoding_gives_the_words_back(text):
    words = decode(encode(text, same))
    assert words.replace(" ", "") == text.replace(" ", "") and words.endswith(" ")


def test_half_a_character_is_replaced():
    beginning, *rest = encode("\U0001fae8", same)
    assert rest
    assert decode([beginning, *encode("ß", same)]) == "\ufffdß "


@pytest.mark.parametrize("i", [-1, END + 1])
def test_a_strange_id_is_named(i):
    with pytest.raises(InputError, match=f"id {i} .*0 to 49407"):
        decode([320, i])


def test_rows_are_marked_and_padded():
    rows = tokenize(["a photo of a cat", ""])
    assert rows.shape == (2, CONTEXT) and rows.dtype == np.int32
    np.testing.assert_array_equal(rows[0, :8], [START, *PUBLISHED["a photo of a cat"], END, 0])
    np.testing.assert_array_equal(rows[1, :3], [START, END, 0])
    np.testing.assert_array_equal(tokenize("a photo of a cat"), rows[:1])


def test_a_text_that_just_fits_is_whole():
    exact = tokenize("a photo of a cat", 7)
    np.testing.assert_array_equal(exact, [[START, *PUBLISHED["a photo of a cat"], END]])
    np.testing.assert_array_equal(exact, tokenize("a photo of a cat", 7, truncate=True))


def test_a_text_that_is_too_long_is_named_with_its_length():
    with pytest.raises(InputError, match=r"'word word .*\.\.\.' has 102 tokens .* is 77"):
        tokenize(["short", LONG])
    with pytest.raises(InputError, match="at least 1"):
        tokenize("a", 0)


def test_truncation_keeps_the_beginning_and_the_end_mark():
    (row,) = tokenize(LONG, truncate=True)
    np.testing.assert_array_equal(row, [START, *encode(LONG)[: CONTEXT - 2], END])


def test_what_cleans_the_text_is_the_callers():
    mojibake = "Ã© mojibake"
    np.testing.assert_array_equal(tokenize(mojibake), tokenize("é mojibake", clean=same))
    assert encode(mojibake, same) != encode(mojibake)


def test_lone_surrogates_of_a_command_line_are_mended():
    assert decode(encode("caf\udce9")) == "caf \ufffd "


@pytest.mark.parametrize("package", ["ftfy", "regex"])
def test_a_missing_package_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    tokenizer._patterns.cache_clear()
    with pytest.raises(InputError, match=rf"needs {package}: run pip install 'score_jax\[text\]'"):
        encode("a")
