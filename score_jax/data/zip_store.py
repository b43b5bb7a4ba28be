"""Images in a .zip, as EDM's data sets are: read where they lie, each by itself."""

import dataclasses
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from score_jax.data.archive_names import sort_members
from score_jax.data.stores import MOST_BYTES, Contents, Member, stamps_of_archive
from score_jax.errors import InputError, quoted
from score_jax.runtime.array_files import READ_ERRORS, check_unpacked, open_zip

_HEAD, _MOST_TEXT = 1024, 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class ZipStore:
    """The members of a zip archive.

    Attributes:
      path: of the archive.
      archive: open for as long as the store is there.
      members: by name.
    """

    path: Path
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]

    def image(self, name: str) -> Member:
        """See `Store`."""
        return Member(self.path, name, self.read)

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
          InputError: it is damaged, or larger than `MOST_BYTES`.
        """
        return self._read(name, MOST_BYTES)

    def text(self, name: str) -> bytes | None:
        """See `Store`."""
        return self._read(name, _MOST_TEXT) if name in self.members else None

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        return [self.members[name].file_size for name in names]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        return stamps_of_archive(names, [self.path])

    def _read(self, name: str, most: int) -> bytes:
        info = self.members[name]
        if info.file_size > most:
            raise InputError(
                f"{quoted(name)} in {self.path} has {info.file_size} bytes, more than {most}: leave it out."
            )
        try:
            return self.archive.read(info)
        except READ_ERRORS as error:
            reason = quoted(str(error) or type(error).__name__)
            raise InputError(f"Cannot read {quoted(name)} in {self.path}: {reason}. Save the archive again.") from None

    def head(self, name: str) -> bytes:
        """Returns the first kilobyte of a member, b"" of a damaged one."""
        try:
            with self.archive.open(self.members[name]) as member:
                return member.read(_HEAD)
        except READ_ERRORS:
            return b""


def open_zip_store(path: Path) -> Contents:
    """Returns what lies in a zip archive.

    Raises:
      InputError: it is damaged, encrypted, or would unpack to far more than its size.
    """
    file = path.open("rb")
    try:
        archive = open_zip(file)
        members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        check_unpacked(sum(info.file_size for info in members.values()), path.stat().st_size)
    except InputError as error:
        file.close()
        raise InputError(f"Cannot read {path}: {error}") from None
    store = ZipStore(path, archive, members)
    names, left_out = sort_members(list(members), store.head)
    return Contents(store, names, left_out)
