"""Tables in text: CSV and its like, and JSON, in whatever encoding they were written."""

import codecs
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any, BinaryIO

import pandas as pd

from mmkeras.errors import InputError, shown

DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def check_encoding(encoding: Any) -> str:
    """The name of an encoding that Python knows."""
    try:
        return codecs.lookup(encoding).name
    except (LookupError, TypeError) as error:
        raise InputError(
            f'read: expected encoding to be the name of one, as "utf-8" or "cp1252", received {shown(encoding)}'
        ) from error


def encoding_of(start: bytes, encoding: str) -> str:
    """The encoding of a text: UTF-16 and UTF-32 show themselves by a mark, or by zeros in every second byte.

    Args:
        start: the first bytes.
        encoding: of any other text.

    >>> encoding_of("a,b".encode("utf-16-le"), "utf-8"), encoding_of(b"a,b", "utf-8")
    ('utf-16-le', 'utf-8-sig')
    """
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > 0.4 * len(start) // 2 and not min(even, odd):
        return "utf-16-be" if even else "utf-16-le"
    return "utf-8-sig" if encoding == "utf-8" else encoding


def text_of(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """The text in a file from its beginning; bytes that are none become surrogates: checks can then name their row."""
    file.seek(0)
    return io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="")


def read_delimited(file: BinaryIO, name: str, delimiters: str, encoding: str) -> pd.DataFrame:
    """The table in a text with a header and any of these delimiters. Every cell is a str."""
    found = [(delimiter, *_header(file, delimiter, encoding)) for delimiter in delimiters]
    # the one that makes the most columns; csv.Sniffer prefers a single comma to any number of semicolons
    delimiter, header, above = max(found, key=lambda item: len(item[1]))
    if header == [""]:
        raise InputError(f"{name}: expected a header of column names, found a first line without any delimiter or end")
    if not header:
        raise InputError(f"{name}: expected a header of column names and rows, found an empty file")
    if "\0" in "".join(header):
        raise InputError(
            f"{name}: expected text with a header, found NUL bytes: a damaged file, or one that is no text"
        )
    header = [_readable(column) or f"Unnamed: {place}" for place, column in enumerate(header)]
    check_distinct(header, name)
    text = text_of(file, encoding)
    for _ in range(above):
        text.readline()
    try:
        # every cell is a str, and only an empty one is missing: "none", "NA" and "007" are labels like any other
        cells = {"dtype": object, "keep_default_na": False, "encoding_errors": "surrogateescape"}
        frame = pd.read_csv(text, sep=delimiter, header=None, names=header, **cells)
    except pd.errors.ParserError as error:
        raise InputError(f"{name}{_where_it_breaks(str(error), above, delimiter)}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the cells beyond the header for an index
        expected, received = len(header), len(header) + frame.index.nlevels
        raise InputError(f"{name}: expected {expected} cells in each row, as in the header, received {received}")
    text.detach()
    return frame


def _header(file, delimiter, encoding):
    """The cells of the first line that holds any, and the number of lines to its end."""
    text = text_of(file, encoding)
    lines = csv.reader(iter(text.readline, ""), delimiter=delimiter)
    try:
        header = next(filter(None, lines), [])
    except csv.Error:  # a cell of more than 131,072 characters: not this delimiter
        header = [""]
    text.detach()
    return header, lines.line_num


def _readable(name):
    """A column's name, bytes that are no text as \\xf6."""
    escaped = name.encode("utf-8", "surrogateescape")
    return escaped.decode("utf-8", "backslashreplace")


def _where_it_breaks(error, above, delimiter):
    """What pandas says of a broken line, in our words."""
    if cells := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error):
        expected, line, received = map(int, cells.groups())
        return (
            f" line {line + above}: expected {expected} cells in each row, as in the header, received {received}; a "
            f"cell that holds a {delimiter!r} has to stand in quotes"
        )
    if row := re.search(r"EOF inside string starting at row (\d+)", error):
        return f' row {row[1]}: expected a cell to end, found the end of the file: a quote " is never closed'
    return f": cannot read the table: {error.strip()}"


def check_distinct(columns: Iterable[Hashable], name: str) -> None:
    """Raise an `InputError` for columns of the same name."""
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{name}: expected columns of different names, received {twice[0]!r} more than once")


def read_json(file: BinaryIO, name: str, encoding: str) -> pd.DataFrame:
    """The table in JSON Lines, or in one list of objects."""
    lines = list(text_of(file, encoding))
    if next((line for line in lines if not line.isspace()), "").lstrip().startswith("["):
        return _columns([_listed("".join(lines), name)])
    pieces = (lines[start : start + 10_000] for start in range(0, len(lines), 10_000))
    return _columns(_objects(piece, 10_000 * number + 1, name) for number, piece in enumerate(pieces))


def _columns(pieces):
    """A DataFrame of rows in pieces: Python's garbage collector walks all dicts that we keep."""
    columns, count = {}, 0
    for rows in pieces:
        for key in dict.fromkeys(key for row in rows for key in row):
            columns.setdefault(key, [None] * count)
        for key, column in columns.items():
            column += [row.get(key) for row in rows]
        count += len(rows)
    return pd.DataFrame({key: _inferred(column) for key, column in columns.items()}, index=pd.RangeIndex(count))


def _listed(text, name):
    rows, why = _parsed(text)
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise InputError(f"{name}: expected a list of JSON objects, received {shown(text[:100])}{why}")


def _objects(lines, first, name):
    return [_object(line, number, name) for number, line in enumerate(lines, first) if not line.isspace()]


def _object(line, number, name):
    row, why = _parsed(line)
    if isinstance(row, dict):
        return row
    raise InputError(
        f"{name} line {number}: expected one JSON object on each line, received {shown(line.strip())}{why}"
    )


def _parsed(text):
    try:
        return json.loads(text), ""
    except (ValueError, RecursionError) as error:
        return None, f" ({error})"


def _inferred(values):
    """Numbers as in a DataFrame of them, but whole numbers in a column with holes stay exact; all else unchanged."""
    column = pd.Series(values, dtype=object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("floating", "mixed-integer-float"):
        try:
            return column.astype(float)
        except OverflowError:  # a whole number beyond all floats
            return column
    return column.infer_objects() if kind in ("integer", "boolean") and not column.isna().any() else column
