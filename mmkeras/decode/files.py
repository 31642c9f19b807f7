"""Files and what is behind URLs, opened alike."""

import io
import os
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import tensorflow as tf

NPY = b"\x93NUMPY"  # the first bytes of a .npy file


def open_file(path: str) -> BinaryIO:
    """A file's bytes, to read and seek in: a local file opened, or one behind a URL that was fetched.

    Args:
        path: str, a path or a URL of any scheme that `tf.io.gfile` reads.

    Raises:
        OSError: it cannot be read.
        ValueError: no path at all, as one that holds a NUL.
    """
    if "://" not in path:
        return open(path, "rb")
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return io.BytesIO(file.read())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def as_path(value: Any) -> str:
    """The str of what `tf.numpy_function` gives for a scalar string: bytes in a graph, an array eagerly."""
    return os.fsdecode(np.asarray(value, object).item())


def open_npy(file: BinaryIO) -> np.ndarray:
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
    order: Literal["F", "C"] = "F" if fortran else "C"
    if not size:
        return np.ndarray(shape, dtype, order=order)
    if isinstance(file, io.BytesIO):
        return np.ndarray(shape, dtype, file.getbuffer(), start, order=order)
    return np.memmap(cast(io.BufferedReader, file), dtype, "r", start, shape, order)
