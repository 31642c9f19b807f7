"""Dividing rows into splits."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mmkeras.errors import InputError, shown, unknown
from mmkeras.schema import Schema

if TYPE_CHECKING:
    from mmkeras.records import Records


BINS = 10  # of a continuous column that is spread evenly over the splits


def assign(unit: np.ndarray, stratum: np.ndarray | None, shares: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The number of the part of each row: whole units, each stratum divided by `shares`, and so are all rows.

    Args:
        unit: `(rows,)` int, which unit a row belongs to, as a person.
        stratum: `(rows,)` int, or None: no strata.
        shares: of each part; their sum is 1.
        random: generator of the order.
    """
    _, first, sizes = np.unique(unit, return_index=True, return_counts=True)
    order = random.permutation(len(first))
    if stratum is None:
        part_of_unit = np.empty(len(first), int)
        middle = np.cumsum(sizes[order]) - sizes[order] / 2
        part_of_unit[order] = np.searchsorted(np.cumsum(shares)[:-1] * sizes.sum(), middle, side="right")
    elif len(first) == len(unit):
        part_of_unit = _each_row(stratum[first], shares, order)
    else:
        part_of_unit = _whole_units(unit, stratum, shares, order)
    return part_of_unit[unit]


def _each_row(stratum: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows one by one: every stratum within one row of its shares, and the remainders carried from one to the next."""
    part, carried = np.empty(len(stratum), int), np.zeros(len(shares))
    for members in _grouped(order, pd.factorize(stratum[order])[0]):
        exact = shares * len(members)
        counts = np.floor(exact + 1e-9).astype(int)
        carried += exact - counts
        rest = len(members) - counts.sum()
        behind = np.argsort(np.where(exact - counts > 1e-9, -carried, np.inf), kind="stable")[:rest]
        counts[behind] += 1
        carried[behind] -= 1
        part[members] = np.repeat(np.arange(len(shares)), counts)
    return part


def _whole_units(unit: np.ndarray, stratum: np.ndarray, shares: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Units of several rows, the largest first, each to the part whose counts then deviate least from its shares.

    The squared deviations of each stratum's rows, and of all rows, count relative to the rows that are expected.
    """
    values, number = np.unique(stratum, return_inverse=True)
    pairs, rows = np.unique(np.stack([unit, number]), axis=1, return_counts=True)
    own = _grouped(np.arange(len(rows)), pairs[0])  # of each unit the places of its strata
    sizes, total = np.bincount(unit), np.bincount(number)
    lacking, lacking_rows = np.outer(shares, total), shares * len(unit)
    part = np.empty(len(own), int)
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        where, more, size = pairs[1, own[one]], rows[own[one]], sizes[one]
        change = ((more - 2 * lacking[:, where]) * more / total[where]).sum(axis=1)
        change += (size - 2 * lacking_rows) * size / len(unit) * len(values)  # weighs as much as all strata
        part[one] = np.argmin(change / shares)
        lacking[part[one], where] -= more
        lacking_rows[part[one]] -= size
    return part


def _grouped(items: np.ndarray, number: np.ndarray) -> list[np.ndarray]:
    """The items of each number from 0, in their order."""
    return np.split(items[np.argsort(number, kind="stable")], np.cumsum(np.bincount(number))[:-1])


def strata(cells: np.ndarray, continuous: bool, where: str) -> np.ndarray:
    """The number of the stratum of each row `(rows,)`: a value, or one of `BINS` quantiles of numbers.

    Args:
        cells: `(rows,)` str; empty ones are a stratum of their own.
        continuous: whether the column holds a quantity. Numbers most of which differ are taken for one in any case.
        where: beginning of the message: table and column.

    Raises:
        InputError: all values differ, and they are no numbers.
    """
    number, distinct = pd.factorize(cells)
    there = distinct != ""
    if (continuous and len(distinct) > BINS) or (len(distinct) > len(cells) / 2 and len(cells) > 1):
        values = pd.to_numeric(pd.Series(np.where(there, distinct, np.nan), dtype=object), errors="coerce")
        if not values[there].isna().any():
            bins = min(BINS, max(len(cells) // 2, 1))
            place = pd.qcut(values.to_numpy(float)[number], bins, labels=False, duplicates="drop")
            return np.where(np.isnan(place), -1, place).astype(int)
        if len(distinct) == len(cells):
            raise InputError(
                f"{where}: expected stratify to be a column whose values repeat, as a label, or hold numbers; received "
                f"{len(distinct):,} different values in {len(cells):,} rows, as {shown(distinct[0])}"
            )
    return number


class Splits(Mapping[str, "Records"]):
    """The splits of a table by name.

    Attributes:
        schema: fitted on "train".
        common: DataFrame of files and rows that stand in two splits: split, other, what (an input of files, compared by
            content, or "rows", by all inputs), same (how many of the split are in the other one) and of (how many it
            has). Empty if there are none, or if they were not looked for.
    """

    def __init__(self, schema: Schema, parts: dict[str, "Records"], common: pd.DataFrame | None = None):
        self.schema = schema
        self.common = pd.DataFrame(columns=["split", "other", "what", "same", "of"]) if common is None else common
        self._parts = parts

    def __getitem__(self, name: str) -> "Records":
        if name not in self._parts:
            raise UnknownSplit(str(unknown("split", name, self._parts)))
        return self._parts[name]

    def __getattr__(self, name: str) -> Any:
        """Not found: say what to type for a split, or for something that its records have."""
        parts = self.__dict__.get("_parts", {})
        if name in parts:
            raise AttributeError(f"Splits have no attribute {name!r}: the split is data[{name!r}]", name=name, obj=None)
        hint = f': a split has it, as data["train"].{name}' if hasattr(next(iter(parts.values()), None), name) else ""
        raise AttributeError(f"Splits have no attribute {name!r}{hint}", name=name, obj=None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"<Splits {', '.join(f'{name}: {len(part)} rows' for name, part in self.items())}>"


class UnknownSplit(InputError, KeyError):
    """A split that does not exist; a KeyError too, so that `in` and `get` work."""

    __str__ = ValueError.__str__
