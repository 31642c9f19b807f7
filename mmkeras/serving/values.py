"""What a caller gives, as columns; and columns, batch by batch, as arrays of what a signature takes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmkeras.errors import InputError, unknown
from mmkeras.serving.media import as_sent, as_text, missing

KINDS = ("Image", "Audio", "Text", "Series", "Tabular", "Video")


def load_schema(schema):
    """The parts of a schema's inputs: dict of name -> dict of "kind" and options; None for None.

    Args:
        schema: path of schema.json, of the bundle in which it lies or of the model's folder; its dict; or a `Schema`.
    """
    if schema is None:
        return None
    if isinstance(schema, str | os.PathLike):
        path = Path(schema)
        try:
            path = _newest(path) / "assets.extra" / "schema.json" if path.is_dir() else path
            schema = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"Client: schema: cannot read {str(path)!r}: {error}") from error
    elif hasattr(schema, "to_json"):
        schema = json.loads(schema.to_json())
    inputs = schema.get("inputs") if isinstance(schema, Mapping) else None
    if not isinstance(inputs, Mapping) or not all(_is_part(part) for part in inputs.values()):
        raise InputError(f"Client: expected schema to be a bundle, its schema.json or a dict, received {schema!r:.60}")
    return inputs


def _newest(folder):
    """The newest version in a model's folder; the folder itself if it holds none."""
    versions = [path for path in folder.iterdir() if path.name.isdecimal()]
    return max(versions, key=lambda path: int(path.name), default=folder)


def _is_part(part):
    return isinstance(part, Mapping) and part.get("kind") in KINDS


def as_columns(values, inputs, schema):
    """One list of values for each input of a signature.

    Args:
        values: see `Client.predict`.
        inputs: dict of name -> (dtype, shape), what the signature takes.
        schema: of `load_schema`, or None.

    Returns:
        dict of name -> list, all of one length. Of inputs that may be left out and are, there is none.

    Raises:
        InputError: a name that is not known, an input that is missing, columns of different lengths.
    """
    table, strict = _as_table(values)
    known = {*inputs, *(column for name in inputs for column in _table_columns(name, schema))}
    for column in table if strict else ():
        if column not in known:
            raise unknown("input", column, known)
    rows = {column: len(values) for column, values in table.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{column!r}: {count}" for column, count in sorted(rows.items()))
        raise InputError(f"expected as many rows in every column, received {counts}")
    columns = {}
    for name in inputs:
        names = [name] if name in table else _table_columns(name, schema)
        if all(column in table for column in names):
            lists = [table[column] for column in names]
            tabular = name not in table and _part(name, schema).get("kind") == "Tabular"
            columns[name] = [list(row) for row in zip(*lists, strict=True)] if tabular else lists[0]
    may_miss = {name for name in inputs if _is_length(name, inputs) or _part(name, schema).get("optional")}
    missing = sorted(set(inputs) - set(columns) - may_miss)
    if missing and (table or strict):
        raise InputError(
            f"missing {', '.join(map(repr, missing))}; expected {', '.join(sorted(inputs))}; received "
            f"{', '.join(map(str, table)) or 'nothing'} (None stands for a missing value)"
        )
    return columns


def _is_series(name, inputs):
    """Whether an input holds traces, whose lengths are another input."""
    dtype, shape = inputs.get(name, ("string", None))
    return dtype != "string" and shape is not None and len(shape) == 3 and f"{name}_length" in inputs


def _is_length(name, inputs):
    return name.endswith("_length") and _is_series(name.removesuffix("_length"), inputs)


def _part(name, schema):
    return (schema or {}).get(name, {})


def _table_columns(name, schema):
    part = _part(name, schema)
    if part.get("kind") == "Tabular":
        return [*part["numeric"], *part["categorical"]]
    return [part.get("column") or name]


def _as_table(values):
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


def _frame_column(column):
    values = column.tolist()
    floats = [value for value in values if not missing(value)]
    if column.dtype.kind == "f" and all(map(float.is_integer, floats)):  # a hole turns whole numbers into floats
        return [None if missing(value) else int(value) for value in values]
    return values


def _column(name, column):
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


def as_arrays(columns, inputs, schema, rows, rotate):
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
        if name not in columns and _is_length(name, inputs):
            continue  # made with its series
        part, length = _part(name, schema), f"{name}_length"
        values = [columns[name][row] for row in rows] if name in columns else [None] * len(rows)
        if dtype == "string" and shape is not None and len(shape) > 1:
            arrays[name] = _cells(name, values, rows, part, shape)
        elif dtype == "string":
            arrays[name] = _strings(name, values, rows, part, rotate)
        elif _is_series(name, inputs) and length not in columns:
            arrays[name], arrays[length] = _padded(name, values, rows, part, shape, dtype)
        else:
            arrays[name] = _numbers(name, values, rows, shape, dtype)
    return arrays


def _each(name, values, rows, convert):
    for value, row in zip(values, rows, strict=True):
        try:
            yield convert(value)
        except InputError as error:
            raise InputError(f"row {row}: {name!r}: {error}") from error


def _objects(values, shape):
    array = np.empty(shape, object)
    array[...] = values
    return array


def _strings(name, values, rows, part, rotate):
    sent = _each(name, values, rows, lambda value: as_sent(value, part.get("kind"), rotate))
    return _objects(list(sent), len(values))


def _cells(name, values, rows, part, shape):
    if len(shape) > 2:
        raise InputError(f"{name!r}: expected an input of strings (n,) or (n, columns), the signature takes {shape}")
    names = _table_columns(name, {name: part}) if part else None

    def row_of(value):
        if missing(value):
            return [""] * (shape[1] or 1)
        if isinstance(value, Mapping) and names:
            wrong = [column for column in value if column not in names]
            if wrong:
                raise unknown("column", wrong[0], names)
            value = [value.get(column) for column in names]
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != (shape[1] or len(value)):
            raise InputError(f"expected {shape[1]} cells, received {value!r:.60}")
        return [_cell(cell) for cell in value]

    return _objects(list(_each(name, values, rows, row_of)), (len(values), shape[1] or len(row_of(values[0]))))


def _cell(cell):
    if missing(cell):
        return ""
    if isinstance(cell, bytes):
        return cell
    return as_text(cell if isinstance(cell, str) else str(cell))


def _padded(name, values, rows, part, shape, dtype):
    """Traces of different lengths as one array, zeros behind, and their lengths."""
    _, steps, channels = shape
    traces = list(_each(name, values, rows, lambda value: _trace(value, channels, steps or part.get("length"), dtype)))
    channels = channels or max((trace.shape[1] for trace in traces), default=1)
    lengths = np.array([len(trace) for trace in traces], np.int32)
    # one step at least: of no steps JSON cannot tell how many channels there are
    padded = np.zeros((len(traces), steps or max(lengths.max(initial=0), 1), channels), dtype)
    for place, trace in zip(padded, traces, strict=True):
        if len(trace):
            place[: len(trace)] = trace
    return padded, lengths


def _trace(value, channels, longest, dtype):
    if missing(value) or (isinstance(value, str) and not value):
        return np.zeros((0, channels or 1), dtype)
    if isinstance(value, str | os.PathLike):
        value = _load(Path(value))
    try:
        trace = np.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected numbers (steps, {channels}), received {str(value)[:40]!r} ({error})") from error
    if trace.ndim == 1 and channels in (None, 1):
        trace = trace[:, None]
    if trace.ndim != 2 or channels not in (None, trace.shape[1]):
        raise InputError(f"expected numbers (steps, {channels}), received an array {trace.shape}")
    return trace[:longest]


def _load(path):
    if path.suffix.lower() != ".npy":
        raise InputError(f"expected a .npy file or an array, received {str(path)!r}")
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error


def _numbers(name, values, rows, shape, dtype):
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
