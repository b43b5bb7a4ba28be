"""Arrays that are too large for memory: rows of an .npy, or of an .npz that is not packed, read as they are asked for.

They are read at their place and not mapped: a file that is cut meanwhile is a line then, where a map would end the
process, and what was read does not count as the memory of the process. A file that is replaced by another of its name
is read on as it was when it was opened.
"""

import contextlib
import dataclasses
import io
import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from score_jax.errors import InputError
from score_jax.runtime.array_files import open_headers, stored_at


@dataclasses.dataclass(frozen=True, eq=False)
class FileRows(Sequence[np.ndarray]):
    """The rows of an array in a file. Threads may read at the same time.

    Attributes:
      path: of the file, for messages.
      file: open, and closed with the last reference to the rows.
      start: byte at which the first row begins.
      shape: of the whole array (n, ...).
      dtype: of its elements.
    """

    path: Path
    file: io.BufferedReader
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def __post_init__(self):
        weakref.finalize(self, self.file.close)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, i):
        """Row i.

        Raises:
          InputError: the file has become shorter.
          OSError: it cannot be read.
        """
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        found = os.pread(self.file.fileno(), size, self.start + range(len(self))[i] * size)
        if len(found) < size:
            raise InputError(f"{self.path} was cut while it was read: restore it; then the same command continues.")
        return np.frombuffer(found, self.dtype).reshape(self.shape[1:])


def open_rows(path: Path, name: str, shape: tuple[int, ...]) -> FileRows | None:
    """Opens the rows of an array of an .npz, or of an .npy as "arr_0"; None where they do not lie in it as they are.

    Args:
      path: the file.
      name: of the array.
      shape: as which it is read; of as many elements, and as many rows.

    Raises:
      InputError: the array is damaged.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        try:
            header, start = open_headers(file)[name], stored_at(file, name)
        except InputError as error:
            raise InputError(f"Cannot read {path}: {error}") from None
        if start is None:
            return None
        stack.pop_all()
        return FileRows(path, file, start, shape, header.dtype)
