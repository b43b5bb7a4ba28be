"""CLIP's byte-pair encoding of text, as OpenAI released it (Radford et al. 2021; Sennrich et al. 2016).

Symbols are their ids: 0..255 are bytes, 256..511 bytes that end a word; then comes what each merge of the vocabulary
makes, in the order in which the merges were learned; last come the marks of start and end.
"""

import functools
import gzip
import html
import importlib
import importlib.resources
import itertools
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Int32

from score_jax.errors import InputError

CONTEXT = 77
"""Ids of a text in all of OpenAI's networks, start and end among them."""
START, END = 49406, 49407
_MARKS = {"<|startoftext|>": START, "<|endoftext|>": END}
_FILE = "bpe_simple_vocab_16e6.txt.gz"
_ENDS_WORD = 256
"""From the id of a byte to that of the byte at the end of a word."""
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = [*_PRINTED, *(byte for byte in range(256) if byte not in _PRINTED)]
"""By id: first those that are written as their own character in Latin-1."""
_ID_OF_BYTE = {byte: i for i, byte in enumerate(_BYTES)}
_PIECE = r"<\|startoftext\|>|<\|endoftext\|>|'(?:s|t|re|ve|m|ll|d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""Marks, English endings, words, single digits, and runs of what is left."""
_SHOWN = 60
"""Characters of a text in an error."""
Pair = tuple[int, int]


@functools.cache
def _merges() -> dict[Pair, int]:
    """What two symbols become, in the order in which it was learned."""
    written = [chr(byte) for byte in _PRINTED]
    written += [chr(256 + i) for i in range(256 - len(written))]  # the other bytes, which would not show
    ids = {symbol: i for i, symbol in enumerate(written + [f"{character}</w>" for character in written])}
    packed = importlib.resources.files("score_jax.data").joinpath("vocabularies", _FILE).read_bytes()
    count, merges = START - len(ids), {}
    # After a heading; the file goes on where CLIP's vocabulary ends.
    for line in gzip.decompress(packed).decode().split("\n")[1 : 1 + count]:
        left, right = line.split()
        merges[ids[left], ids[right]] = ids[left + right] = len(ids)
    return merges


@functools.cache
def _bytes_of() -> list[bytes]:
    """What each symbol stands for; a space after the end of a word."""
    single = [bytes([byte]) for byte in _BYTES]
    found = single + [byte + b" " for byte in single]
    for left, right in _merges():
        found.append(found[left] + found[right])
    return found + [mark.encode() for mark in _MARKS]


@functools.lru_cache(maxsize=2**16)
def _merged(piece: str) -> tuple[int, ...]:
    """The symbols of a piece of text: of its pairs, the one that was learned first is merged, until none is known."""
    if piece in _MARKS:
        return (_MARKS[piece],)
    merges = _merges()
    symbols = [_ID_OF_BYTE[byte] for byte in piece.encode()]
    symbols[-1] += _ENDS_WORD
    while len(symbols) > 1:
        pair = min(itertools.pairwise(symbols), key=lambda pair: merges.get(pair, END))
        if pair not in merges:
            break
        shorter: list[int] = []
        for symbol in symbols:
            if shorter and (shorter[-1], symbol) == pair:
                shorter[-1] = merges[pair]
            else:
                shorter.append(symbol)
        symbols = shorter
    return tuple(symbols)


def _imported(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(f"CLIP's tokenizer needs {package}: run pip install 'score_jax[text]'.") from None


@functools.cache
def _patterns() -> tuple[Any, Any]:
    """Of white space and of pieces; Python's own `re` knows no Unicode classes."""
    regex = _imported("regex")
    return regex.compile(r"\s+"), regex.compile(_PIECE, regex.IGNORECASE)


def mended(text: str) -> str:
    """Text by ftfy's `fix_text`: what was decoded wrongly is put right, typographic quotes become plain ones.

    Raises:
      InputError: ftfy is missing.
    """
    return _imported("ftfy").fix_text(text)


def encode(text: str, clean: Callable[[str], str] = mended) -> list[int]:
    """Returns the ids of a text, without start and end; case, line breaks and repeated spaces are lost.

    Args:
      text: any; HTML's entities are read, and the names of start and end become their ids.
      clean: what the text goes through first.

    Raises:
      InputError: regex or ftfy is missing.
    """
    spaces, pieces = _patterns()
    text = html.unescape(html.unescape(clean(text)))
    text = spaces.sub(" ", text).strip().lower()
    return [symbol for piece in pieces.findall(text) for symbol in _merged(piece)]


def decode(ids: Iterable[int]) -> str:
    """Returns the text of ids, a space after each word; bytes that are no UTF-8 become U+FFFD.

    Raises:
      InputError: an id is not in the vocabulary.
    """
    known, ids = _bytes_of(), list(ids)
    if strange := [i for i in ids if not 0 <= i < len(known)]:
        raise InputError(f"The id {strange[0]} is not in CLIP's vocabulary: expected 0 to {len(known) - 1}.")
    return b"".join(known[i] for i in ids).decode(errors="replace")


def tokenize(
    texts: str | Sequence[str],
    context_length: int = CONTEXT,
    truncate: bool = False,
    clean: Callable[[str], str] = mended,
) -> Int32[np.ndarray, "n _"]:
    """Returns what the text network takes: start, ids and end, then zeros.

    Args:
      texts: n of them, or one.
      context_length: columns.
      truncate: a text that is too long keeps its beginning, and its last id is the end.
      clean: as of `encode`.

    Raises:
      InputError: a text is too long, the context has no columns, or a package is missing.
    """
    if context_length < 1:
        raise InputError(f"context_length is {context_length}: expected at least 1; CLIP's is {CONTEXT}.")
    texts = [texts] if isinstance(texts, str) else texts
    rows = np.zeros((len(texts), context_length), np.int32)
    for row, text in zip(rows, texts, strict=True):
        ids = [START, *encode(text, clean), END]
        if len(ids) > context_length:
            if not truncate:
                shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
                raise InputError(
                    f"The text {shown!r} has {len(ids)} tokens with start and end, but the context is "
                    f"{context_length}: "
                    "shorten the text, or truncate it."
                )
            ids = [*ids[: context_length - 1], END]
        row[: len(ids)] = ids
    return rows
