"""Where images come from: one random-access source for TFDS, our own builders, folders, archives and arrays."""

import dataclasses
import functools
import hashlib
import operator
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from jaxtyping import Int, Shaped

from score_jax.data import adm_crops
from score_jax.data.array_images import ArrayImages, array_rows
from score_jax.data.contents import ARCHIVES
from score_jax.data.dead_leaves import DeadLeavesImages
from score_jax.data.embeddings import Embeddings
from score_jax.data.folder import no_parts, open_folder
from score_jax.data.images import ADM, decode, fit, with_channels
from score_jax.data.labels import checked_label, checked_labels
from score_jax.data.layouts import Layouts
from score_jax.data.rows import ArrayRows, KeptRows, PartRows
from score_jax.data.segmentations import Segmentations
from score_jax.data.splits import parse_split
from score_jax.data.stores import Member
from score_jax.data.text_tokenizers import TextTokenizer
from score_jax.data.tfds_names import open_tfds
from score_jax.data.toys import draw_beats, draw_roll
from score_jax.errors import InputError, Outage, counted, quoted
from score_jax.runtime.multihost import print_once
from score_jax.runtime.outages import is_outage, patiently

T = TypeVar("T")
_DRAWN: dict[str, tuple[int, int]] = {"train": (0, 1_000_000), "test": (1, 10_000)}
"""Seed and count of each part of data that are drawn."""
_KEPT, _KEPT_BYTES = 2**16, 2**26
"""Dead leaves of a source that are few enough, and of few enough bytes, to be drawn once each."""
_LOOKED_AT = 1000
"""Captions, spread over all, that are read when data are opened."""
_FOLDER = "folder:"
_SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
TOYS = {"swiss_roll": draw_roll, "heartbeat": draw_beats}
"""Data of no image's shape: rows (n, 1, 1, d) of a seed and their number, by name."""


WAITS = (0.1, 1.0, 5.0)
"""Seconds before each further try to read a record: file systems of clusters fail now and then."""


def _patiently(read: Callable[[], T], name: str) -> T:
    """What `read` returns, tried again where it fails; for longer where a network or a service fails.

    Raises:
      InputError: it failed each time.
      Outage: likewise, because a network or a service fails.
    """
    try:
        return patiently(lambda: _tried(read), f"read {name}")
    except (InputError, IndexError):
        raise
    except Exception as error:  # whatever a file system or a reader raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        if is_outage(error):
            raise Outage(f"Cannot read {name} now: {reason}. The same command goes on from what is saved.") from error
        raise InputError(
            f"Cannot read {name}, tried {len(WAITS) + 1} times: {reason}. Repair or remove it, or check the file "
            "system; then the same command continues."
        ) from error


def _tried(read: Callable[[], T]) -> T:
    for wait in WAITS:
        try:
            return read()
        except (InputError, IndexError):
            raise
        except Exception:
            time.sleep(wait)
    return read()


@dataclasses.dataclass(frozen=True)
class Source:
    """Images of one size as a sequence.

    Attributes:
      name: data set and split, for messages and result files.
      rows: sequence of {"image": encoded bytes, a path, a member of an archive, or uint8 pixels (h, w, c); "label":
        int; "caption": str or its UTF-8}, the last two where there are any.
      prepare: pixels and a name to uint8 (size, size, channels); other data as they are.
      classes: what the labels 0, 1, ... are called, the same for all splits of a data set; () where it has no classes,
        None where it does not say.
      labels: of all examples, as they are stored, where they are known without reading each; else None.
      summary: a hash of what tells all these examples from others and is cheap to read (names and sizes of files,
        pixels in memory); None where eight of them must do.
      num_classes: classes of the model that its labels are for, see `with_labels_of`; 0 where it knows none.
      dtype: of what `prepare` returns.
      tokenizer: of the captions, whose ids examples have as "tokens", see `with_captions`; None: they have none.
      beside: what examples of a folder have beside their images, by name: functions of the image's file.
      prepare_shown: as `prepare`, of another size, for a CLIP that sees the same image: "shown" of examples; None: they
        have none.
      prepare_random: as `prepare`, at random, for training; None: training sees what all others see.
      threads: of a process that read examples; 0: as `loader.reading_threads` says.
    """

    name: str
    rows: Sequence[dict]
    prepare: Callable[[np.ndarray, str], np.ndarray]
    classes: tuple[str, ...] | None = None
    labels: np.ndarray | None = None
    summary: Callable[[], bytes] | None = None
    num_classes: int = 0
    dtype: type[np.generic] = np.uint8
    tokenizer: TextTokenizer | None = None
    beside: Mapping[str, Callable[[Path], np.ndarray]] = dataclasses.field(default_factory=dict)
    prepare_shown: Callable[[np.ndarray, str], np.ndarray] | None = None
    prepare_random: Callable[[np.ndarray, str, np.random.Generator], np.ndarray] | None = None
    threads: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        return self.example(index)

    def example(self, index: SupportsIndex, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Returns one example; with a generator as training sees it, if that is at random.

        Raises:
          InputError: the image cannot be read or prepared, or its label names no class.
        """
        row = self._row(operator.index(index))
        image, name = row["image"], f"image {index} of {self.name}"
        beside = {}
        if isinstance(image, Path | Member):
            beside = {name: of_file(image) for name, of_file in self.beside.items() if isinstance(image, Path)}
            file, name = image, str(image) if str(image).isprintable() else quoted(str(image))
            image = _patiently(file.read_bytes, name)
        pixels = decode(image, name) if isinstance(image, bytes) else image
        label = checked_label(row.get("label", 0), operator.index(index), self.num_classes, self.name)
        if rng is None or self.prepare_random is None:
            prepared = self.prepare(pixels, name)
        else:
            prepared = self.prepare_random(pixels, name, rng)
        found = {"image": prepared, "label": label, "index": np.int32(index)} | beside
        if self.prepare_shown is not None:
            found["shown"] = self.prepare_shown(pixels, name)
        return found if self.tokenizer is None else found | {"tokens": self.tokenizer.encode(_caption(row, name))}

    def caption(self, index: int) -> str:
        """What the caption of an example says.

        Raises:
          InputError: it has none.
        """
        return _caption(self._row(index), f"image {index} of {self.name}")

    def has_captions(self) -> bool:
        """Returns whether examples have captions, read or not."""
        return "caption" in self._row(0)

    def with_captions(self, tokenizer: TextTokenizer) -> "Source":
        """The source with the ids of captions in its examples; says in a line where captions are cut.

        Raises:
          InputError: there are no captions, or the tokenizer does not take them.
        """
        if not self.has_captions():
            raise InputError(
                f"{self.name} has no captions, but data.tokenizer reads them: use data with captions "
                "(captioned_shapes, emoji, a folder with metadata.jsonl, an array 'captions'), or data.tokenizer=''."
            )
        some = [self.caption(i) for i in self._spread(min(len(self), _LOOKED_AT))]
        if cut := [text for text in some if tokenizer.is_cut(text)]:
            print_once(
                f"{self.name}: {len(cut)} of {len(some)} captions are longer than data.max_tokens={tokenizer.length} "
                f"and are cut, such as {quoted(cut[0])}."
            )
        return dataclasses.replace(self, tokenizer=tokenizer)

    def sided_caption(self) -> str:
        """Returns a caption that says left or right, or where a box lies, which a mirrored image would belie; "" where
        1000 have none."""
        if self.tokenizer is None:
            return ""
        texts = map(self.caption, self._spread(min(len(self), _LOOKED_AT)))
        always = isinstance(self.tokenizer, Layouts)
        return next((text for text in texts if text and (always or _SIDES.search(text))), "")

    def _row(self, index: int) -> dict:
        return _patiently(lambda: self.rows[index], f"record {index} of {self.name}")

    def with_labels_of(self, num_classes: int) -> "Source":
        """The source for a model of these classes; labels are checked now where they are known, and as they are read.

        Raises:
          InputError: there are no labels, more classes than the model knows, or a label that names none of them.
        """
        if not num_classes:
            return dataclasses.replace(self, num_classes=0)
        if self.classes == () or "label" not in self.rows[0]:
            raise InputError(
                f"{self.name} has no labels, but the model has {num_classes} classes: use data with labels (images "
                "in sub-folders by class, or an array 'labels'), or a model without classes."
            )
        if self.classes is not None and len(self.classes) > num_classes:
            names = ", ".join(map(quoted, self.classes[:5]))
            raise InputError(
                f"{self.name} has {len(self.classes)} classes ({names}, ...), but the model has {num_classes}: give "
                "the network as many classes."
            )
        if self.labels is not None:
            checked_labels(self.labels, len(self), num_classes, self.name)
        return dataclasses.replace(self, num_classes=num_classes)

    def at(self, places: Int[np.ndarray, "n"]) -> "Source":
        """The examples at these places, in this order, as a source of its own."""
        return dataclasses.replace(self, rows=PartRows(self.rows, places.tolist()), labels=None, summary=None)

    @property
    def fingerprint(self) -> str:
        """Name, count, and a hash of the examples as they reach the model: eight spread over all, and the summary."""
        digest = hashlib.sha256()
        for i in self._spread():
            digest.update(self[i]["image"].tobytes())
        if self.summary is not None:
            digest.update(self.summary())
        return f"{self.name} n={len(self)} sha256={digest.hexdigest()[:16]}"

    @property
    def content(self) -> str:
        """A hash of the examples as they are stored, wherever that is: eight spread over all, and the summary."""
        digest = hashlib.sha256(str(len(self)).encode())
        for i in self._spread():
            row = self._row(i)
            image = row["image"]
            stored = _patiently(image.read_bytes, str(image)) if isinstance(image, Path | Member) else image
            digest.update(stored if isinstance(stored, bytes) else stored.tobytes())
            digest.update(str(row.get("label", 0)).encode())
            digest.update(_caption(row, "").encode("utf-8", "surrogatepass") if "caption" in row else b"")
        if self.summary is not None:
            digest.update(self.summary())
        return digest.hexdigest()

    def _spread(self, count: int = 8) -> list[int]:
        return [int(i) for i in np.linspace(0, len(self) - 1, count).astype(int)]


def _caption(row: dict, name: str) -> str:
    found = row.get("caption")
    if isinstance(found, bytes):
        found = found.decode(errors="replace")
    if not isinstance(found, str):
        raise InputError(f"There is no caption of {name}: expected a text for each image.")
    return found


def in_memory(
    images: Shaped[np.ndarray, "n h w c"], labels: Int[np.ndarray, "n"] | None = None, name: str = "images in memory"
) -> Source:
    """Returns arrays in memory as a source of their own type.

    Args:
      images: (n, h, w, c).
      labels: of each; None: there are none.
      name: for messages and result files.
    """
    given = [{}] * len(images) if labels is None else [{"label": label} for label in labels]
    rows = [{"image": image} | label for image, label in zip(images, given, strict=True)]

    def summary() -> bytes:
        return hashlib.sha256(np.ascontiguousarray(images).tobytes()).digest()

    return Source(name, rows, lambda pixels, name: pixels, labels=labels, summary=summary, dtype=images.dtype.type)


def open_source(
    name: str,
    split: str,
    *,
    image_size: int,
    channels: int,
    resize_filter: str = "none",
    crop: int = 0,
    data_dir: str | None = None,
    tokenizer: TextTokenizer | None = None,
    segmentations: str = "",
    embeddings: str = "",
    shown_size: int = 0,
    labels: str = "",
    leave_damaged: bool = False,
    random_crop: bool = False,
) -> Source:
    """Opens a data set.

    Args:
      name: "digits", "mnist_5k", "captioned_shapes", "captioned_shapes/two", "emoji", "emoji/plain", "dead_leaves",
        "swiss_roll", "heartbeat", any TFDS name, "folder:PATH", or a path to .npz, .npy, .zip, .tar, .parquet,
        or .arrow.
      split: "train", "test", or a part like "train[:90%]"; sets that have no parts of their own use "all[...]", and a
        folder is cut in an order that does not depend on its classes (`folder.in_fixed_order`).
      image_size: height and width wanted; other images are cropped to their central square and resized.
      channels: 1 or 3 wanted; others are converted.
      resize_filter: see `images.fit`.
      crop: see `images.fit`.
      data_dir: where TFDS keeps its data sets.
      tokenizer: what makes "tokens" of captions; None: captions are not read.
      segmentations: folder of the segmentations of a folder of images; "": none are read.
      embeddings: folder of the embeddings of a folder of images; "": none are read.
      shown_size: height and width of a second copy of each image, "shown", in colour; 0: there is none.
      labels: a file with the classes of a folder or an archive, see `folder.open_whole`; "": none.
      leave_damaged: leave out images of a folder or an archive that cannot be read.
      random_crop: training sees squares of ADM's random crop.

    Raises:
      InputError: there is no such data set or split, it is not prepared, images are wanted of other channels than 1
        or 3, it has no captions where a tokenizer reads them, or it is no folder where segmentations or embeddings
        are read; the message says how to mend it.
    """

    def prepare(image: np.ndarray, what: str) -> np.ndarray:
        return fit(image, image_size, channels, resize_filter, what, crop)

    if labels and not _holds_files(name):
        raise InputError(
            f"data.labels={labels} is for folders and archives of images, and {name} is none: leave it out."
        )
    if name == "dead_leaves" or name in TOYS:
        source = _drawn_by_name(name, split, image_size, channels, prepare)
    elif channels not in (1, 3):
        raise InputError(f"data.channels={channels}: give 1, for grey images, or 3, for those in colour.")
    else:
        source = open_images(
            name,
            split,
            prepare,
            data_dir=data_dir,
            captions=tokenizer is not None,
            labels=labels,
            leave_damaged=leave_damaged,
        )
    source = _with_beside(source, name, segmentations, embeddings, image_size, crop)
    if random_crop:
        if resize_filter != ADM or segmentations or shown_size:
            raise InputError(
                "data.random_crop is for data.resize_filter=adm, without data.segmentations and without a CLIP that "
                "sees the images: give data.random_crop=False."
            )
        source = dataclasses.replace(source, prepare_random=functools.partial(_cropped, image_size, channels))
    if shown_size:
        own = functools.partial(shown, size=shown_size, crop=crop)
        source = dataclasses.replace(source, prepare_shown=own)
    return source if tokenizer is None else source.with_captions(tokenizer)


def _with_beside(source: Source, name: str, segmentations: str, embeddings: str, image_size: int, crop: int) -> Source:
    """A folder of images with what lies in other folders for each of them.

    Raises:
      InputError: it is no folder.
    """
    for key, folder in (("segmentations", segmentations), ("embeddings", embeddings)):
        if folder and not isinstance(source.rows[0]["image"], Path):
            raise InputError(f"data.{key} is for folders of images, and {name} is none: give data.name=folder:PATH.")
    images, beside = Path(name.removeprefix(_FOLDER)).expanduser(), {}
    if segmentations:
        beside["segmentation"] = Segmentations(images, Path(segmentations).expanduser(), image_size, crop).of
    if embeddings:
        any_shape = Embeddings(images, Path(embeddings).expanduser())
        first = any_shape.of(source.rows[0]["image"])
        beside["context"] = dataclasses.replace(any_shape, shape=first.shape).of
    return dataclasses.replace(source, beside=beside)


def _cropped(size: int, channels: int, image: np.ndarray, what: str, rng: np.random.Generator) -> np.ndarray:
    return adm_crops.random_crop(with_channels(image, channels), size, rng)


def shown(image: np.ndarray, what: str, *, size: int, crop: int = 0) -> np.ndarray:
    """As CLIP's images are prepared: the central square, bicubically."""
    return fit(image, size, 3, "bicubic", what, crop)


def _drawn_by_name(
    name: str, split: str, image_size: int, channels: int, prepare: Callable[[np.ndarray, str], np.ndarray]
) -> Source:
    """Dead leaves or a toy.

    Raises:
      InputError: there is no such part, or a toy is of another shape.
    """
    if name == "dead_leaves":
        rows_of = functools.partial(DeadLeavesImages, size=image_size, channels=channels)
        source = _drawn(name, split, lambda seed, count: rows_of(seed, length=count), prepare)
        few = len(source) <= _KEPT and len(source) * image_size**2 * channels <= _KEPT_BYTES
        return dataclasses.replace(source, rows=KeptRows(source.rows)) if few else source
    toys = _drawn(name, split, lambda seed, count: ArrayRows(TOYS[name](seed, count)), lambda row, what: row)
    first = toys.rows[0]["image"]
    found = first.shape
    if found != (image_size, image_size, channels):
        raise InputError(f"{name} is of shape {found}: give data.image_size={found[0]}, data.channels={found[2]}.")
    return dataclasses.replace(toys, dtype=first.dtype.type)


def open_images(
    name: str,
    split: str,
    prepare: Callable[[np.ndarray, str], np.ndarray],
    *,
    data_dir: str | None = None,
    captions: bool = False,
    labels: str = "",
    leave_damaged: bool = False,
) -> Source:
    """Returns the images of a data set, each at its own size until `prepare` brings them to one.

    Args:
      name: as of `open_source`, dead_leaves excepted.
      split: as of `open_source`.
      prepare: pixels (h, w, 1 or 3) and a name, for messages, to arrays of one shape.
      data_dir: where TFDS keeps its data sets.
      captions: read the captions of a folder too; other data have theirs in any case.
      labels: as of `open_source`.
      leave_damaged: as of `open_source`.

    Raises:
      InputError: there is no such data set or split, it is not prepared, or an image of the folder has no caption.
    """
    called = f"{name}:{split}"
    if _holds_files(name):
        path = Path(name.removeprefix(_FOLDER)).expanduser()
        files, classes, line = open_folder(path, split, captions=captions, labels=labels, leave_damaged=leave_damaged)
        print_once(line)
        return Source(called, files, prepare, classes, files.labels, files.summary)
    if name.lower().endswith((".npz", ".npy")):
        whole = array_rows(Path(name).expanduser())
        part = _part_of_arrays(whole, split, name)
        kept = None if whole.labels is None else whole.labels[part.kept]
        return Source(called, part, prepare, None, kept, functools.partial(_pixels_hash, part))
    rows, names = open_tfds(name, split, data_dir)
    return Source(called, rows, prepare, names)


def _holds_files(name: str) -> bool:
    """Whether a data set is a folder of images, or an archive of them."""
    return (name.startswith(_FOLDER) and name != _FOLDER) or name.lower().endswith(ARCHIVES)


def _part_of_arrays(rows: ArrayImages, split: str, name: str) -> PartRows:
    """The rows of a split of arrays, which have no parts; says where a cut has lost labels, as arrays come sorted."""
    wanted = parse_split(split, name)
    if wanted.part != "all":
        raise InputError(no_parts(wanted, name, len(rows)))
    kept = wanted.cut(len(rows), name)
    if rows.labels is not None:
        there, here = len(np.unique(rows.labels)), len(np.unique(rows.labels[kept]))
        if here < there:
            print_once(
                f"{name}, split {split!r}: {len(kept)} of its {counted(len(rows), 'image')}, with {here} of its "
                f"{there} labels."
            )
    return PartRows(rows, kept)


def _pixels_hash(rows: Sequence[dict]) -> bytes:
    """A hash of all pixels, labels and captions."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(np.ascontiguousarray(row["image"]))
        digest.update(str(row.get("label")).encode())
        digest.update(row.get("caption", "").encode("utf-8", "surrogatepass"))
    return digest.digest()


def _drawn(
    name: str,
    split: str,
    rows_of: Callable[[int, int], Sequence[dict]],
    prepare: Callable[[np.ndarray, str], np.ndarray],
) -> Source:
    """Data that are drawn from a seed, with parts "train" and "test".

    Raises:
      InputError: there is no such part.
    """
    wanted = parse_split(split, name)
    if wanted.part not in _DRAWN:
        raise InputError(f"{name} has no part {wanted.part!r}: expected 'train' or 'test'.")
    seed, count = _DRAWN[wanted.part]
    return Source(f"{name}:{split}", PartRows(rows_of(seed, count), wanted.cut(count, name)), prepare, ())
