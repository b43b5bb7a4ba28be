"""Looks at every image of a data set once: what size it has, whether it is grey, whether it can be read at all."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, Int32, UInt64
from tqdm import tqdm

from score_jax.data.images import decode
from score_jax.data.stores import Store
from score_jax.errors import InputError, quoted
from score_jax.runtime.array_files import read_arrays
from score_jax.runtime.cache import cache_folder
from score_jax.runtime.files import written_whole

DAMAGED = "damaged"
"""Why an image is left out."""
REFUSE, LEAVE_OUT = "refuse", "leave_out"
"""What is done where an image cannot be read: nothing more is, or the others are taken."""
_THREADS, _AT_A_TIME, _MOST_REASON = 8, 1024, 200


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFacts:
    """What is known of images.

    Attributes:
      names: of them.
      heights: of each, upright, pixels; 0 where it is damaged.
      widths: likewise.
      grey: whether all its pixels are grey.
      damaged: why an image cannot be read, by its name.
    """

    names: Sequence[str]
    heights: Int32[np.ndarray, "n"]
    widths: Int32[np.ndarray, "n"]
    grey: Bool[np.ndarray, "n"]
    damaged: Mapping[str, str]

    def of(self, names: Sequence[str]) -> "ImageFacts":
        """Returns what is known of some of them."""
        place = {name: i for i, name in enumerate(self.names)}
        kept = np.fromiter((place[name] for name in names), np.int64, len(names))
        damaged = {name: self.damaged[name] for name in names if name in self.damaged}
        return ImageFacts(names, self.heights[kept], self.widths[kept], self.grey[kept], damaged)


def check_images(store: Store, names: Sequence[str]) -> ImageFacts:
    """Returns what is known of images, each of which is read whole, in threads.

    It is kept in the cache: an image whose size in bytes and time of writing are as before is not read again.

    Raises:
      InputError: the store itself cannot be read.
    """
    keys = np.array([_key(stamp) for stamp in store.stamps(names)], np.uint64)
    path = _kept_at(store.path)
    known_keys, known, reasons = _load(path)
    places = _places(known_keys, keys)
    found = np.zeros((len(names), 3), np.int32)
    found[places >= 0] = known[places[places >= 0]]
    damaged = {name: str(reasons[i]) for name, i in zip(names, places.tolist(), strict=True) if i >= 0 and reasons[i]}
    missing = np.flatnonzero(places < 0)
    if missing.size:
        with tqdm(total=len(missing), desc="check", unit="image", disable=None, leave=False) as bar:
            for start in range(0, len(missing), _AT_A_TIME):
                block = missing[start : start + _AT_A_TIME]
                with ThreadPoolExecutor(_THREADS) as pool:
                    answers = list(pool.map(lambda i: _look(store, names[i]), block))
                for i, (facts, reason) in zip(block, answers, strict=True):
                    found[i] = facts
                    damaged |= {names[i]: reason} if reason else {}
                bar.update(len(block))
        if jax.process_index() == 0:
            _save(path, keys, found, [damaged.get(name, "") for name in names])
    return ImageFacts(names, found[:, 0], found[:, 1], found[:, 2].astype(bool), damaged)


def _look(store: Store, name: str) -> tuple[tuple[int, int, int], str]:
    """Height, width and whether it is grey; or why it cannot be read.

    Raises:
      InputError: a file system fails, which says nothing of the image.
    """
    shown = quoted(name)
    try:
        pixels = decode(store.image(name).read_bytes(), shown)
    except InputError as error:
        text = str(error)
        return (0, 0, 0), text.partition(f"{shown}: ")[2][:_MOST_REASON] or text[:_MOST_REASON]
    except OSError as error:
        raise InputError(f"Cannot read {shown} of {store.path}: {error.strerror}. Repair or remove it.") from None
    height, width, channels = pixels.shape
    grey = channels == 1 or bool((pixels == pixels[..., :1]).all())
    return (height, width, int(grey)), ""


def _key(stamp: bytes) -> int:
    return int.from_bytes(hashlib.sha256(stamp).digest()[:8], "little")


def _kept_at(path: Path) -> Path:
    return cache_folder("checked") / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:16]}.npz"


def _places(known: UInt64[np.ndarray, "k"], wanted: UInt64[np.ndarray, "n"]) -> np.ndarray:
    """Where each key stands among those known, which are sorted; -1 where it does not."""
    if not len(known):
        return np.full(len(wanted), -1)
    places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    return np.where(known[places] == wanted, places, -1)


def _load(path: Path) -> tuple[UInt64[np.ndarray, "k"], Int32[np.ndarray, "k 3"], np.ndarray]:
    """Sorted keys, facts, and reasons; nothing where nothing is kept, or what is kept is damaged."""
    with contextlib.suppress(InputError):
        arrays = read_arrays(path)
        keys, facts, reasons = (arrays.get(name) for name in ("keys", "facts", "reasons"))
        if keys is not None and facts is not None and reasons is not None:
            whole = keys.dtype == np.uint64 and facts.dtype == np.int32 and reasons.dtype.kind == "U"
            if whole and keys.ndim == 1 and facts.shape == (len(keys), 3) and reasons.shape == keys.shape:
                return keys, facts, reasons
    return np.zeros(0, np.uint64), np.zeros((0, 3), np.int32), np.zeros(0, "U1")


def _save(path: Path, keys: UInt64[np.ndarray, "n"], facts: Int32[np.ndarray, "n 3"], reasons: Sequence[str]) -> None:
    """A folder that cannot be written costs the next command the same look again, and nothing else."""
    order = np.argsort(keys, kind="stable")
    with contextlib.suppress(OSError), written_whole(path) as temporary:
        np.savez(temporary, keys=keys[order], facts=facts[order], reasons=np.array(reasons)[order])
