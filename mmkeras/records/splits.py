"""Dividing rows into splits."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mmkeras.errors import InputError, unknown
from mmkeras.schema import Schema

if TYPE_CHECKING:
    from mmkeras.records import Records


def assign(unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The number of the part of each row: whole units, each stratum (that of a unit's first row) cut by `shares`."""
    _, first, sizes = np.unique(unit, return_index=True, return_counts=True)
    part_of_unit = np.empty(len(first), int)
    order = random.permutation(len(first))
    for value in np.unique(stratum[first]):
        members = order[stratum[first][order] == value]
        middle = np.cumsum(sizes[members]) - sizes[members] / 2
        part_of_unit[members] = np.searchsorted(np.cumsum(shares)[:-1] * sizes[members].sum(), middle, side="right")
    return part_of_unit[unit]


class Splits(Mapping[str, "Records"]):
    """The splits of a table by name, with the schema that was fitted on "train"."""

    def __init__(self, schema: Schema, parts: dict[str, "Records"]):
        self.schema = schema
        self._parts = parts

    def __getitem__(self, name: str) -> "Records":
        if name not in self._parts:
            raise UnknownSplit(str(unknown("split", name, self._parts)))
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"<Splits {', '.join(f'{name}: {len(part)} rows' for name, part in self.items())}>"


class UnknownSplit(InputError, KeyError):
    """A split that does not exist; a KeyError too, so that `in` and `get` work."""

    __str__ = ValueError.__str__
