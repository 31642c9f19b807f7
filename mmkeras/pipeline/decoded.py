"""Every input of a table, decoded once and kept: in main memory up to a limit, else on disk."""

import dataclasses
import math
import os
import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf

from mmkeras import decode
from mmkeras.errors import InputError
from mmkeras.records import Records
from mmkeras.records.checks import unreadable
from mmkeras.records.ledger import Bad, settle
from mmkeras.schema import Audio

PROGRESS = 20_000  # from so many files on, decoding shows a progress bar
FULL_SCALE = 2.0**15  # of recordings that are kept as int16


class Column:
    """One input, decoded: row r is `values[index[r]]`.

    Attributes:
        values: `(distinct, ...)`, tf.Tensor in main memory whatever the model runs on, or np.memmap. Of an optional
            input the last one is all zeros and stands for a missing value. Recordings are int16 where that is exact.
        index: `(rows,)`.
        length: `(distinct,)` int32, or None: how many samples, steps or frames of each value are not padding.
    """

    def __init__(self, values, index, length=None):
        self.values, self.index, self.length = values, index, length

    def take(self, rows):
        """The column of these positions; the values are shared."""
        return Column(self.values, self.index[rows], self.length)

    @property
    def in_memory(self):
        """Bytes that the values take in main memory."""
        if isinstance(self.values, np.memmap):
            return 0
        return math.prod(self.values.shape) * self.values.dtype.size

    def gather(self, numbers):
        """The values `(n, ...)` of these numbers `(n,)`, in a graph."""
        if not isinstance(self.values, np.memmap):
            values = tf.gather(self.values, numbers)
        else:
            column = weakref.ref(self)  # TensorFlow never lets go of the function; `batches` keeps hold of the column
            values = tf.numpy_function(lambda places: column().values[places], [numbers], self.values.dtype)
            values = tf.ensure_shape(values, (None, *self.values.shape[1:]))
        return tf.cast(values, tf.float32) / FULL_SCALE if values.dtype == tf.int16 else values


# Records -> those of its rows whose targets can be read, or None for all; and Records -> (those of its rows that can be
# decoded, or None for all; {input name: Column}); as long as the Records live, so a value must not hold its own key
_LABELLED, _DECODED = weakref.WeakKeyDictionary(), weakref.WeakKeyDictionary()


def readable(records, targets=False):
    """The rows whose every input can be decoded; what is done about the others is for `records.on_bad` to say.

    Args:
        records: `Records` with a fitted schema.
        targets: whether to leave out the rows with a label that is no class of the schema, too.

    Raises:
        InputError: a file that cannot be decoded (or a label that is no class), with table, row and column, unless
            such rows are dropped.
    """
    if not isinstance(records, Records):
        raise InputError(f"expected Records (from mk.read), received {type(records).__name__}")
    records.schema.require_fitted("decoding")
    if targets:
        if records not in _LABELLED:
            strange = [cell for name in records.schema.targets for cell in _strange(records, name)]
            kept = settle(records, strange)
            _LABELLED[records] = None if kept is records else kept
        records = _or(_LABELLED[records], records)
    if records not in _DECODED:
        _DECODED[records] = _decode_all(records)
    return _or(_DECODED[records][0], records)


def _or(kept, records):
    return records if kept is None else kept  # Records without a row are False


def columns(records):
    """Every input of the readable rows, decoded once and remembered: dict of name -> `Column`."""
    readable(records)
    return _DECODED[records][1]


def write_decoded(records, folder):
    """Write what `columns` has decoded to a folder, for another process to begin with."""
    for name, column in columns(records).items():
        np.save(folder / f"{name}.npy", column.values)
        length = {} if column.length is None else {"length": column.length}
        np.savez(folder / f"{name}.npz", index=column.index, **length)


def read_decoded(records, folder):
    """Take what `write_decoded` wrote of records like these as their decoded values, in memory as far as it goes."""
    found, used = {}, 0
    for name in records.schema.inputs:
        values = np.load(folder / f"{name}.npy", mmap_mode="r")
        used += values.nbytes
        if used <= records.memory * 2**30:
            with tf.device("CPU"):
                values = tf.constant(values)
        with np.load(folder / f"{name}.npz") as rows:
            found[name] = Column(values, rows["index"], rows.get("length"))
    _LABELLED[records], _DECODED[records] = None, (None, found)


def _strange(records, name):
    """The cells of a target that it cannot be read from."""
    target, cells = records.schema.targets[name], records.values(name)
    _, good = target.encode(cells)
    bad = np.flatnonzero(~good & ((cells != "") | (not target.optional)))
    return [Bad(int(row), name, cells[row], f"expected {target.expected}") for row in bad]


def _decode_all(records):
    found = {name: _decode(records, name) for name in records.schema.inputs}
    decoded = {name: column for name, (column, _) in found.items()}
    kept = settle(records, [cell for _, bad in found.values() for cell in bad])
    if kept is records:
        return None, decoded
    rows = records.frame.index.get_indexer(kept.frame.index)
    decoded = {name: column.take(rows) for name, column in decoded.items()}
    for name, feature in records.schema.inputs.items():
        if feature.optional:
            decoded[name].index[~kept.there(name)] = len(decoded[name].values) - 1
    _DECODED[kept] = None, decoded
    return kept, decoded


def _decode(records, name):
    """The `Column` of one input, and the list of its cells that cannot be decoded."""
    feature = stored(records.schema.inputs[name])
    distinct, index = records.distinct(name)
    show = len(distinct) > PROGRESS and feature.files
    bar = keras.utils.Progbar(len(distinct), unit_name=f"file of {name!r}") if show else None
    store = _Store(feature, len(distinct) + feature.optional, records)
    status, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for part in decode.in_chunks(feature, distinct, bar):
        store.append(part.values)
        status.append(part.status)
        lengths.append(part.length)
    bad = unreadable(records, name, distinct, index, np.concatenate(status))
    if feature.optional:
        index = np.where(records.there(name), index, len(distinct))
    length = None
    if lengths[-1] is not None:
        length = np.concatenate([*lengths, np.zeros(int(feature.optional), np.int32)])
    return Column(store.finish(), index, length), bad


def stored(feature):
    """The feature as it is decoded and kept: a recording in its longest duration."""
    longest = getattr(feature, "longest", None)
    return feature if longest is None else dataclasses.replace(feature, seconds=longest, longest=None)


class _Store:
    """An array `(count, *feature.shape)` that is filled from its beginning, in memory or on disk."""

    def __init__(self, feature, count, records):
        self.feature, self.records, self.filled = feature, records, 0
        self.values = self._empty(count, np.int16 if isinstance(feature, Audio) else feature.dtype)

    def _empty(self, count, dtype):
        shape = (count, *self.feature.shape)
        size = math.prod(shape) * np.dtype(dtype).itemsize
        kept = {id(column.values): column for _, decoded in list(_DECODED.values()) for column in decoded.values()}
        if sum(column.in_memory for column in kept.values()) + size <= self.records.memory * 2**30:
            return np.zeros(shape, dtype)
        return _on_disk(shape, dtype, size, self.records.cache)

    def append(self, values):
        part = self.values[self.filled : self.filled + len(values)]
        self.filled += len(values)
        if self.values.dtype == np.int16 and not _exactly(values, part):  # finer than 16 bits, or resampled
            self._widen(self.filled - len(values))
            part = self.values[self.filled - len(values) : self.filled]
        if self.values.dtype != np.int16:
            part[:] = values

    def _widen(self, filled):
        narrow, self.values = self.values, self._empty(len(self.values), np.float32)
        for start in range(0, filled, 1024):
            part = slice(start, min(start + 1024, filled))
            self.values[part] = narrow[part] / np.float32(FULL_SCALE)

    def finish(self):
        if isinstance(self.values, np.memmap):
            return self.values
        with tf.device("CPU"):
            return tf.constant(self.values)


def _exactly(waves, whole):
    """Write float32 waves `(rows, samples)` as int16 into `whole`; whether that loses nothing."""
    for start in range(0, len(waves), 16):  # a few rows at a time stay in the processor's cache
        scaled = waves[start : start + 16] * np.float32(FULL_SCALE)
        part = whole[start : start + 16]
        with np.errstate(invalid="ignore"):  # full scale itself is beyond int16, and found below
            np.copyto(part, scaled, casting="unsafe")
        if not np.array_equal(part, scaled):
            return False
    return True


def _on_disk(shape, dtype, size, folder):
    """An array of zeros in a file without a name, whose space is there already and is given back with the array."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise InputError(
            f"batches: {size / 2**30:.1f} GiB of decoded values are more than memory allows and do not fit into "
            f"{folder or tempfile.gettempdir()!r}: {error.strerror}; use read(..., memory=..., cache=...)"
        ) from error
