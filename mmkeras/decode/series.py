"""Traces of sensors from .npy files and text; in training only: a client sends numbers."""

import io
import itertools
import re

import numpy as np
import pandas as pd

from mmkeras.decode.files import LINE, NPY, open_file, open_npy, short_lines
from mmkeras.inputs import Series


def read_series(path: str, feature: Series) -> np.ndarray:
    """The steps kept of a trace.

    Args:
        path: path or URL of a .npy file `(steps, channels)`, or `(steps,)` for one channel, of any real or bool dtype,
            or of text in UTF-8 with one row of numbers a step, separated by comma, semicolon, tab or spaces; a first
            line that holds anything but numbers is a header.
        feature: `Series`.

    Returns:
        `(at most length, channels)`, of the file's dtype.

    Raises:
        ValueError: what is wrong with the file; steps count from 0, lines from 1.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        is_npy = file.read(len(NPY)) == NPY
        file.seek(0)
        return _array(file, feature) if is_npy else _text(file, feature)


def _array(file, feature):
    values = open_npy(file)
    if values.ndim == 1 and feature.channels == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"expected an array (steps, {feature.channels}), found {values.shape}")
    if values.shape[1] != feature.channels:
        raise ValueError(f"expected {feature.channels} channels, found {values.shape[1]}")
    return values[: feature.length]


def _text(file, feature):
    try:
        with io.TextIOWrapper(file, "utf-8-sig") as lines:
            numbered = enumerate(short_lines(lines, max(LINE, 64 * feature.channels)), 1)
            rows = ((number, line.strip(" \r\n")) for number, line in numbered if not line.isspace())
            first = next(rows, None)
            if first is None:
                raise ValueError("found no steps")
            delimiter = next((mark for mark in "\t;," if mark in first[1]), None)
            kept = itertools.islice(rows, feature.length)
            if all(map(_is_number, first[1].split(delimiter))):
                kept = itertools.islice(itertools.chain([first], kept), feature.length)
            return _numbers(list(kept), delimiter, feature.channels)
    except UnicodeDecodeError as error:
        raise ValueError("expected a .npy file or text in UTF-8") from error


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(rows, delimiter, channels):
    """The values `(rows, channels)` of numbered lines."""
    if not rows:
        return np.zeros((0, channels))
    text = io.StringIO("\n".join(line for _, line in rows))
    sep = r"\s+" if delimiter is None else re.escape(delimiter)
    try:
        values = pd.read_csv(text, sep=sep, header=None, dtype=np.float64, na_filter=False, engine="c").to_numpy()
        if values.shape == (len(rows), channels):
            return values
    except (ValueError, pd.errors.ParserError):
        pass  # what is wrong, and where, is found out below
    return np.array([_row(line.split(delimiter), number, channels) for number, line in rows])


def _row(cells, number, channels):
    for cell in cells:
        if not _is_number(cell):
            raise ValueError(f"expected numbers, found {cell.strip()[:40]!r} in line {number}")
    if len(cells) != channels:
        raise ValueError(f"expected {channels} channels, found {len(cells)} in line {number}")
    return [float(cell) for cell in cells]
