"""Latents of a data set on disk: what an autoencoder says of each image, in files of array_record.

FOLDER/latents.json                    what they are of, and their shape
FOLDER/part_00000.array_record         examples in the order of the data set, so many to a file

A record is the label and the length of the caption's UTF-8 (int32 each, little-endian), the caption, and the moments as
float32: means, and log variances of an autoencoder that has them. So training draws from the distribution of each
image, as it does where it encodes them itself.
"""

import dataclasses
import functools
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float32

from score_jax.data.sources import Source
from score_jax.data.text_tokenizers import TextTokenizer
from score_jax.errors import InputError
from score_jax.runtime.files import written_whole

_FACTS = "latents.json"
_HEAD = struct.Struct("<ii")
_PER_FILE = 10_000


@dataclasses.dataclass(frozen=True)
class LatentFacts:
    """What latents on disk are of.

    Attributes:
      count: examples.
      shape: of the moments of one (h, w, c).
      data: name, count and hash of the data set.
      content: hash of its examples as they are stored.
      first_stage: a hash of the autoencoder's parameters.
      classes: of the data set, see `Source.classes`.
      captions: whether examples have captions.
    """

    count: int
    shape: tuple[int, int, int]
    data: str
    content: str
    first_stage: str
    classes: tuple[str, ...] | None
    captions: bool


class LatentWriter:
    """Writes records one after another; latents.json comes last, so that a folder without it is no data set.

    Args:
      folder: new, or of latents that were not finished.

    Raises:
      InputError: the folder has other files.
    """

    def __init__(self, folder: Path):
        if folder.exists() and any(not path.name.startswith("part_") for path in folder.iterdir()):
            raise InputError(f"{folder} is not empty: give a new folder for the latents.")
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("part_*"):
            path.unlink()
        self._folder, self._written, self._file = folder, 0, None

    def __enter__(self) -> "LatentWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, moments: Float32[np.ndarray, "h w c"], label: int, caption: str = "") -> None:
        """Appends one example."""
        if self._written % _PER_FILE == 0:
            self._close()
            path = self._folder / f"part_{self._written // _PER_FILE:05d}.array_record"
            # One record a group: any of them is read without its neighbours.
            self._file = ArrayRecordWriter(str(path), "group_size:1")
        text = caption.encode("utf-8", "surrogatepass")
        assert self._file is not None
        self._file.write(_HEAD.pack(label, len(text)) + text + np.ascontiguousarray(moments, "<f4").tobytes())
        self._written += 1

    def finish(self, facts: LatentFacts) -> None:
        """Writes what they are."""
        self._close()
        with written_whole(self._folder / _FACTS) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(facts), indent=2) + "\n")


def load_facts(folder: Path) -> LatentFacts:
    """Returns what the latents in a folder are.

    Raises:
      InputError: there are none, or they are damaged.
    """
    try:
        found: dict[str, Any] = json.loads((folder / _FACTS).read_bytes())
        shape, classes = tuple(map(int, found["shape"])), found["classes"]
        named = None if classes is None else tuple(map(str, classes))
        facts = LatentFacts(**{**found, "shape": shape, "classes": named, "count": int(found["count"])})
    except FileNotFoundError:
        raise InputError(f"{folder} has no {_FACTS}: write latents there by `encode`, to the end.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / _FACTS} is damaged: write the latents again by `encode`.") from None
    if len(facts.shape) != 3 or facts.count < 1:
        raise InputError(f"{folder / _FACTS} is damaged: write the latents again by `encode`.")
    return facts


@dataclasses.dataclass(frozen=True)
class _Rows(Sequence):
    """The records of a folder."""

    folder: Path
    facts: LatentFacts

    @functools.cached_property
    def records(self) -> ArrayRecordDataSource:
        """Their bytes."""
        return ArrayRecordDataSource(sorted(map(str, self.folder.glob("part_*.array_record"))))

    def __len__(self) -> int:
        return self.facts.count

    def __getitem__(self, i):
        record = self.records[int(i)]
        label, length = _HEAD.unpack_from(record)
        caption, moments = record[_HEAD.size : _HEAD.size + length], record[_HEAD.size + length :]
        image = np.frombuffer(moments, "<f4").reshape(self.facts.shape)
        return {"image": image, "label": label} | ({"caption": caption.decode("utf-8")} if self.facts.captions else {})


def open_latents(folder: Path, tokenizer: TextTokenizer | None = None) -> Source:
    """Returns latents on disk as a data set whose "image" are the moments, float32.

    Args:
      folder: where `encode` wrote.
      tokenizer: of their captions; None: captions are not read.

    Raises:
      InputError: there are none, they are damaged, or they have no captions where a tokenizer reads them.
    """
    facts = load_facts(folder)
    rows = _Rows(folder, facts)
    if len(rows.records) != facts.count:
        raise InputError(
            f"{folder} has {len(rows.records)} latents where {_FACTS} says {facts.count}: write them by `encode` again."
        )
    source = Source(str(folder), rows, lambda image, name: image, facts.classes, dtype=np.float32)
    return source if tokenizer is None else source.with_captions(tokenizer)
