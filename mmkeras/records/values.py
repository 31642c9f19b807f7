"""The values of a table as the text of cells: lists of labels, and values that cannot be a cell."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mmkeras.errors import InputError, shown
from mmkeras.records.ledger import Bad
from mmkeras.records.manifest import cells
from mmkeras.schema import Schema


def as_cells(schema: Schema, names: Iterable[str], frame: pd.DataFrame) -> tuple[dict[str, pd.Series], list[Bad]]:
    """The columns of these inputs and targets as str, "" where a value is missing.

    Args:
        schema: `Schema`.
        names: of inputs and targets; the table has all their columns.
        frame: the table, as it was loaded.

    Returns:
        dict of column -> its cells; and the list of `Bad` for values that are no text, number, truth value or date, nor
        what the kind takes besides: their cells are the beginning of their `repr`.
    """
    made: dict[str, pd.Series] = {}
    bad: list[Bad] = []
    for name in names:
        part: Any = schema.parts[name]
        for column in schema.columns(name):
            values = frame[column]
            if not part.files:
                values, wrong = _without_lists(name, part, values)
                bad += wrong
            found = cells(values)
            blanks_count = part.files or (name in schema.inputs and part.wire == "text")
            made[column] = found if blanks_count else _without_blanks(found)
    return made, bad


def _without_lists(name: str, part: Any, column: pd.Series) -> tuple[pd.Series, list[Bad]]:
    """A column in which every value is one, and the cells that cannot be."""
    if not _may_hold_objects(column, part.lists):
        return column, []
    values, bad = column.to_numpy(dtype=object).copy(), []
    for row, value in enumerate(values):
        if _is_one(value) or (isinstance(value, str) and not part.lists):
            continue
        try:
            values[row] = part.as_cell(value)
        except InputError as error:
            values[row] = shown(value)
            bad.append(Bad(row, name, shown(value), str(error), column.name))
    return pd.Series(values, column.index, dtype=object, name=column.name), bad


def _may_hold_objects(column, texts):
    if isinstance(column.dtype, pd.StringDtype):
        return texts
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    return texts or pd.api.types.infer_dtype(column, skipna=True) != "string"


def _is_one(value):
    """Whether a value is one number, truth value, date or path, or missing; not of text, which may be a list's."""
    if isinstance(value, str | bytes):
        return False
    if isinstance(value, np.ndarray):
        return not value.ndim
    return pd.api.types.is_scalar(value) or isinstance(value, os.PathLike)


def _without_blanks(column):
    """Cells of nothing but blanks are empty."""
    blank = column.str.isspace().to_numpy(bool)
    return column.mask(blank, "") if blank.any() else column
