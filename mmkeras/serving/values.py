"""A caller's values as columns: one list for each input of a signature."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Input
from mmkeras.schema import Schema
from mmkeras.serving.media import missing

Described = Mapping[str, tuple[str, tuple[int | None, ...] | None]]  # name -> dtype and shape in a signature


def load_schema(schema: Any) -> dict[str, Input]:
    """A schema's inputs by name; none for None. Targets may be of kinds that this process does not know.

    Args:
        schema: path of schema.json, of its bundle or of the model's folder; its dict; or a `Schema`.

    Raises:
        InputError: something else, a file that cannot be read, an unknown kind of input.
    """
    if schema is None:
        return {}
    if isinstance(schema, Schema):
        return schema.inputs
    if isinstance(schema, str | os.PathLike):
        path = Path(schema)
        try:
            path = _newest(path) / "assets.extra" / "schema.json" if path.is_dir() else path
            schema = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"Client: schema: cannot read {str(path)!r}: {error}") from error
    parts = schema.get("inputs") if isinstance(schema, Mapping) else None
    if not isinstance(parts, Mapping) or not all(
        isinstance(part, Mapping) and "kind" in part for part in parts.values()
    ):
        raise InputError(f"Client: expected schema to be a bundle, its schema.json or a dict, received {shown(schema)}")
    return Schema.from_options({"inputs": parts, "targets": {}}).inputs


def _newest(folder: Path) -> Path:
    """The newest version in a model's folder; the folder itself if it holds none."""
    versions = [path for path in folder.iterdir() if path.name.isdecimal()]
    return max(versions, key=lambda path: int(path.name), default=folder)


def as_columns(values: Any, inputs: Described, schema: Mapping[str, Input]) -> dict[str, list]:
    """One list of values for each input of a signature.

    Args:
        values: see `Client.predict`.
        inputs: dict of name -> (dtype, shape), the inputs of the signature.
        schema: of `load_schema`.

    Returns:
        dict of name -> list, all of one length; without optional inputs that are left out.

    Raises:
        InputError: a name that is not known, an input that is missing, columns of different lengths.
    """
    table, strict = _as_table(values)
    known = {*inputs, *(column for name in inputs for column in table_columns(name, schema))}
    for column in table if strict else ():
        if column not in known:
            raise unknown("input", column, known)
    rows = {column: len(values) for column, values in table.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{column!r}: {count}" for column, count in sorted(rows.items()))
        raise InputError(f"expected as many rows in every column, received {counts}")
    columns = {}
    for name in inputs:
        names = (name,) if name in table else table_columns(name, schema)
        if all(column in table for column in names):
            lists = [table[column] for column in names]
            several = name not in table and name in schema and schema[name].several
            columns[name] = [list(row) for row in zip(*lists, strict=True)] if several else lists[0]
    _check_missing(table, strict, columns, inputs, schema)
    return columns


def _check_missing(
    table: Iterable[str], strict: bool, columns: Mapping[str, list], inputs: Described, schema: Mapping[str, Input]
) -> None:
    """Raise an `InputError` if required inputs are missing."""
    may_miss = {name for name in inputs if name in schema and schema[name].optional}
    absent = sorted(set(inputs) - set(columns) - may_miss)
    if absent and (table or strict):
        raise InputError(
            f"missing {', '.join(map(repr, absent))}; expected {', '.join(sorted(inputs))}; received "
            f"{', '.join(map(str, table)) or 'nothing'} (None means a missing value)"
        )


def table_columns(name: str, schema: Mapping[str, Input]) -> tuple[str, ...]:
    """The table's columns that hold an input."""
    return schema[name].table_columns(name) if name in schema else (name,)


def _as_table(values: Any) -> tuple[dict[str, list], bool]:
    """dict of column -> list; and whether each of its names must be that of an input."""
    if hasattr(values, "columns") and hasattr(values, "iloc"):  # a DataFrame; pandas need not be imported
        twice = sorted({str(name) for name in values.columns[values.columns.duplicated()]})
        if twice:
            raise InputError(f"predict: expected columns of different names, received {twice[0]!r} twice")
        return {str(name): _frame_column(values[name]) for name in values.columns}, False
    if isinstance(values, Mapping):
        return {name: _column(name, column) for name, column in values.items()}, True
    if isinstance(values, list | tuple) and not values:
        return {}, False
    if isinstance(values, list | tuple) and all(isinstance(row, Mapping) for row in values):
        names = dict.fromkeys(name for row in values for name in row)
        return {name: [row.get(name) for row in values] for name in names}, True
    raise InputError(
        "predict: expected a dict of columns, a list of rows (dicts) or a DataFrame, received "
        f"{type(values).__name__} {str(values)[:60]!r}"
    )


def _frame_column(column: Any) -> list:
    values = column.tolist()
    floats = [value for value in values if not missing(value)]
    if column.dtype.kind == "f" and all(map(float.is_integer, floats)):  # a hole turns whole numbers into floats
        return [None if missing(value) else int(value) for value in values]
    return values


def _column(name: str, column: Any) -> list:
    if isinstance(column, np.ndarray) and column.ndim:
        return list(column)
    if isinstance(column, list | tuple):
        return list(column)
    if hasattr(column, "tolist") and hasattr(column, "iloc"):  # a pandas Series
        return _frame_column(column)
    raise InputError(
        f"{name!r}: expected a list with one value a row (one row alone is given as [{{{name!r}: ...}}]), received "
        f"{type(column).__name__} {str(column)[:40]!r}"
    )
