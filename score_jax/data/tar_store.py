"""Images in .tar files, WebDataset's shards among them: an index of where each lies, and no unpacking."""

import dataclasses
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from score_jax.data.archive_names import sort_members
from score_jax.data.folder_scan import SPECIAL, LeftOut
from score_jax.data.stores import MOST_BYTES, THREADS, Contents, Member, stamps_of_archive
from score_jax.errors import InputError, counted, plural, quoted
from score_jax.runtime.file_kinds import kind_of

_HEAD = 1024
_CLASS, _CAPTION, _MOST_TEXT = ".cls", ".txt", 2**16
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclasses.dataclass(frozen=True)
class _Member:
    """Where a file lies: in which shard, from which byte on, and how many bytes."""

    shard: int
    start: int
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class TarStore:
    """The members of tar archives.

    Attributes:
      path: of the first, or of the folder of all.
      shards: the archives.
      members: where each file lies, by name.
    """

    path: Path
    shards: Sequence[Path]
    members: Mapping[str, _Member]

    def image(self, name: str) -> Member:
        """See `Store`."""
        return Member(self.path, name, self.read)

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
          InputError: it is damaged, or larger than `MOST_BYTES`.
        """
        return self._read(name, self.members[name].size)

    def text(self, name: str) -> bytes | None:
        """See `Store`."""
        return self._read(name, self.members[name].size) if name in self.members else None

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        return [self.members[name].size for name in names]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        return stamps_of_archive(names, self.shards)

    def head(self, name: str) -> bytes:
        """Returns the first kilobyte of a member."""
        return self._read(name, min(_HEAD, self.members[name].size))

    def _read(self, name: str, size: int) -> bytes:
        member = self.members[name]
        shard = self.shards[member.shard]
        if size > MOST_BYTES:
            raise InputError(f"{quoted(name)} in {shard} has {size} bytes, more than {MOST_BYTES}: leave it out.")
        with shard.open("rb") as file:
            found = os.pread(file.fileno(), size, member.start)
        if len(found) < size:
            raise InputError(f"{shard} is cut short: {quoted(name)} is not whole. Download it again.")
        return found


def shards_of(path: Path) -> list[Path]:
    """Returns the archives that a path names, {0000..0146} in it standing for each number.

    Raises:
      InputError: the numbers are none.
    """
    match = _NUMBERS.search(str(path))
    if match is None:
        return [path]
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + 10**6:
        raise InputError(
            f"{path}: {match[0]} stands for no shards; expected the lower number first, as {{0000..0146}}."
        )
    before, after = str(path)[: match.start()], str(path)[match.end() :]
    return [Path(f"{before}{number:0{len(match[1])}d}{after}") for number in range(first, last + 1)]


def open_tar_store(path: Path, shards: Sequence[Path]) -> Contents:
    """Returns what lies in tar archives.

    The class of an image is a number or a name in KEY.cls, its caption a text in KEY.txt, where KEY is the image's name
    up to its first dot (WebDataset). A name that several shards have stands for a file of each.

    Args:
      path: what to call them all.
      shards: the archives.

    Raises:
      InputError: one is none, is packed as a whole, or is damaged; or some images have a class, and others none.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        indices = list(pool.map(_index, shards))
    members: dict[str, _Member] = {}
    left_out: LeftOut = {}
    repeated = _repeated(indices)
    for number, (found, others) in enumerate(indices):
        for name, (start, size) in found.items():
            members[_in_shard(name, shards[number]) if name in repeated else name] = _Member(number, start, size)
        if others:
            left_out.setdefault(SPECIAL, []).extend(others)
    store = TarStore(path, shards, members)
    names, not_images = sort_members(list(members), store.head)
    labels = _beside(store, names, _CLASS)
    if labels and len(labels) < len(names):
        lacking = next(name for name in names if name not in labels)
        raise InputError(
            f"{path}: {len(labels)} of {counted(len(names), 'image')} "
            f"{plural(len(labels), 'has', 'have')} a class ({_CLASS}), and others none, such as "
            f"{quoted(lacking)}: give each one, or none."
        )
    classes = {name: int(text) if text.isascii() and text.isdigit() else text for name, text in labels.items()}
    return Contents(
        store, names, left_out | not_images, labels=classes or None, captions=_beside(store, names, _CAPTION)
    )


def _index(shard: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Start and size of each file of an archive, and what is neither file nor folder.

    Raises:
      InputError: it is no tar archive, or a damaged one.
    """
    found: dict[str, tuple[int, int]] = {}
    others: list[str] = []
    try:
        with shard.open("rb") as file:
            head, size = file.read(_HEAD), os.fstat(file.fileno()).st_size
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    name = member.name.removeprefix("./")
                    if member.isreg() and not member.issparse():
                        found[name] = (member.offset_data, member.size)
                    elif not member.isdir():
                        others.append(name)
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
                    raise tarfile.ReadError(f"the header at byte {archive.offset} is damaged or cut short")
    except OSError as error:
        if not isinstance(error, tarfile.TarError) and error.strerror:
            raise InputError(f"Cannot open {shard}: {error.strerror}.") from None
        raise _no_tar(shard, head, str(error)) from None
    except (tarfile.TarError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise _no_tar(shard, head, str(error)) from None
    if any(start + length > size for start, length in found.values()):
        raise InputError(f"{shard} is cut short: its last file is not whole. Download it again.")
    return found, others


def _no_tar(shard: Path, head: bytes, reason: str) -> InputError:
    kind = kind_of(head) if head[257:262] != b"ustar" else ""
    return InputError(f"{shard} is no tar archive that can be read in any order: {kind or reason or 'damaged'}.")


def _repeated(indices: Sequence[tuple[Mapping[str, object], object]]) -> set[str]:
    """Names that several shards have."""
    seen: set[str] = set()
    twice: set[str] = set()
    for found, _ in indices:
        twice |= seen & found.keys()
        seen |= found.keys()
    return twice


def _in_shard(name: str, shard: Path) -> str:
    """A name with that of its shard before the file's, so that images and the texts beside them stay together."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{shard.stem.replace('.', '_')}+{file}"


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _beside(store: TarStore, names: Sequence[str], ending: str) -> dict[str, str]:
    """Texts of images that have a file of this ending beside them."""
    there = {name: f"{_key(name)}{ending}" for name in names if f"{_key(name)}{ending}" in store.members}
    texts = {}
    for name, file in there.items():
        raw = store.text(file) if store.members[file].size <= _MOST_TEXT else None
        try:
            texts[name] = (raw or b"").decode().strip()
        except UnicodeDecodeError:
            raise InputError(f"Cannot read {quoted(file)} of {store.path}: save its text as UTF-8.") from None
        if ending == _CLASS and not texts[name]:
            raise InputError(f"{quoted(file)} of {store.path} names no class: expected a number or a name.")
    return texts
