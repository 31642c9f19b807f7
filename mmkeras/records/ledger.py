"""Bad cells: their treatment, and the list of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmkeras.errors import InputError, warn

if TYPE_CHECKING:
    from mmkeras.records import Records

ACTIONS = ("raise", "drop", "missing")


class Bad(NamedTuple):
    """One bad cell.

    It has the row's position among the records, the input or target, the value, what is wrong, the column, and the end
    of an error about it.
    """

    position: int
    name: str
    value: str
    reason: str
    column: str | None = None  # None: the first one of that name
    hint: str = ""


class Ledger:
    """The bad cells of one table by row and column; all records that come from the table share it.

    A row is its number; of several tables (`combine`) the pair of the table's name and its number there.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[Any, str], tuple[str, str]] = {}

    def add(self, row: Any, column: str, value: str, reason: str) -> None:
        """Enter one cell; entering it again changes nothing."""
        if isinstance(row, (tuple, list)):  # from a MultiIndex the number is NumPy's, from JSON the pair is a list
            row = row[0], int(row[1])
        self._cells.setdefault((row, column), (value, reason))

    def frame(self) -> pd.DataFrame:
        """DataFrame of row, column, value and reason, sorted by row."""
        rows = [(*place, *cell) for place, cell in sorted(self._cells.items())]
        return pd.DataFrame(rows, columns=["row", "column", "value", "reason"])


def settle(records: "Records", bad: Sequence[Bad]) -> "Records":
    """The records after the treatment of their bad cells as `on_bad` says. All bad cells go into the ledger.

    Args:
        records: `Records`.
        bad: list of `Bad`.

    Returns:
        The records without the rows of these cells, or, with `on_bad="missing"`, with empty cells in optional parts.

    Raises:
        InputError: names the first one with `on_bad="raise"`, or if more of the rows are bad than `bad_limit` allows.
    """
    if not bad:
        return records
    rows = {cell.position for cell in bad}
    first = _message(records, min(bad, key=lambda cell: cell[:2]), bad)
    if records.on_bad == "raise":
        raise InputError(first)
    for cell in bad:
        records.entries.add(records.frame.index[cell.position], _column(records, cell), cell.value, cell.reason)
    if len(rows) > records.bad_limit * len(records):
        raise InputError(
            f"{records.name}: {len(rows)} of {len(records)} rows are bad, more than bad_limit={records.bad_limit} "
            f"allows; the first: {first}"
        )
    holes = [records.on_bad == "missing" and _may_be_empty(records, cell) for cell in bad]
    records = _with_holes(records, [cell for cell, hole in zip(bad, holes, strict=True) if hole])
    return _without_rows(records, [cell for cell, hole in zip(bad, holes, strict=True) if not hole])


def _may_be_empty(records, cell):
    part = records.schema.parts[cell.name]
    return part.optional or part.holes


def _with_holes(records, bad):
    """The records with empty cells in the place of bad ones."""
    if not bad:
        return records
    frame = records.frame.copy()
    for cell in bad:
        for column in records.schema.columns(cell.name) if cell.column is None else [cell.column]:
            frame.iat[cell.position, frame.columns.get_loc(column)] = ""
    warn(f"{records.name}: {len(bad)} values count as missing ({_summary(bad)}); see records.ledger")
    return replace(records, frame=frame)


def _without_rows(records, bad):
    rows = {cell.position for cell in bad}
    if not rows:
        return records
    warn(f"{records.name}: {len(rows)} of {len(records)} rows left out ({_summary(bad)}); see records.ledger")
    kept = np.ones(len(records), bool)
    kept[list(rows)] = False
    return records.take(kept)


def _column(records, cell):
    return cell.column or records.schema.column(cell.name)


def _message(records, cell, bad):
    value = f": {cell.value!r}" if cell.value else ""
    alike = sum((other.name, other.reason) == (cell.name, cell.reason) for other in bad)
    return (
        f"{records.where(cell.position, _column(records, cell))}: {cell.reason}{value} ({alike} such rows){cell.hint}"
    )


def _summary(bad):
    counts = Counter(f"{cell.name}: {cell.reason}" for cell in bad).most_common()
    return "; ".join(f"{reason}: {count}" for reason, count in counts[:4]) + ("; ..." if counts[4:] else "")
