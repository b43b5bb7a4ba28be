"""Rows of data that are made of other rows, or of an array."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class KeptRows(Sequence):
    """Rows that are drawn once, when they are first asked for."""

    rows: Sequence[dict]
    drawn: dict[int, dict] = dataclasses.field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i):
        if i not in self.drawn:
            self.drawn[i] = self.rows[i]
        return self.drawn[i]


@dataclasses.dataclass(frozen=True)
class ArrayRows(Sequence):
    """Rows of an array in memory, without labels."""

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, i):
        return {"image": self.array[i], "label": 0}


@dataclasses.dataclass(frozen=True)
class PartRows(Sequence):
    """The rows at some places."""

    rows: Sequence[dict]
    kept: Sequence[int]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i):
        return self.rows[self.kept[i]]
