"""Bad cells: what is done about them, and the account of it."""

import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmkeras.errors import InputError

ACTIONS = ("raise", "drop")


class Bad(NamedTuple):
    """One bad cell: the row's position among the records, the input or target, the value, and what is wrong."""

    position: int
    name: str
    value: str
    reason: str


class Ledger:
    """The bad cells of one table by row and column; all records that come from the table share it."""

    def __init__(self):
        self._cells = {}

    def add(self, row, column, value, reason):
        """Enter one cell; entering it again changes nothing."""
        self._cells.setdefault((row, column), (value, reason))

    def frame(self):
        """DataFrame of row, column, value and reason, sorted by row."""
        rows = [(*place, *cell) for place, cell in sorted(self._cells.items())]
        return pd.DataFrame(rows, columns=["row", "column", "value", "reason"])


def leave_out(records, bad):
    """The records without the rows of the bad cells, which go into the ledger; or the error that names the first.

    Args:
        records: `Records`, whose `on_bad` and `bad_limit` say what is done.
        bad: list of `Bad`.

    Raises:
        InputError: with `on_bad="raise"`, or where a larger share of the rows than `bad_limit` is bad.
    """
    if not bad:
        return records
    rows = {cell.position for cell in bad}
    first = _message(records, min(bad), bad)
    if records.on_bad == "raise":
        raise InputError(first)
    for cell in bad:
        records.entries.add(records.frame.index[cell.position], records.schema.column(cell.name), *cell[2:])
    if len(rows) > records.bad_limit * len(records):
        raise InputError(
            f"{records.name}: {len(rows)} of {len(records)} rows are bad, more than bad_limit={records.bad_limit} "
            f"allows; the first: {first}"
        )
    warnings.warn(
        f"{records.name}: {len(rows)} of {len(records)} rows left out ({_summary(bad)}); see records.ledger",
        stacklevel=4,
    )
    kept = np.ones(len(records), bool)
    kept[list(rows)] = False
    return records.take(kept)


def _message(records, cell, bad):
    value = f": {cell.value!r}" if cell.value else ""
    alike = sum((other.name, other.reason) == (cell.name, cell.reason) for other in bad)
    return f"{records.where(cell.position, cell.name)}: {cell.reason}{value} ({alike} such rows)"


def _summary(bad):
    counts = Counter(f"{cell.name}: {cell.reason}" for cell in bad).most_common()
    return "; ".join(f"{reason}: {count}" for reason, count in counts[:4]) + ("; ..." if counts[4:] else "")
