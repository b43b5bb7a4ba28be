"""A folder of images: which files and classes it has, in an order that does not depend on classes or platform."""

import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Int32

from score_jax.data.folder_captions import is_caption_file, read_captions
from score_jax.data.folder_scan import LeftOut, describe_left_out, scan
from score_jax.data.splits import Split, parse_split
from score_jax.errors import InputError, quoted

T = TypeVar("T")

NO_CLASS = -1
"""The label of an image that lies beside the folders of the classes."""

_PART = (
    r"(?:(?:train|val|test)\d*|training|trainval|valid|validate|validation|testing|eval|evaluation|dev|hold_?out|held_out"
    r"|extra|unlabell?ed)"
)
_PARTS = re.compile(_PART, re.IGNORECASE)
_NAMED_AFTER_PARTS = re.compile(rf"(?:\w+[_-])?{_PART}(?:[_-]\w+)?", re.IGNORECASE)
"""Such as "seg_train" and "test_set"; but a class may be called test_tube."""
_CONTENT_BYTES, _CONTENT_FILES, _THREADS = 2**28, 4096, 16


@dataclasses.dataclass(frozen=True, eq=False)
class FolderImages(Sequence[dict]):
    """Rows of {"image": path, "label": int}, made when they are asked for: a folder may have millions.

    Attributes:
      root: the folder.
      files: paths below it, with "/" on every platform.
      labels: the number of each file's class, `NO_CLASS` beside the folders of the classes; None where there are none.
      captions: of each file, where they are read.
    """

    root: Path
    files: Sequence[str]
    labels: Int32[np.ndarray, "n"] | None
    captions: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i):
        row = {"image": self.root / self.files[i]}
        row |= {} if self.labels is None else {"label": int(self.labels[i])}
        return row if self.captions is None else row | {"caption": self.captions[i]}

    def summary(self) -> bytes:
        """A hash of all paths, sizes and captions, and of the content of up to 4096 files or 256 MiB, spread over them.

        Raises:
          InputError: a file cannot be read.
        """
        root = os.path.join(self.root, "")  # of millions of files: making a Path takes longer than asking for a size
        sizes = _in_threads(lambda file: os.stat(root + file).st_size, self.files)
        digest = hashlib.sha256()
        for file, size in zip(self.files, sizes, strict=True):
            digest.update(b"%s\0%d\n" % (_bytes(file), size))
        for caption in self.captions or ():
            digest.update(caption.encode("utf-8", "surrogatepass") + b"\0")
        many = int(np.clip(_CONTENT_BYTES * len(sizes) // max(sum(sizes), 1), 8, _CONTENT_FILES))
        some = [self.files[i] for i in np.linspace(0, len(sizes) - 1, min(many, len(sizes))).astype(int)]
        for content in _in_threads(lambda file: hashlib.sha256((self.root / file).read_bytes()).digest(), some):
            digest.update(content)
        return digest.digest()


def _in_threads(of_file: Callable[[str], T], files: Sequence[str]) -> list[T]:
    """What a function says of each file; file systems of clusters answer many questions at a time."""
    blocks = [files[i::_THREADS] for i in range(_THREADS)]
    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = list(pool.map(lambda block: [of_file(file) for file in block], blocks))
    except OSError as error:
        raise InputError(f"Cannot read {str(error.filename)!r}: {error.strerror}. Repair or remove it.") from None
    found: list = [None] * len(files)
    for i, block in enumerate(answers):
        found[i::_THREADS] = block
    return found


def _bytes(file: str) -> bytes:
    """A path for hashing: file systems differ in how they compose accents."""
    normal = file if file.isascii() else unicodedata.normalize("NFC", file)
    return normal.encode("utf-8", "surrogateescape")


def in_fixed_order(files: Iterable[str]) -> list[str]:
    """Files by a hash of their paths: no class comes first, and one more file leaves the order of the others."""
    named = list(files)
    if not all(map(str.isascii, named)):  # two spellings may have one hash: they stay in the order of their names
        named.sort()
    digests = bytearray()
    for file in named:
        digests += hashlib.sha256(_bytes(file)).digest()
    columns = np.frombuffer(digests, ">u8").reshape(-1, 4).T.astype(np.uint64)
    return [named[i] for i in np.lexsort(columns[::-1])]


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names with their numbers as numbers: "2" before "10"."""

    def key(name: str) -> tuple:
        pieces = re.split(r"(\d+)", unicodedata.normalize("NFC", name))
        return [int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], name

    return tuple(sorted(names, key=key))


def folder_of(file: str) -> str:
    """Returns the path of the folder that a file lies in, below the root; "" for the root."""
    return file.rpartition("/")[0]


def folders_of(files: Iterable[str]) -> set[str]:
    """Returns the folders that files lie in, of which there are few beside millions of files."""
    return set(map(folder_of, files))


def parts_of(files: Iterable[str]) -> tuple[str, ...]:
    """Returns the folders by which a data set is divided ("train", "val"), in natural order; () where it is one set.

    One folder of such a name beside others is a class (a train beside a bus) unless it has class folders itself. Names
    that only contain such a word ("seg_train", "test_set") are parts where all folders are called so.
    """
    tops: dict[str, bool] = {}
    for folder in folders_of(files):
        top, slash, _ = folder.partition("/")
        if top:
            tops[top] = tops.get(top, False) or bool(slash)
    parts = [top for top in tops if _PARTS.fullmatch(top)]
    if len(tops) > 1 and all(_NAMED_AFTER_PARTS.fullmatch(top) for top in tops):
        return in_natural_order(tops)
    divided = len(parts) > 1 or len(parts) == len(tops) or any(tops[part] for part in parts)
    return in_natural_order(parts) if divided else ()


def open_folder(path: Path, split: str, *, captions: bool = False) -> tuple[FolderImages, tuple[str, ...], str]:
    """Opens the images of a folder.

    Args:
      path: with folders for classes, with folders for parts ("train", "val") that may hold folders for classes, or with
        images alone.
      split: a part's name or "all", as `splits.parse_split` takes it; it cuts the order of `in_fixed_order`.
      captions: read them too, see `folder_captions.read_captions`.

    Returns:
      The rows, the names of the classes in the order of their numbers, the same for all parts, and a line about what
      was taken and what was left out.

    Raises:
      InputError: there is no such folder or part, or nothing in it, or an image has no caption.
    """
    name, wanted = f"folder:{path}", parse_split(split, f"folder:{path}")
    _check_is_folder(path)
    files, left_out = scan(path)
    if not files:
        raise InputError(
            f"No images in {path}: expected files of a kind that Pillow reads{describe_left_out(left_out, '; ')}."
        )
    parts = parts_of(files)
    depth = 1 if parts else 0
    if parts:
        beside = [file for file in files if file.partition("/")[0] not in parts]
        if beside:
            left_out[f"outside of the folders {', '.join(parts)}"] = beside
            files = [file for file in files if file.partition("/")[0] in parts]
    classes = in_natural_order({_class_of(folder, depth) for folder in folders_of(files)} - {""})
    chosen = in_fixed_order(_of_part(files, parts, wanted, path))
    kept = [chosen[i] for i in wanted.cut(len(chosen), name)]
    labels = _labels(kept, classes, depth) if classes else None
    about = "" if labels is None else _about_classes(labels, classes)
    texts = read_captions(path, kept) if captions else None
    if captions:
        about += ", each with a caption"
        left_out = _without_captions(left_out)
    line = f"{name}, split {split!r}: {len(kept)} of its {len(files)} images{about}"
    return (
        FolderImages(path, kept, labels, texts),
        classes,
        f"{line}{describe_left_out(left_out, '; ') or '; none left out'}.",
    )


def _without_captions(left_out: LeftOut) -> LeftOut:
    """What is left out once files of captions are read."""
    kept = {reason: [path for path in paths if not is_caption_file(path)] for reason, paths in left_out.items()}
    return {reason: paths for reason, paths in kept.items() if paths}


def _labels(files: Sequence[str], classes: tuple[str, ...], depth: int) -> Int32[np.ndarray, "n"]:
    """The numbers of the classes, whose folders lie `depth` levels below the root."""
    number = {name: label for label, name in enumerate(classes)}
    of_folder = {folder: number.get(_class_of(folder, depth), NO_CLASS) for folder in folders_of(files)}
    return np.fromiter((of_folder[folder_of(file)] for file in files), np.int32, len(files))


def _class_of(folder: str, depth: int) -> str:
    """The folder's part that is its class; "" where the class would lie deeper."""
    names = folder.split("/")
    return names[depth] if len(names) > depth else ""


def _check_is_folder(path: Path) -> None:
    if path.is_file():
        raise InputError(f"{path} is a file: expected a folder of images. Give .npz and .npy files without 'folder:'.")
    if not path.is_dir():
        raise InputError(f"No folder {path}: expected a folder of images, or of one sub-folder for each class.")


def _of_part(files: list[str], parts: tuple[str, ...], wanted: Split, path: Path) -> list[str]:
    """The files that a split takes from."""
    if wanted.part == "all":
        return files
    named = [part for part in parts if part == wanted.part] or [
        part for part in parts if part.lower() == wanted.part.lower()
    ]
    if len(named) == 1:
        return [file for file in files if file.startswith(f"{named[0]}/")]
    if parts:
        there = "it has " + ", ".join(map(quoted, parts))
        raise InputError(
            f"{path} has no folder {wanted.part!r} with images, but {there}: give one of them, as in "
            f"--config.data.eval_split={parts[-1]}, or 'all'."
        )
    raise InputError(no_parts(wanted, str(path), len(files)))


def no_parts(wanted: Split, name: str, count: int) -> str:
    """Returns what to say where a part is asked of a data set that is one whole."""
    return (
        f"{name} has no part {wanted.part!r}; its {count} images are one set: hold some of them out with "
        "--config.data.train_split='all[:90%]' --config.data.eval_split='all[90%:]', or give 'all'."
    )


def _about_classes(labels: Int32[np.ndarray, "n"], classes: tuple[str, ...]) -> str:
    found = np.bincount(labels[labels >= 0], minlength=len(classes))
    missing, beside = np.flatnonzero(found == 0), int(np.sum(labels == NO_CLASS))
    lacking = f" (without an image here: {len(missing)}, such as {quoted(classes[missing[0]])})" if len(missing) else ""
    stray = f", images beside the folders of the classes and so of none: {beside}" if beside else ""
    return f", classes: {len(classes)}{lacking}{stray}"
