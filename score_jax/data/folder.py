"""A folder or an archive of images: its files and classes, in an order that does not depend on classes or platform."""

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from score_jax.data.contents import open_contents
from score_jax.data.folder_captions import is_caption_file, read_captions
from score_jax.data.folder_scan import LeftOut, describe_left_out
from score_jax.data.image_check import DAMAGED, ImageFacts, check_images
from score_jax.data.label_files import EDM_FILE, NO_CLASS, edm_labels, every_class, numbered, read_labels
from score_jax.data.natural_order import in_natural_order
from score_jax.data.splits import Split, parse_split
from score_jax.data.stores import Class, Contents, Store, in_threads
from score_jax.errors import InputError, counted, plural, quoted

_PART = (
    r"(?:(?:train|val|test)\d*|training|trainval|valid|validate|validation|testing|eval|evaluation|dev|hold_?out|held_out"
    r"|extra|unlabell?ed)"
)
_PARTS = re.compile(_PART, re.IGNORECASE)
_NAMED_AFTER_PARTS = re.compile(rf"(?:\w+[_-])?{_PART}(?:[_-]\w+)?", re.IGNORECASE)
"""Such as "seg_train" and "test_set"; but a class may be called test_tube."""
_CONTENT_BYTES, _CONTENT_FILES = 2**28, 4096


@dataclasses.dataclass(frozen=True, eq=False)
class FolderImages(Sequence[dict]):
    """Rows of {"image": path or `Member`, "label": int}, made when they are asked for: there may be millions.

    Attributes:
      store: where they lie.
      files: their names, with "/" on every platform.
      labels: the number of each file's class, `NO_CLASS` beside the folders of the classes; None where there are none.
      captions: of each file, where they are read.
      labels_are_said: whether a file or the data say the classes, which then count as much as the images.
    """

    store: Store
    files: Sequence[str]
    labels: Int32[np.ndarray, "n"] | None
    captions: Sequence[str] | None = None
    labels_are_said: bool = False

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i):
        row: dict[str, Any] = {"image": self.store.image(self.files[i])}
        row |= {} if self.labels is None else {"label": int(self.labels[i])}
        return row if self.captions is None else row | {"caption": self.captions[i]}

    def summary(self) -> bytes:
        """A hash of all names, sizes and captions, and of the content of up to 4096 files or 256 MiB, spread over them.

        Raises:
          InputError: a file cannot be read.
        """
        sizes = self.store.sizes(self.files)
        digest = hashlib.sha256()
        for file, size in zip(self.files, sizes, strict=True):
            digest.update(b"%s\0%d\n" % (_bytes(file), size))
        for caption in self.captions or ():
            digest.update(caption.encode("utf-8", "surrogatepass") + b"\0")
        if self.labels_are_said and self.labels is not None:
            digest.update(self.labels.astype("<i4").tobytes())
        many = int(np.clip(_CONTENT_BYTES * len(sizes) // max(sum(sizes), 1), 8, _CONTENT_FILES))
        some = [self.files[i] for i in np.linspace(0, len(sizes) - 1, min(many, len(sizes))).astype(int)]
        for content in in_threads(lambda file: hashlib.sha256(self.store.image(file).read_bytes()).digest(), some):
            digest.update(content)
        return digest.digest()


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


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """All images of a data set, before it is cut into splits.

    Attributes:
      contents: where they lie, which there are, and what was left out.
      parts: folders by which they are divided; () where they are one set.
      labels: of each image, `NO_CLASS` where it is of none; None where there are no classes.
      classes: what the labels are called.
      said: of labels that name no image; "" where there are none.
      labels_are_said: whether they are of a file or of the data, and not of folders.
      facts: of all images, damaged ones too, where each was looked at.
    """

    contents: Contents
    parts: tuple[str, ...]
    labels: Int32[np.ndarray, "n"] | None
    classes: tuple[str, ...]
    said: str = ""
    labels_are_said: bool = False
    facts: ImageFacts | None = None


def open_whole(path: Path, *, labels: str = "", leave_damaged: bool = False) -> Whole:
    """Finds all images of a folder or an archive, and their classes.

    Classes are those of the file `labels`; without it those that the data say beside the images (WebDataset, a table,
    EDM's dataset.json); without these the names of the folders.

    Args:
      path: as `contents.open_contents` takes it.
      labels: a file, see `label_files.read_labels`; "": none.
      leave_damaged: look at every image, and leave out those that cannot be read.

    Raises:
      InputError: there is nothing, or an image has no class where others have one by a file.
    """
    contents = open_contents(path)
    files, left_out = contents.names, dict(contents.left_out)
    if not files:
        raise InputError(
            f"No images in {path}: expected files of a kind that Pillow reads{describe_left_out(left_out, '; ')}."
        )
    facts = check_images(contents.store, files) if leave_damaged else None
    if facts is not None and (damaged := facts.damaged):
        left_out[DAMAGED] = sorted(damaged)
        files = [file for file in files if file not in damaged]
        if not files:
            first = left_out[DAMAGED][0]
            raise InputError(f"None of the images in {path} can be read, such as {quoted(first)}: {damaged[first]}")
    parts = parts_of(files) if contents.parts is None else contents.parts
    if parts:
        beside = [file for file in files if file.partition("/")[0] not in parts]
        if beside:
            left_out[f"outside of the folders {', '.join(parts)}"] = beside
            files = [file for file in files if file.partition("/")[0] in parts]
    if any(EDM_FILE in paths for paths in left_out.values()):
        left_out = _without(left_out, lambda other: other == EDM_FILE)
    contents = dataclasses.replace(contents, names=files, left_out=left_out)
    known, names, said = _said_labels(contents, path, labels)
    if known is not None:
        if not any(label is not None for label in known):
            return Whole(contents, parts, None, (), facts=facts)
        found, classes = numbered(known, names, str(path))
        return Whole(contents, parts, found, classes, said, True, facts)
    depth = 1 if parts else 0
    by_folder = contents.parts is None
    classes = in_natural_order({_class_of(folder, depth) for folder in folders_of(files)} - {""}) if by_folder else ()
    return Whole(contents, parts, _labels(files, classes, depth) if classes else None, classes, facts=facts)


def _said_labels(
    contents: Contents, path: Path, labels: str
) -> tuple[list[Class | None] | None, tuple[str, ...] | None, str]:
    """The class of each image by a file or by the data, what numbers are called, and what to say; None: nobody says."""
    files = contents.names
    if labels:
        found, said = read_labels(Path(labels).expanduser(), files)
        return list(every_class(found, files, labels)), None, said
    if contents.labels is not None:
        return [contents.labels[file] for file in files], contents.classes, ""
    raw = contents.store.text(EDM_FILE)
    if raw is None:
        return None, None, ""
    of_edm = edm_labels(raw, path / EDM_FILE, files)
    return [None] * len(files) if of_edm is None else list(every_class(of_edm, files, EDM_FILE)), None, ""


def open_folder(
    path: Path, split: str, *, captions: bool = False, labels: str = "", leave_damaged: bool = False
) -> tuple[FolderImages, tuple[str, ...], str]:
    """Opens the images of a folder or an archive.

    Args:
      path: with folders for classes, with folders for parts ("train", "val") that may hold folders for classes, or with
        images alone.
      split: a part's name or "all", as `splits.parse_split` takes it; it cuts the order of `in_fixed_order`.
      captions: read them too, see `folder_captions.read_captions`.
      labels: see `open_whole`.
      leave_damaged: see `open_whole`.

    Returns:
      The rows, the names of the classes in the order of their numbers, the same for all parts, and a line about what
      was taken and what was left out.

    Raises:
      InputError: there is no such folder or part, or nothing in it, or an image has no caption.
    """
    name, wanted = f"folder:{path}", parse_split(split, f"folder:{path}")
    whole = open_whole(path, labels=labels, leave_damaged=leave_damaged)
    contents, files = whole.contents, whole.contents.names
    chosen = in_fixed_order(_of_part(files, whole.parts, wanted, path))
    kept = [chosen[i] for i in wanted.cut(len(chosen), name)]
    numbers = _of_files(whole, kept)
    about = "" if numbers is None else _about_classes(numbers, whole.classes)
    left_out, texts = contents.left_out, _captions(contents, kept) if captions else None
    if captions:
        about += ", each with a caption"
        left_out = _without(left_out, is_caption_file)
    line = f"{name}, split {split!r}: {len(kept)} of its {counted(len(files), 'image')}{about}"
    said = f"; {whole.said}" if whole.said else ""
    return (
        FolderImages(contents.store, kept, numbers, texts, whole.labels_are_said),
        whole.classes,
        f"{line}{describe_left_out(left_out, '; ') or '; none left out'}{said}.",
    )


def _of_files(whole: Whole, files: Sequence[str]) -> Int32[np.ndarray, "n"] | None:
    """The labels of some of the images."""
    if whole.labels is None:
        return None
    if files == whole.contents.names:
        return whole.labels
    known = dict(zip(whole.contents.names, whole.labels.tolist(), strict=True))
    return np.fromiter((known[file] for file in files), np.int32, len(files))


def _captions(contents: Contents, files: Sequence[str]) -> list[str]:
    """Captions that the data say themselves, or those of lists and texts beside the images.

    Raises:
      InputError: an image has none.
    """
    if not contents.captions:
        return read_captions(contents.store, files)
    if lacking := [file for file in files if file not in contents.captions]:
        raise InputError(
            f"{len(lacking)} of the {counted(len(files), 'image')} of {contents.store.path} "
            f"{plural(len(lacking), 'has', 'have')} no caption, such as "
            f"{quoted(lacking[0])}: give one to each."
        )
    return [contents.captions[file] for file in files]


def _without(left_out: LeftOut, known: Callable[[str], bool]) -> LeftOut:
    """What is left out but for files that are known, and read."""
    kept = {reason: [path for path in paths if not known(path)] for reason, paths in left_out.items()}
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
