"""Files and what is behind URLs, opened alike."""

import errno
import functools
import io
import itertools
import math
import os
import re
import stat
import tokenize
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import tensorflow as tf

from mmkeras.errors import LONGEST

LINE = 2**20  # characters, or bytes, of the longest line of numbers
NPY = b"\x93NUMPY"  # the first bytes of a .npy file


WEB = ("http", "https", "ftp")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme_of(path: str) -> str:
    """The scheme of a URL in lower case; "" of a path.

    >>> scheme_of("GS://bucket/a.png"), scheme_of("folder/a://b")
    ('gs', '')
    """
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def is_url(path: str) -> bool:
    """Whether it is a URL and no path."""
    return bool(scheme_of(path))


def scheme_reason(path: str) -> str | None:
    """Why URLs of this scheme are not read, or None."""
    scheme, known = scheme_of(path), sorted(filter(None, tf.io.gfile.get_registered_schemes()))
    if scheme in WEB:
        return f"{scheme} is never read: download the files, and name their paths"
    return None if scheme in known else f"{scheme}:// is not read here, only {', '.join(known)}"


def local_path(path: str) -> str:
    """A path as it is; of a URL "file:///a/b" the path in it. A host in it counts for nothing, as for TensorFlow."""
    return "/" + path.partition("://")[2].partition("/")[2] if scheme_of(path) == "file" else path


def url_reason(path: str) -> str | None:
    """Why there is no file at a URL, or None."""
    try:
        return "is not a file" if tf.io.gfile.isdir(path) else None if tf.io.gfile.exists(path) else "no such file"
    except tf.errors.OpError as error:
        return f"cannot be reached: {error.message[:LONGEST]}"


def irregular(found: os.stat_result) -> str | None:
    """Why what `os.stat` found is not to be opened, or None: a device without end, a pipe that waits for a writer, a
    file of /proc or /sys, which is none on a disk."""
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        return "is not a file"
    return "a file of the system, which is on no disk" if found.st_dev in _of_system() else None


@functools.cache
def _of_system():
    """The devices of /proc and /sys, where these are file systems of their own."""
    devices = {path: os.stat(path).st_dev for path in ("/", "/proc", "/sys") if os.path.isdir(path)}
    root = devices.pop("/", None)
    return {device for device in devices.values() if device != root}


def open_file(path: str, most: float = math.inf) -> BinaryIO:
    """A file's bytes, to read and seek in: a local file opened, or one behind a URL that was fetched.

    Args:
        path: str, a path or a URL of any scheme that `tf.io.gfile` reads.
        most: bytes; a larger file is refused.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
        ValueError: no path at all, as one that holds a NUL.
    """
    if is_url(path) and scheme_of(path) != "file":
        return _fetched(path, most)
    path = local_path(path)
    return open(path, "rb", opener=lambda path, flags: _opened(path, flags, most))


def head_of(path: str, count: int) -> tuple[bytes, int]:
    """The first bytes of a file or of what is behind a URL, and how many it has. Raises as `open_file` does."""
    if not is_url(path) or scheme_of(path) == "file":
        with open_file(path) as file:
            return file.read(count), os.fstat(file.fileno()).st_size
    try:
        with tf.io.gfile.GFile(path, "rb") as remote:
            return remote.read(count), remote.size()
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _opened(path, flags, most):
    """The number of an open file, if it is one to read; the writer of a pipe is not waited for."""
    number = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    found = os.fstat(number)
    if wrong := irregular(found) or _larger(found.st_size, most):
        os.close(number)
        raise OSError(errno.EINVAL, wrong, path)
    return number


def _fetched(path, most):
    try:
        if wrong := _larger(tf.io.gfile.stat(path).length, most):
            raise OSError(errno.EFBIG, wrong, path)
        with tf.io.gfile.GFile(path, "rb") as file:
            return io.BytesIO(file.read())
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _larger(size, most):
    return f"a file of {size:,} bytes, more than max_bytes={most:,}" if size > most else None


def short_lines(file: Any, most: int = LINE) -> Iterator[Any]:
    """The lines of an open file. Raises ValueError where one is longer than `most`, before it is read whole."""
    for number in itertools.count(1):
        line = file.readline(most + 1)
        if len(line) > most:
            raise ValueError(f"expected lines of at most {most:,} characters, found a longer one: line {number}")
        if not line:
            return
        yield line


def as_path(value: Any) -> str:
    """The str of what `tf.numpy_function` gives for a scalar string: bytes in a graph, an array eagerly."""
    return os.fsdecode(np.asarray(value, object).item())


def open_npy(file: BinaryIO) -> np.ndarray:
    """The array in an open .npy file, of which only what is used will be read. Raises ValueError."""
    major, _ = np.lib.format.read_magic(file)
    if major > 2:
        raise ValueError("expected an array of numbers, found one with named fields")
    header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = header(file)
    except (SyntaxError, TypeError, LookupError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError("expected the header of an array, found a damaged one") from error
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
