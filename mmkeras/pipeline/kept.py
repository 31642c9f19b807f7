"""Decoded values as arrays: in main memory up to a limit, which holds for the whole process, else on disk."""

import math
import os
import tempfile
import weakref

import numpy as np
import tensorflow as tf

from mmkeras.errors import InputError

_COLUMNS: "weakref.WeakSet[Column]" = weakref.WeakSet()  # all living columns, which share the limit


class Column:
    """An input, a truth or the lengths of either, decoded: row r is `values[index[r]]`.

    Attributes:
        values: `(distinct, ...)`, tf.Tensor in main memory on every device, or np.memmap. For an optional input the
            last one is all zeros and means a missing value. Integers in the place of float numbers are fractions of
            their full scale: recordings are int16 where that is exact.
        index: `(rows,)`; of several files a row `(rows, columns)`.
        dtype: of the values as they are gathered.
    """

    def __init__(self, values: tf.Tensor | np.memmap, index: np.ndarray, dtype: str):
        self.values, self.index, self.dtype = values, index, dtype
        _COLUMNS.add(self)

    def take(self, rows: np.ndarray | slice) -> "Column":
        """The column of these rows; the values are shared."""
        return Column(self.values, self.index[rows], self.dtype)

    @property
    def in_memory(self) -> int:
        """Bytes that the values take in main memory."""
        if isinstance(self.values, np.memmap):
            return 0
        return math.prod(self.values.shape) * self.values.dtype.size

    def gather(self, numbers: tf.Tensor) -> tf.Tensor:
        """The values `(n, ...)` of these numbers `(n,)`, in a graph."""
        if not isinstance(self.values, np.memmap):
            values = tf.gather(self.values, numbers)
        else:
            column = weakref.proxy(self)  # TensorFlow never releases the function; `batches` holds the column
            values = tf.numpy_function(lambda places: column.values[places], [numbers], self.values.dtype)
            values = tf.ensure_shape(values, (None, *self.values.shape[1:]))
        if values.dtype == self.dtype:
            return values
        return tf.cast(values, self.dtype) / full_scale(values.dtype.as_numpy_dtype)

    def array(self) -> np.ndarray:
        """The values of all rows, `(rows, ...)`, in memory."""
        with tf.device("CPU"):
            return self.gather(tf.constant(self.index)).numpy()


class Store:
    """An array `(count, *shape)` that is filled from its beginning.

    Args:
        shape: `(count, ...)`.
        dtype: of the values.
        kept_as: integer dtype for float numbers while that is exact, or the dtype itself.
        memory: GiB of all columns that are kept in main memory; further ones are on disk.
        cache: folder for files, or None.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: str, kept_as: str, memory: float, cache: str | os.PathLike[str] | None
    ):
        self.shape, self.dtype, self.memory, self.cache = shape, np.dtype(dtype), memory, cache
        self.filled, self.values = 0, self._empty(np.dtype(kept_as))

    def _empty(self, dtype):
        size = math.prod(self.shape) * dtype.itemsize
        if fits(size, self.memory):
            return np.zeros(self.shape, dtype)
        return _on_disk(self.shape, dtype, size, self.cache)

    def append(self, values: np.ndarray) -> None:
        """The next values `(n, ...)`."""
        part = slice(self.filled, self.filled + len(values))
        if self.values.dtype != self.dtype and not _exactly(values, self.values[part]):  # finer, or resampled
            self._widen()
        if self.values.dtype == self.dtype:
            self.values[part] = values
        self.filled += len(values)

    def _widen(self):
        narrow, self.values = self.values, self._empty(self.dtype)
        for start in range(0, self.filled, 1024):
            part = slice(start, min(start + 1024, self.filled))
            self.values[part] = narrow[part] / self.dtype.type(full_scale(narrow.dtype))

    def finish(self) -> tf.Tensor | np.memmap:
        """The array, as a `Column` keeps it."""
        return self.values if isinstance(self.values, np.memmap) else in_main_memory(self.values)


def fits(size: int, memory: float) -> bool:
    """Whether so many more bytes fit into so many GiB of main memory, with all living columns."""
    kept = {id(column.values): column for column in list(_COLUMNS)}
    return sum(column.in_memory for column in kept.values()) + size <= memory * 2**30


def in_main_memory(values: np.ndarray) -> tf.Tensor:
    """Values as a tensor that stays in main memory, also if the model is on a GPU."""
    with tf.device("CPU"):
        return tf.constant(values)


def full_scale(dtype: np.dtype) -> float:
    """The integer for 1.0 where float numbers are kept as integers: 2 ** 15 for int16."""
    return np.iinfo(dtype).max + 1.0


def _exactly(values, whole):
    """Write float values as integers of full scale into `whole`; returns whether that loses nothing."""
    scale = values.dtype.type(full_scale(whole.dtype))
    for start in range(0, len(values), 16):  # a few rows at a time stay in the processor's cache
        scaled = values[start : start + 16] * scale
        part = whole[start : start + 16]
        with np.errstate(invalid="ignore"):  # full scale itself is beyond int16, and found below
            np.copyto(part, scaled, casting="unsafe")
        if not np.array_equal(part, scaled):
            return False
    return True


def _on_disk(shape, dtype, size, folder):
    """An array of zeros in a file without a name; its space is reserved now and released with the array."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise InputError(
            f"batches: {size / 2**30:.1f} GiB of decoded values are more than memory allows and do not fit into "
            f"{folder or tempfile.gettempdir()!r}: {error.strerror}; use read(..., memory=..., cache=...)"
        ) from error
