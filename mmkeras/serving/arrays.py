"""Columns as arrays for a signature, batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmkeras.checks import no_cell
from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Input
from mmkeras.serving.media import as_sent, as_text, missing
from mmkeras.serving.values import Described


def as_arrays(
    columns: Mapping[str, list], inputs: Described, schema: Mapping[str, Input], rows: range, rotate: bool
) -> dict[str, np.ndarray]:
    """The arrays of some rows: dict of name -> array; strings are objects, str or bytes.

    Args:
        columns: of `as_columns`.
        inputs, schema: as there.
        rows: range of row numbers.
        rotate: whether JPEG files are turned upright.

    Raises:
        InputError: a value that cannot be sent: row and input are named.
    """
    arrays = {}
    for name, (dtype, shape) in inputs.items():
        feature = schema.get(name)
        values = [columns[name][row] for row in rows] if name in columns else [None] * len(rows)
        if dtype == "string" and shape is not None and len(shape) > 1:
            arrays[name] = _cells(name, values, rows, feature, shape, rotate)
        elif dtype == "string":
            arrays[name] = _strings(name, values, rows, feature, rotate)
        else:
            arrays[name] = _numbers(name, values, rows, shape, dtype)
    return arrays


def _each(name: str, values: list, rows: Sequence[int], convert: Callable[[Any], Any]) -> Iterator[Any]:
    for value, row in zip(values, rows, strict=True):
        try:
            yield convert(value)
        except InputError as error:
            raise InputError(f"row {row}: {name!r}: {error}") from error


def _objects(values: list, shape: int | tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, object)
    array[...] = values
    return array


def _strings(name: str, values: list, rows: range, feature: Input | None, rotate: bool) -> np.ndarray:
    sent = _each(name, values, rows, lambda value: as_sent(value, feature, rotate))
    return _objects(list(sent), len(values))


def _cells(
    name: str, values: list, rows: range, feature: Input | None, shape: tuple[int | None, ...], rotate: bool
) -> np.ndarray:
    """Several strings a row: cells of a table, or several files."""
    if len(shape) > 2:
        raise InputError(f"{name!r}: expected an input of strings (n,) or (n, columns), the signature takes {shape}")
    names = feature.table_columns(name) if feature else None
    files = feature is not None and feature.wire != "cells"

    def row_of(value: Any) -> list[str | bytes]:
        cells = _listed(value, names, shape[1])
        return [as_sent(cell, feature, rotate) if files else _cell(cell) for cell in cells]

    return _objects(list(_each(name, values, rows, row_of)), (len(values), shape[1] or len(row_of(values[0]))))


def _listed(value: Any, names: Sequence[str] | None, count: int | None) -> list[Any]:
    """The cells or files of one row, None where one is missing."""
    if missing(value):
        return [None] * (count or 1)
    if isinstance(value, Mapping) and names:
        wrong = [column for column in value if column not in names]
        if wrong:
            raise unknown("column", wrong[0], names)
        value = [value.get(column) for column in names]
    if not isinstance(value, list | tuple | np.ndarray) or len(value) != (count or len(value)):
        raise InputError(f"expected {count} cells, received {shown(value)}")
    return list(value)


def _cell(cell: Any) -> str | bytes:
    if missing(cell):
        return ""
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, Mapping | list | tuple | set) or np.ndim(cell):
        raise no_cell(cell)
    return as_text(cell if isinstance(cell, str) else str(cell))


def _numbers(name: str, values: list, rows: range, shape: tuple[int | None, ...] | None, dtype: str) -> np.ndarray:
    where = f"row {rows[0]}{f' to {rows[-1]}' if len(rows) > 1 else ''}: {name!r}"
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{where}: expected rows of one shape ({error})") from error
    if given.dtype.kind not in "biuf":
        raise InputError(f"{where}: expected {dtype}, received {str(values[0])[:40]!r}")
    wanted = (None,) * given.ndim if shape is None else shape
    fits = len(wanted) == given.ndim and all(w in (None, g) for w, g in zip(wanted[1:], given.shape[1:], strict=True))
    if not fits:
        raise InputError(f"{where}: expected the shape {shape}, received {given.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        sent = given.astype(dtype)
    if sent.dtype.kind in "biu" and not (sent == given).all():
        raise InputError(f"{where}: expected {dtype}, received {given.dtype} with values that it cannot hold")
    return sent
