"""Where images come from: one random-access source for TFDS, our own builders, folders and arrays."""

import dataclasses
import hashlib
import operator
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

import numpy as np

from score_jax.data.array_images import array_rows
from score_jax.data.dead_leaves import DeadLeavesImages
from score_jax.data.images import decode, fit
from score_jax.errors import InputError

T = TypeVar("T")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_DEAD_LEAVES_TRAIN, _DEAD_LEAVES_TEST = 1_000_000, 10_000


WAITS = (0.1, 1.0, 5.0)
"""Seconds before each further try to read a record: file systems of clusters fail now and then."""


def _patiently(read: Callable[[], T], name: str) -> T:
    """What `read` returns, tried again where it fails.

    Raises:
      InputError: it failed each time.
    """
    for wait in WAITS:
        try:
            return read()
        except (InputError, IndexError):
            raise
        except Exception:  # whatever a file system or a reader raises
            time.sleep(wait)
    try:
        return read()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"Cannot read {name}, tried {len(WAITS) + 1} times: {reason}. Mend or remove it, or check the file system; "
            "the same command then goes on."
        ) from error


@dataclasses.dataclass(frozen=True)
class Source:
    """Images of one size as a sequence.

    Attributes:
      name: data set and split, for messages and result files.
      rows: sequence of {"image": encoded bytes, a path, or uint8 pixels (h, w, c); "label": int}.
      prepare: pixels and a name to uint8 (size, size, channels).
      classes: what the labels 0, 1, ... are called, the same for all splits of a data set; () where it has no classes,
        None where it does not say.
    """

    name: str
    rows: Sequence[dict]
    prepare: Callable[[np.ndarray, str], np.ndarray]
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        row = _patiently(lambda: self.rows[operator.index(index)], f"record {index} of {self.name}")
        image, name = row["image"], f"image {index} of {self.name}"
        if isinstance(image, Path):
            file, name = image, str(image)
            image = _patiently(file.read_bytes, name)
        pixels = decode(image, name) if isinstance(image, bytes) else image
        label = np.int32(row.get("label", 0))
        return {"image": self.prepare(pixels, name), "label": label, "index": np.int32(index)}

    @property
    def fingerprint(self) -> str:
        """Name, count, and a hash of eight examples spread over the source, as they reach the model."""
        digest = hashlib.sha256()
        for i in np.linspace(0, len(self) - 1, 8).astype(int):
            digest.update(self[i]["image"].tobytes())
        return f"{self.name} n={len(self)} sha256={digest.hexdigest()[:16]}"


def _slice(split: str, count: int, name: str) -> tuple[str, range]:
    """Splits "test[:10%]" into "test" and the range of its examples, `count` of them in all."""
    match = re.fullmatch(r"(\w+)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?", split)
    if match is None:
        raise InputError(f"Split {split!r} of {name}: expected a name like 'train', 'test[:10%]' or 'all[100:200]'.")

    def bound(text: str | None) -> int | None:
        return round(int(text[:-1]) / 100 * count) if text and text.endswith("%") else int(text) if text else None

    return match[1], range(count)[slice(bound(match[2]), bound(match[3]))]


def _folder(path: Path, split: str) -> Sequence[dict]:
    """Images below PATH/split if there is such a folder, else below PATH; labels number the sorted class folders."""
    if not path.is_dir():
        raise InputError(f"No folder {path}: expected images, in sub-folders by class or all in one.")
    base = split.split("[")[0]
    root = path / base if (path / base).is_dir() else path
    files = sorted(f for f in root.rglob("*") if f.suffix.lower() in _SUFFIXES and not f.is_symlink() and f.is_file())
    if not files:
        raise InputError(f"No images in {root}: expected files ending in {', '.join(_SUFFIXES)}.")
    if root == path and base not in ("all", "train", "test"):
        raise InputError(f"{path} has no folder {base!r}: name a folder in it, or use the split 'all[:90%]'.")
    classes = sorted({f.relative_to(root).parts[0] for f in files if f.parent != root})
    return [
        {"image": f, "label": classes.index(f.relative_to(root).parts[0]) if f.parent != root else 0} for f in files
    ]


def _tfds(name: str, split: str, data_dir: str | None) -> Sequence[dict]:
    """A TFDS data set through `tfds.data_source`; the sets that packages ship are prepared on the way."""
    import tensorflow_datasets as tfds

    from score_jax.data.builders.packaged import BUILDERS

    if name in BUILDERS:
        builder = BUILDERS[name](data_dir=data_dir, file_format="array_record")
        tfds.disable_progress_bar()
        builder.download_and_prepare()
    try:
        return tfds.data_source(
            name,
            split=split,
            data_dir=data_dir,
            download=False,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
    except tfds.core.registered.DatasetNotFoundError:
        raise InputError(
            f"No data set {name!r}: expected {', '.join(BUILDERS)}, dead_leaves, folder:PATH, a path to .npz or .npy, "
            "or a TFDS name."
        ) from None
    except (AssertionError, FileNotFoundError, KeyError, NotImplementedError) as error:
        raise InputError(
            f"TFDS data set {name!r} is not prepared in {data_dir or '~/tensorflow_datasets'} as array_record: on a "
            f"machine with TensorFlow run `tfds build {name} --file_format=array_record`, then set data.data_dir. "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from None
    except ValueError as error:
        raise InputError(f"Split {split!r} of {name}: {str(error).splitlines()[0]}") from None


def _check_tfds_rows(rows: Sequence[dict], name: str) -> None:
    if len(rows) and "image" not in rows[0]:
        raise InputError(f"{name} has the features {sorted(rows[0])}: expected one called 'image'.")


def open_source(
    name: str,
    split: str,
    *,
    image_size: int,
    channels: int,
    resize_filter: str = "none",
    crop: int = 0,
    data_dir: str | None = None,
) -> Source:
    """Opens a data set.

    Args:
      name: "digits", "mnist_5k", "dead_leaves", any TFDS name, "folder:PATH", or a path to .npz or .npy.
      split: "train", "test", or a part like "train[:90%]"; sets that have no splits of their own use "all[...]".
      image_size: height and width wanted; other images are cropped to their central square and resized.
      channels: 1 or 3 wanted; others are converted.
      resize_filter: see `images.fit`.
      crop: see `images.fit`.
      data_dir: where TFDS keeps its data sets.

    Raises:
      InputError: there is no such data set or split, or it is not prepared; the message says how to mend it.
    """

    def prepare(image: np.ndarray, what: str) -> np.ndarray:
        return fit(image, image_size, channels, resize_filter, what, crop)

    if name == "dead_leaves":
        seed, count = (1, _DEAD_LEAVES_TEST) if split.startswith("test") else (0, _DEAD_LEAVES_TRAIN)
        rows = DeadLeavesImages(seed, image_size, channels, count)
        return Source(f"{name}:{split}", _kept(rows, split, name), prepare)
    return Source(f"{name}:{split}", _rows(name, split, data_dir), prepare)


def open_images(
    name: str, split: str, prepare: Callable[[np.ndarray, str], np.ndarray], *, data_dir: str | None = None
) -> Source:
    """The images of a data set, each at its own size until `prepare` brings them to one.

    Args:
      name: as of `open_source`, dead_leaves excepted.
      split: as of `open_source`.
      prepare: pixels (h, w, 1 or 3) and a name, for messages, to arrays of one shape.
      data_dir: where TFDS keeps its data sets.

    Raises:
      InputError: there is no such data set or split, or it is not prepared.
    """
    return Source(f"{name}:{split}", _rows(name, split, data_dir), prepare)


def _rows(name: str, split: str, data_dir: str | None) -> Sequence[dict]:
    if name.startswith("folder:"):
        return _kept(_folder(Path(name.removeprefix("folder:")).expanduser(), split), split, name)
    if name.endswith((".npz", ".npy")):
        return _kept(array_rows(Path(name).expanduser()), split, name)
    rows = _tfds(name, split, data_dir)
    _check_tfds_rows(rows, name)
    return rows


def _kept(rows: Sequence[dict], split: str, name: str) -> Sequence[dict]:
    """The rows of a split that is a range."""
    _, kept = _slice(split, len(rows), name)
    if not len(kept):
        raise InputError(f"Split {split!r} of {name} is empty: it has {len(rows)} images.")
    return _Part(rows, kept)


@dataclasses.dataclass(frozen=True)
class _Part(Sequence):
    """The rows of a range."""

    rows: Sequence[dict]
    kept: range

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i):
        return self.rows[self.kept[i]]
