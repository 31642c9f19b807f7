"""Tables of samples on disk (or anywhere that TensorFlow reads from), as DataFrames."""

import bz2
import csv
import gzip
import lzma
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.access import MAX_BYTES
from mmkeras.decode.files import is_url, open_file, scheme_reason
from mmkeras.errors import InputError, shown
from mmkeras.records.foreign import foreign
from mmkeras.records.text_tables import (
    DELIMITERS,
    check_distinct,
    check_encoding,
    encoding_of,
    read_delimited,
    read_json,
)

SPLITS = {"train", "val", "test"}
_COMPRESSED = {".gz": (b"\x1f\x8b", gzip.open), ".bz2": (b"BZh", bz2.open), ".xz": (b"\xfd7zXZ", lzma.open)}
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error, lzma.LZMAError)


def load(
    source: str | os.PathLike | pd.DataFrame | Mapping | list, *, encoding: str = "utf-8", max_bytes: int = MAX_BYTES
) -> tuple[pd.DataFrame, str, str]:
    """Load a table, unchanged.

    Args:
        source: path or URL (of any scheme that `tf.io.gfile` reads, as "gs://...") of a table or of a folder; or a
            DataFrame, or a dict of columns or a list of dicts, of which one is made. The name tells the format:
            .parquet; .jsonl, .ndjson and .json, one object on each line or a list of objects; anything else is text
            with a header, its delimiter one of , ; tab |. What is compressed by gzip, bzip2 or xz is decompressed. A
            folder holds one folder of files for each class, or folders train, val and test with such folders: its
            columns are "file", "label" and, in the second case, "split".
        encoding: of text; UTF-16 and UTF-32 are told by the text itself.
        max_bytes: most bytes of a table, as it is and decompressed.

    Returns:
        The DataFrame with rows numbered from 0 and columns named by str, the table's name in messages, and the folder
        (str) that the paths in its cells are relative to.

    Raises:
        InputError: a table that cannot be read.
    """
    encoding = check_encoding(encoding)
    if isinstance(source, pd.DataFrame | Mapping | list):
        return _named(_framed(source)), "DataFrame", os.getcwd()
    if not isinstance(source, str | os.PathLike):
        hint = ": give table.to_pandas()" if hasattr(source, "to_pandas") else ""
        raise InputError(
            f"read: expected the path of a table or folder, or a DataFrame, received {shown(source)}{hint}"
        )
    path = os.fspath(source)
    if not isinstance(path, str) or "\0" in path:
        raise InputError(f"read: expected the path of a table or folder, received {shown(path)}")
    if is_url(path) and (reason := scheme_reason(path)):
        raise InputError(f"cannot read the table {shown(path, 400)}: {reason}")
    parent, name = _place(path)
    try:
        if _is_folder(path):
            return _read_folder(path), name, path if is_url(path) else os.path.abspath(path)
        return _read_file(path, name, encoding, max_bytes), name, parent
    except (*_UNREADABLE, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        why = getattr(error, "strerror", None) or str(error).strip()
        raise InputError(f"cannot read the table {shown(path, 400)}: {why}") from error


def _framed(source):
    """A DataFrame of columns or rows."""
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, list) and not all(isinstance(row, Mapping) for row in source):
        raise InputError(
            f"read: expected a path, a DataFrame, a dict of columns or a list of dicts, received {shown(source)}"
        )
    try:
        return pd.DataFrame(source)
    except (ValueError, TypeError) as error:  # columns of different lengths, or single values
        raise InputError(
            f"read: expected a dict of columns of one length, received {shown(source)}: {error}"
        ) from error


def labels_of(source: Any) -> pd.Index | None:
    """The index of a DataFrame, if its rows are not numbered from 0."""
    if not isinstance(source, pd.DataFrame) or source.index.equals(pd.RangeIndex(len(source))):
        return None
    return source.index


def _named(frame):
    """The DataFrame with columns named by str, as the schema names them, and rows numbered from 0."""
    if frame.columns.nlevels > 1:
        raise InputError(
            f"DataFrame: expected one name for each column, received a MultiIndex, as {shown(frame.columns[0])}: "
            'frame.columns = ["_".join(map(str, names)) for names in frame.columns]'
        )
    names = [str(column) for column in frame.columns]
    check_distinct(names, "DataFrame")
    return frame.reset_index(drop=True).set_axis(names, axis=1)


def cells(column: pd.Series) -> pd.Series:
    """A column of any type as str; missing values are "".

    Whole numbers that pandas holds as floats, as there is a hole among them, have no point; float32 numbers have the
    digits that float32 tells apart; dates without a time of day have none.
    """
    if isinstance(column.dtype, pd.StringDtype):
        return column.fillna("")
    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    if missing.any():
        values = np.where(missing, "", values)
    if pd.api.types.infer_dtype(values, skipna=False) != "string":
        values = np.array([_text(cell) for cell in values], dtype=object)
        values[~missing] = _as_written(column[~missing], values[~missing])
    return pd.Series(values, column.index, dtype=object, name=column.name)


def _text(cell):
    return os.fspath(cell) if isinstance(cell, os.PathLike) else str(cell)


def _as_written(column, texts):
    """The texts of a column without holes, as one writes its numbers or dates."""
    if pd.api.types.is_float_dtype(column):
        numbers = column.to_numpy(np.float64)
        if np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all():
            return [str(int(number)) for number in numbers]
        short = column.dtype.name.lower() in ("float32", "float16")
        return [str(number) for number in column.to_numpy(column.dtype.name.lower())] if short else texts
    if pd.api.types.is_datetime64_any_dtype(column) and (column.dt.normalize() == column).all():
        return column.dt.strftime("%Y-%m-%d").tolist()
    return texts


def join(folder: str, value: str) -> str:
    """The path or URL that a cell names: as it is if absolute or a URL, else inside `folder`."""
    return value if is_url(value) else os.path.join(folder, value)


def is_file(path: str) -> bool:
    """Whether a path or URL is that of a file."""
    if not is_url(path):
        return os.path.isfile(path)
    try:
        return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
    except tf.errors.OpError:  # a scheme that TensorFlow does not know
        return False


def _place(path):
    """The folder and the name of a path or URL."""
    if not is_url(path):
        return str(Path(path).parent.absolute()), Path(path).name or path
    scheme, _, rest = path.partition("://")
    folder, _, name = rest.rstrip("/").rpartition("/")
    return f"{scheme}://{folder}", name


def _is_folder(path):
    if not is_url(path):
        return os.path.isdir(path)
    return tf.io.gfile.isdir(path)


def _read_file(path, name, encoding, most):
    stem, suffix = os.path.splitext(name.lower())
    kind = os.path.splitext(stem)[1] if suffix in _COMPRESSED else suffix
    with open_file(path, most) as raw, _unpacked(raw) as file:
        if file is not raw:
            _check_size(file, most)
        start = file.read(512)
        file.seek(0)
        if kind == ".parquet" or start.startswith(b"PAR1"):
            return _read_parquet(file, path, name, most)
        if what := foreign(start, stem if suffix in _COMPRESSED else name.lower()):
            raise InputError(f"cannot read the table {path!r}: it is {what}")
        encoding = encoding_of(start, encoding)
        if kind in (".jsonl", ".ndjson", ".json"):
            return read_json(file, name, encoding)
        return read_delimited(file, name, "\t,;|" if kind == ".tsv" else DELIMITERS, encoding)


def _check_size(file, most):
    """Refuse a file that unpacks to more bytes, before anything is made of them."""
    while file.read(2**20):
        if file.tell() > most:
            raise _too_large(most)
    file.seek(0)


def _unpacked(file):
    """The file, decompressed if its first bytes say that it is compressed, whatever its name."""
    start = file.read(6)
    file.seek(0)
    return next((unpack(file) for magic, unpack in _COMPRESSED.values() if start.startswith(magic)), file)


def _read_parquet(file, path, name, most):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"cannot read the table {path!r}: a Parquet file needs pyarrow, which is not installed: "
            'pip install "mmkeras[parquet]"'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            check_distinct(opened.schema_arrow.names, name)
            table = pyarrow.Table.from_batches(_batches(opened, most), opened.schema_arrow)
        # whole numbers in a column with holes stay whole numbers; an index that has a name is a column like the others
        return table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    except pyarrow.ArrowException as error:
        raise OSError(error) from error


def _batches(opened, most):
    """The rows of a Parquet file, batch by batch, while they are no more than so many bytes: what is written once may
    stand for many rows."""
    about, seen = opened.metadata, 0
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    sizes = [group.column(place).total_uncompressed_size for group in groups for place in range(group.num_columns)]
    if sum(sizes) > most or 8 * about.num_rows * about.num_columns > most:  # a cell of a DataFrame takes 8 bytes
        raise _too_large(most)
    # a value may be as large as a column of its group, and be in every row
    for batch in opened.iter_batches(min(max(most // max(sizes, default=1), 16), 2**16)):
        seen += batch.nbytes
        if seen > most:
            raise _too_large(most)
        yield batch


def _too_large(most):
    return OSError(f"it unpacks to more than max_bytes={most:,}; read(..., max_bytes=...) allows more")


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

    if not is_url(path):
        return os.walk(path, onerror=stop, followlinks=True)
    return tf.io.gfile.walk(path, onerror=stop)
