"""Tables of samples on disk (or anywhere that TensorFlow reads from), as DataFrames."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.files import open_file
from mmkeras.errors import InputError

DELIMITERS = ",;\t|"
SPLITS = {"train", "val", "test"}
_COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error, lzma.LZMAError)


def load(source: str | os.PathLike | pd.DataFrame) -> tuple[pd.DataFrame, str, str]:
    """Load a table, unchanged.

    Args:
        source: path or URL (of any scheme that `tf.io.gfile` reads, as "gs://...") of a table or of a folder; or a
            DataFrame. The name tells the format: .parquet; .jsonl, .ndjson and .json, one object on each line; anything
            else is text with a header, its delimiter one of , ; tab |. A further .gz, .bz2 or .xz is decompressed. A
            folder holds one folder of files for each class, or folders train, val and test with such folders: its
            columns are "file", "label" and, in the second case, "split".

    Returns:
        The DataFrame with rows numbered from 0, the table's name in messages, and the folder (str) that the paths in
        its cells are relative to.

    Raises:
        InputError: a table that cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True), "DataFrame", os.getcwd()
    if not isinstance(source, str | os.PathLike):
        raise InputError(f"read: expected the path of a table or folder, or a DataFrame, received {source!r}")
    path = os.fspath(source)
    parent, name = _place(path)
    try:
        if _is_folder(path):
            return _read_folder(path), name, path if "://" in path else os.path.abspath(path)
        return _read_file(path, name), name, parent
    except (*_UNREADABLE, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"cannot read the table {path!r}: {str(error).strip()}") from error


def cells(column: pd.Series) -> pd.Series:
    """A column of any type as str; missing values are ""."""
    if isinstance(column.dtype, pd.StringDtype):
        return column.fillna("")
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    if missing.any():
        values = np.where(missing, "", values)
    if pd.api.types.infer_dtype(values, skipna=False) != "string":
        # pandas turns whole numbers into floats if there is a hole: back to whole numbers
        whole = pd.api.types.is_float_dtype(column) and all(map(float.is_integer, column[~missing].astype(float)))
        values = np.array([_text(cell, whole) for cell in values], dtype=object)
    return pd.Series(values, column.index, dtype=object, name=column.name)


def _text(cell, whole):
    return os.fspath(cell) if isinstance(cell, os.PathLike) else str(int(cell) if whole and cell != "" else cell)


def join(folder: str, value: str) -> str:
    """The path or URL that a cell names: as it is if absolute or a URL, else inside `folder`."""
    return value if "://" in value else os.path.join(folder, value)


def is_file(path: str) -> bool:
    """Whether a path or URL is that of a file."""
    if "://" not in path:
        return os.path.isfile(path)
    try:
        return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
    except tf.errors.OpError:  # a scheme that TensorFlow does not know
        return False


def _place(path):
    """The folder and the name of a path or URL."""
    if "://" not in path:
        return str(Path(path).parent.absolute()), Path(path).name or path
    scheme, _, rest = path.partition("://")
    folder, _, name = rest.rstrip("/").rpartition("/")
    return f"{scheme}://{folder}", name


def _is_folder(path):
    if "://" not in path:
        return os.path.isdir(path)
    return tf.io.gfile.isdir(path)


def _read_file(path, name):
    stem, suffix = os.path.splitext(name.lower())
    decompress = _COMPRESSED.get(suffix)
    kind = os.path.splitext(stem)[1] if decompress else suffix
    with open_file(path) as raw, decompress(raw) if decompress else raw as file:
        if kind == ".parquet":
            return _read_parquet(file, path, name)
        if kind in (".jsonl", ".ndjson", ".json"):
            return _read_json(file, name)
        return _read_delimited(file, name, "\t,;|" if kind == ".tsv" else DELIMITERS)


def _read_delimited(file, name, delimiters):
    start = file.read(2**16).decode("utf-8-sig", errors="replace")
    file.seek(0)
    headers = {}
    for delimiter in delimiters:
        lines = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter)
        headers[delimiter] = next(filter(None, lines), [])
    # the one that makes the most columns; csv.Sniffer prefers a single comma to any number of semicolons
    delimiter, header = max(headers.items(), key=lambda item: len(item[1]))
    _check_distinct(header, name)
    # every cell is a str, and only an empty one is missing: "none", "NA" and "007" are labels like any other
    # bytes that are not UTF-8 are kept unchanged, so that the checks can name their row
    text = {"encoding": "utf-8-sig", "encoding_errors": "surrogateescape"}
    frame = pd.read_csv(file, sep=delimiter, dtype=object, keep_default_na=False, **text)
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the cells beyond the header for an index
        expected, received = len(header), len(header) + frame.index.nlevels
        raise InputError(f"{name}: expected {expected} cells in each row, as in the header, received {received}")
    return frame


def _check_distinct(columns, name):
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{name}: expected columns of different names, received {twice[0]!r} more than once")


def _read_json(file, name):
    lines = list(io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape"))
    columns, count = {}, 0
    for start in range(0, len(lines), 10_000):  # in pieces: Python's garbage collector walks all dicts that we keep
        numbered = enumerate(lines[start : start + 10_000], start + 1)
        rows = [_object(line, number, name) for number, line in numbered if not line.isspace()]
        for key in dict.fromkeys(key for row in rows for key in row):
            columns.setdefault(key, [None] * count)
        for key, column in columns.items():
            column += [row.get(key) for row in rows]
        count += len(rows)
    return pd.DataFrame({key: _inferred(column) for key, column in columns.items()}, index=pd.RangeIndex(count))


def _object(line, number, name):
    try:
        row, why = json.loads(line), ""
    except ValueError as error:
        row, why = None, f" ({error})"
    if isinstance(row, dict):
        return row
    line = line.strip()
    received = line if len(line) <= 60 else line[:57] + "..."
    raise InputError(f"{name} line {number}: expected one JSON object on each line, received {received!r}{why}")


def _inferred(values):
    """Numbers as in a DataFrame of them, but whole numbers in a column with holes stay exact; all else unchanged."""
    column = pd.Series(values, dtype=object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("floating", "mixed-integer-float"):
        return column.astype(float)
    return column.infer_objects() if kind in ("integer", "boolean") and not column.isna().any() else column


def _read_parquet(file, path, name):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"cannot read the table {path!r}: a Parquet file needs pyarrow, which is not installed: "
            'pip install "mmkeras[parquet]"'
        ) from error
    try:
        table = pyarrow.parquet.read_table(file)
        _check_distinct(table.column_names, name)
        # whole numbers in a column with holes stay whole numbers; an index that has a name is a column like the others
        return table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    except pyarrow.ArrowException as error:
        raise OSError(error) from error


def _read_folder(path):
    root = path.rstrip("/" + os.sep)
    files = []
    for folder, _, names in _walk(path):
        inside = folder[len(root) :].replace(os.sep, "/").strip("/")
        if inside and not any(part.startswith(".") for part in inside.split("/")):
            files += [f"{inside}/{name}" for name in names if not name.startswith(".")]
    files = sorted(files)
    parts = [file.split("/") for file in files]
    top, with_classes = {part[0] for part in parts}, {part[0] for part in parts if len(part) > 2}
    if not files:
        raise InputError(
            f"cannot read the table {path!r}: Is a directory, expected a folder for each class, found none"
        )
    if top == with_classes and top <= SPLITS:
        rows = [(file, part[1], part[0]) for file, part in zip(files, parts, strict=True) if len(part) > 2]
        return pd.DataFrame(rows, columns=["file", "label", "split"])
    if "train" in with_classes:  # a class of this name would be a surprise
        other = sorted(top - (SPLITS & with_classes))[0]
        raise InputError(
            f"cannot read the table {path!r}: 'train' holds folders; expected only train, val and test next to it, "
            f"each with a folder for each class, received {other!r}"
        )
    return pd.DataFrame({"file": files, "label": [part[0] for part in parts]})


def _walk(path):
    def stop(error):
        raise error if isinstance(error, OSError) else OSError(error)

    if "://" not in path:
        return os.walk(path, onerror=stop, followlinks=True)
    return tf.io.gfile.walk(path, onerror=stop)
