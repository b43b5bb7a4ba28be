"""From a caption to the ids that a text network takes: a row of one length, padded or cut; by name in `data.tokenizer`.

The ids of no text at all, which stand for no condition, are `encode("")`.
"""

import dataclasses
import functools
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from score_jax.data import captioned_shapes, tokenizer
from score_jax.data.layouts import Layouts, class_numbers
from score_jax.errors import InputError, quoted, unknown_name

_BERT, _BOXES = "bert:", "boxes:"
_CLS, _SEP, _PAD, _UNKNOWN, _MASK = "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"
_LEAST = 3
"""Ids of a row: a start, an end, and one of the text."""


@runtime_checkable
class TextTokenizer(Protocol):
    """What turns texts into rows of ids."""

    @property
    def length(self) -> int:
        """Ids of a row."""

    @property
    def vocabulary_size(self) -> int:
        """One more than the largest id."""

    def encode(self, text: str) -> Int32[np.ndarray, "length"]:
        """Returns the ids of a text."""

    def is_cut(self, text: str) -> bool:
        """Returns whether a text is longer than a row, which then holds its beginning."""


@dataclasses.dataclass(frozen=True)
class ClipTokens:
    """CLIP's byte pairs between a start and an end.

    Attributes:
      length: ids of a row, start and end among them.
      padding: what follows the end: the end again, as Stable Diffusion 1 was trained, or 0, as OpenCLIP was.
    """

    length: int = tokenizer.CONTEXT
    padding: int = tokenizer.END

    @property
    def vocabulary_size(self) -> int:
        """49408."""
        return tokenizer.END + 1

    def encode(self, text: str) -> Int32[np.ndarray, "{self.length}"]:
        """Returns start, the text, end and padding.

        Raises:
          InputError: regex or ftfy is missing.
        """
        return _row(tokenizer.encode(text), self.length, self.padding, (tokenizer.START,), (tokenizer.END,))

    def is_cut(self, text: str) -> bool:
        """Returns whether a text is longer than a row, start and end among it."""
        return len(tokenizer.encode(text)) + 2 > self.length


@dataclasses.dataclass(frozen=True)
class WordPieces:
    """BERT's word pieces in small letters without accents, between [CLS] and [SEP] (Devlin et al. 2018).

    Attributes:
      file: vocab.txt, a piece in each line, or the folder that holds it.
      length: ids of a row, [CLS] and [SEP] among them; [PAD] follows.
    """

    file: str
    length: int = 77

    @property
    def vocabulary_size(self) -> int:
        """Lines of the file; 30522 of bert-base-uncased."""
        return max(_pieces(self.file)[1].values()) + 1

    def encode(self, text: str) -> Int32[np.ndarray, "{self.length}"]:
        """Returns [CLS], the text, [SEP] and [PAD].

        Raises:
          InputError: tokenizers is missing, or the file is no vocabulary.
        """
        _, ids = _pieces(self.file)
        return _row(self._of_text(text), self.length, ids[_PAD], (ids[_CLS],), (ids[_SEP],))

    def is_cut(self, text: str) -> bool:
        """Returns whether a text is longer than a row, [CLS] and [SEP] among it."""
        return len(self._of_text(text)) + 2 > self.length

    def _of_text(self, text: str) -> list[int]:
        return _pieces(self.file)[0].encode(text, add_special_tokens=False).ids


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of `captioned_shapes`, from 1 on in alphabetical order; 0 follows the text.

    Attributes:
      length: words of a row; the captions have at most 11.
    """

    length: int = 77

    @property
    def vocabulary_size(self) -> int:
        """30: 29 words and the padding."""
        return len(captioned_shapes.vocabulary()) + 1

    def encode(self, text: str) -> Int32[np.ndarray, "{self.length}"]:
        """Returns the numbers of the words, and zeros; case and punctuation do not count.

        Raises:
          InputError: a word is none of the vocabulary.
        """
        return _row([_word_id(word) for word in _words(text)], self.length, 0)

    def is_cut(self, text: str) -> bool:
        """Returns whether a text has more words than a row."""
        return len(_words(text)) > self.length


def text_tokenizer(name: str, length: int = 77) -> TextTokenizer | None:
    """Returns the tokenizer of a name.

    Args:
      name: "" for none, "clip", "open_clip", "words", "bert:FILE" with BERT's vocab.txt, or "boxes:FILE" with the
        classes of layouts.
      length: ids of a row.

    Raises:
      InputError: there is no such tokenizer, the file is no vocabulary, or the length leaves no place for a text.
    """
    if not name:
        return None
    if length < _LEAST:
        raise InputError(f"data.max_tokens is {length}: expected at least {_LEAST}, as a start and an end take two.")
    if name.startswith(_BERT) and name != _BERT:
        found = WordPieces(name.removeprefix(_BERT), length)
        _pieces(found.file)
        return found
    if name.startswith(_BOXES) and name != _BOXES:
        class_numbers(name.removeprefix(_BOXES))
        return Layouts(name.removeprefix(_BOXES), length)
    if name == "words":
        return Words(length)
    if name in ("clip", "open_clip"):
        return ClipTokens(length, tokenizer.END if name == "clip" else 0)
    raise unknown_name("data.tokenizer", name, ["clip", "open_clip", "words", f"{_BERT}FILE", f"{_BOXES}FILE"])


def _row(
    ids: Sequence[int], length: int, padding: int, start: Sequence[int] = (), end: Sequence[int] = ()
) -> Int32[np.ndarray, "{length}"]:
    whole = [*start, *ids[: length - len(start) - len(end)], *end]
    return np.array(whole + [padding] * (length - len(whole)), np.int32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _word_id(word: str) -> int:
    known = _word_ids()
    if word not in known:
        raise unknown_name("word", word, known)
    return known[word]


@functools.cache
def _word_ids() -> dict[str, int]:
    return {word: i for i, word in enumerate(captioned_shapes.vocabulary(), start=1)}


@functools.cache
def _pieces(file: str) -> tuple[Any, dict[str, int]]:
    """The tokenizer of a vocab.txt without marks, and the ids of its pieces.

    Raises:
      InputError: tokenizers is missing, or the file is no vocabulary.
    """
    try:
        library = importlib.import_module("tokenizers")
    except ImportError:
        raise InputError("BERT's tokenizer needs tokenizers: run pip install 'score_jax[text]'.") from None
    path = Path(file).expanduser()
    path = path / "vocab.txt" if path.is_dir() else path
    expected = "expected BERT's vocab.txt, which has a piece in each line"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"Cannot read the vocabulary {quoted(str(path))}: {reason}; {expected}.") from None
    ids = {piece: i for i, piece in enumerate(lines if lines[-1] else lines[:-1])}
    if missing := [mark for mark in (_CLS, _SEP, _PAD, _UNKNOWN) if mark not in ids]:
        raise InputError(f"{quoted(str(path))} has no {', '.join(missing)}: {expected}.")
    pieces = library.Tokenizer(library.models.WordPiece(ids, unk_token=_UNKNOWN, max_input_chars_per_word=100))
    pieces.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    pieces.add_special_tokens([mark for mark in (_CLS, _SEP, _PAD, _UNKNOWN, _MASK) if mark in ids])
    return pieces, ids
