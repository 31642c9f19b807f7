"""Tables of samples as they lie on disk, as DataFrames of text."""

import csv
import os
from collections import Counter
from pathlib import Path

import pandas as pd

from mmkeras.errors import InputError


def load(source):
    """A table, as it is.

    Args:
        source: path of a CSV file with a header, or a DataFrame.

    Returns:
        The DataFrame with rows numbered from 0, the table's name in messages, and the folder (str) that the paths in
        its cells are relative to.

    Raises:
        InputError: a table that cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True), "DataFrame", os.getcwd()
    if isinstance(source, str | os.PathLike):
        return _read_csv(source), Path(source).name, str(Path(source).parent.absolute())
    raise InputError(f"read: expected the path of a CSV file or a DataFrame, received {source!r}")


def _read_csv(path):
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        # every cell is a str, and only an empty one is absent: "none", "NA" and "007" are labels like any other
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"cannot read the table {str(path)!r}: {str(error).strip()}") from error
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(
            f"{Path(path).name}: expected columns of different names, received {twice[0]!r} more than once"
        )
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the cells beyond the header for an index
        raise InputError(
            f"{Path(path).name}: expected {len(header)} cells in each row, as in the header, "
            f"received {len(header) + frame.index.nlevels}"
        )
    return frame


def cells(column):
    """A column of any type as str; absent values are ""."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        text = int  # whole numbers that a hole has turned into floats
    else:
        text = os.fspath if _has_paths(column) else str
    return column.astype(object).where(column.notna(), "").map(lambda cell: cell if cell == "" else str(text(cell)))


def _has_paths(column):
    return column.map(lambda cell: isinstance(cell, Path)).any()
