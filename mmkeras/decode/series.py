"""Traces of sensors from .npy files and text, cut or filled with zeros to one length; in training only, not served."""

import io
import itertools
import os
import re

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.files import open_file

NPY = b"\x93NUMPY"


def series_file(path, feature):
    """One trace.

    Args:
        path: scalar string, the path or URL of a .npy file `(steps, channels)`, or `(steps,)` for one channel, of any
            real or bool dtype, or of text in UTF-8 with one row of numbers a step, separated by comma, semicolon, tab
            or spaces; a first line that holds anything but numbers is a header.
        feature: `Series`.

    Returns:
        `(length, channels)`, float32: the first steps, zeros behind; and the number of steps, scalar int32.

    Raises:
        tf.errors.InvalidArgumentError: see `series_reason`; eagerly a ValueError.
    """

    def read(path):
        values = read_series(as_path(path), feature)
        padded = np.zeros(feature.shape, np.float32)
        padded[: len(values)] = values
        return padded, np.int32(len(values))

    values, length = tf.numpy_function(read, [path], (tf.float32, tf.int32))
    return tf.ensure_shape(values, feature.shape), tf.ensure_shape(length, ())


def series_reason(path, feature):
    """Why the file at `path`, a str, is no trace of the feature, a `Series`; steps count from 0, lines from 1."""
    try:
        read_series(path, feature)
    except ValueError as error:
        return str(error)
    return "cannot decode"


def read_series(path, feature):
    """The steps kept of a trace: `(at most length, channels)`, float32, finite. Raises ValueError."""
    try:
        with open_file(path) as file:
            is_npy = file.read(len(NPY)) == NPY
            file.seek(0)
            values = _array(file, feature) if is_npy else _text(file, feature)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if not len(values):
        raise ValueError("found no steps")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        step = int(np.argmin(np.isfinite(values).all(axis=1)))
        what = "NaN" if np.isnan(values[step]).any() else "infinity, or a number that float32 cannot hold,"
        raise ValueError(f"found {what} at step {step}")
    return values


def as_path(value):
    """The str of what `tf.numpy_function` gives for a scalar string: bytes in a graph, an array eagerly."""
    return os.fsdecode(np.asarray(value, object).item())


def open_npy(file):
    """The array in an open .npy file, of which only what is used will be read. Raises ValueError."""
    major, _ = np.lib.format.read_magic(file)
    if major > 2:
        raise ValueError("expected an array of numbers, found one with named fields")
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"expected an array, found one of the shape {shape}")
    if dtype.kind not in "biuf":
        raise ValueError(f"expected an array of real numbers, found dtype {dtype}")
    start, end = file.tell(), file.seek(0, os.SEEK_END)
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if end - start < size:
        raise ValueError(f"expected {size:,} bytes of an array {shape}, found {end - start:,}: a file cut short")
    order = "F" if fortran else "C"
    if not size or isinstance(file, io.BytesIO):
        return np.ndarray(shape, dtype, file.getbuffer() if size else None, start if size else 0, order=order)
    return np.memmap(file, dtype, "r", start, shape, order)


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
            rows = ((number, line.strip(" \r\n")) for number, line in enumerate(lines, 1) if not line.isspace())
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
