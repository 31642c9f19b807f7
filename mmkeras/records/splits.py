"""Dividing rows into splits."""

from collections.abc import Mapping

import numpy as np

from mmkeras.errors import InputError, unknown


def assign(unit, stratum, shares, random):
    """The number of the part of each row: whole units, each stratum (that of a unit's first row) cut by `shares`."""
    _, first, sizes = np.unique(unit, return_index=True, return_counts=True)
    part_of_unit = np.empty(len(first), int)
    order = random.permutation(len(first))
    for value in np.unique(stratum[first]):
        members = order[stratum[first][order] == value]
        middle = np.cumsum(sizes[members]) - sizes[members] / 2
        part_of_unit[members] = np.searchsorted(np.cumsum(shares)[:-1] * sizes[members].sum(), middle, side="right")
    return part_of_unit[unit]


class Splits(Mapping):
    """The splits of a table by name, with the schema that was fitted on "train"."""

    def __init__(self, schema, parts):
        self.schema = schema
        self._parts = parts

    def __getitem__(self, name):
        if name not in self._parts:
            raise UnknownSplit(str(unknown("split", name, self._parts)))
        return self._parts[name]

    def __iter__(self):
        return iter(self._parts)

    def __len__(self):
        return len(self._parts)

    def __repr__(self):
        return f"<Splits {', '.join(f'{name}: {len(part)} rows' for name, part in self.items())}>"


class UnknownSplit(InputError, KeyError):
    """A split that does not exist; a KeyError too, so that `in` and `get` work."""

    __str__ = ValueError.__str__
