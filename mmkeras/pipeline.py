"""Checked rows to tf.data batches.

Each distinct file is decoded once, however many rows share it, and kept decoded; a batch then only gathers rows. So the
second epoch, the evaluation and every shuffled control cost no decoding at all.
"""

import functools
import weakref
from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras import decode
from mmkeras.augment import augmenter
from mmkeras.errors import InputError
from mmkeras.records import Records
from mmkeras.schema import Text

CHUNK = 1024  # distinct values decoded at a time: bounds the memory beside the result


class Column(NamedTuple):
    """One input, decoded: row r is `values[index[r]]`."""

    values: tf.Tensor  # (distinct, ...), in main memory whatever the model runs on
    index: np.ndarray  # (rows,)


_DECODED = weakref.WeakKeyDictionary()  # Records -> {input name: Column}, for as long as the Records live


def columns(records):
    """Every input of the records, decoded once and remembered: dict of name -> `Column`."""
    if not isinstance(records, Records):
        raise InputError(f"expected Records (from mk.read), received {type(records).__name__}")
    records.schema.require_fitted("decoding")
    if records not in _DECODED:
        _DECODED[records] = {name: _decode(records, name) for name in records.schema.inputs}
    return _DECODED[records]


@functools.lru_cache(maxsize=64)
def _file_decoder(feature):
    """The decoder of an input as one compiled function, traced once for all splits."""
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(decode.decoder(feature, files=True), input_signature=signature, autograph=False)


def _decode(records, name):
    feature = records.schema.inputs[name]
    index, distinct = pd.factorize(records.values(name))
    decoder = _file_decoder(feature)
    values = np.empty((len(distinct), *feature.shape), feature.dtype)
    status = np.empty(len(distinct), np.int32)
    for start in range(0, len(distinct), CHUNK):
        part = slice(start, start + CHUNK)
        values[part], status[part] = decoder(tf.constant(distinct[part], tf.string))
    bad = np.flatnonzero(status[index] != decode.OK)
    if len(bad):
        raise _unreadable(records, name, bad)
    with tf.device("CPU"):
        return Column(tf.constant(values), index)


def _unreadable(records, name, bad):
    feature = records.schema.inputs[name]
    value = records.values(name)[bad[0]]
    expected, kind = decode.FORMATS[type(feature)], "text" if isinstance(feature, Text) else "file"
    return InputError(
        f"{records.where(bad[0], name)}: expected {expected}, cannot decode the {kind} {value!r} ({len(bad)} such rows)"
    )


def labels(records):
    """Every target as numbers: dict of name -> `(rows,)` int32.

    Raises:
        InputError: a label that is not among the schema's classes.
    """
    return {name: _label(records, name) for name in records.schema.targets}


def _label(records, name):
    classes = records.schema.targets[name].classes
    values = records.values(name)
    number = pd.Index(classes).get_indexer(values)
    if (number < 0).any():
        position = int(np.flatnonzero(number < 0)[0])
        raise InputError(
            f"{records.where(position, name)}: expected one of the {len(classes)} classes {', '.join(classes[:8])}"
            f"{', ...' if len(classes) > 8 else ''}, received {values[position]!r}"
        )
    return number.astype(np.int32)


def batches(records, batch_size, *, training=False, targets=True, augment=None, seed=0):
    """A tf.data pipeline of batches for `fit`, `evaluate` and `predict`.

    Args:
        records: `Records` with a fitted schema.
        batch_size: rows in a batch; the last one may hold fewer.
        training: shuffle all rows anew in every epoch.
        targets: False: inputs alone.
        augment: dict of input name -> options of `mmkeras.augment.augmenter`, in training only, as
            `{"image": {"flip": True, "rotate": 10}, "audio": {"noise": 20}}`; every row is drawn anew in every epoch.
        seed: of shuffling and augmentation; the same seed gives the same batches.

    Returns:
        `tf.data.Dataset` of `(inputs, target)`: inputs a dict of name -> `(batch, ...)` in the units of the schema;
        the target one tensor, or a dict if the schema has several. Its cardinality is known.

    Raises:
        InputError: a file that cannot be decoded or a label that is no class, with table, row and column; augmentation
            outside training, or of an unknown kind.
    """
    if augment and not training:
        raise InputError(f"batches: expected augment with training=True only, received {augment!r} without")
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(f"batches: expected batch_size to be a whole number above 0, received {batch_size!r}")
    decoded = columns(records)
    numbers = labels(records) if targets else {}
    values = {name: column.values for name, column in decoded.items()}
    with tf.device("CPU"):
        index = {name: tf.constant(column.index) for name, column in decoded.items()}
        numbers = {name: tf.constant(number) for name, number in numbers.items()}

    def gather(rows):
        inputs = {name: tf.gather(values[name], tf.gather(index[name], rows)) for name in values}
        if not targets:
            return inputs
        wanted = {name: tf.gather(number, rows) for name, number in numbers.items()}
        return inputs, wanted if len(wanted) > 1 else next(iter(wanted.values()))

    rows = tf.data.Dataset.range(len(records))
    if training:  # shuffle row numbers, not pictures: the whole table fits the buffer
        rows = rows.shuffle(max(len(records), 1), seed=seed, reshuffle_each_iteration=True)
    rows = rows.batch(batch_size)  # batch before gathering: one op a batch instead of one a row
    data = rows.map(gather, num_parallel_calls=tf.data.AUTOTUNE)
    if augment:  # last, on whole batches; a number that is new in every batch and epoch makes the draws
        change = augmenter(records.schema, augment, seed)
        draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        data = tf.data.Dataset.zip(data, draws).map(
            lambda batch, draw: (change(batch[0], draw), *batch[1:]) if targets else change(batch, draw),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return data.prefetch(tf.data.AUTOTUNE)
