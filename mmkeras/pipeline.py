"""Checked rows to tf.data batches.

Each distinct file is decoded once, however many rows share it, and kept decoded; a batch then only gathers rows. So the
second epoch, the evaluation and every shuffled control cost no decoding at all.
"""

import weakref
from collections.abc import Mapping
from numbers import Integral, Real
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras import decode
from mmkeras.augment import augmenter
from mmkeras.errors import InputError, unknown
from mmkeras.records import Records
from mmkeras.records.ledger import Bad, leave_out
from mmkeras.schema import Category, Text

PROGRESS = 20_000  # from so many files on, decoding shows a progress bar


class Column(NamedTuple):
    """One input, decoded: row r is `values[index[r]]`."""

    values: tf.Tensor  # (distinct, ...), in main memory whatever the model runs on
    index: np.ndarray  # (rows,)


# Records -> (those of its rows that can be read, or None for all; {input name: Column}), as long as the Records live
_DECODED = weakref.WeakKeyDictionary()


def readable(records):
    """The rows whose every input can be decoded; what is done about the others is for `records.on_bad` to say.

    Raises:
        InputError: a file that cannot be decoded, with table, row and column, unless such rows are dropped.
    """
    if not isinstance(records, Records):
        raise InputError(f"expected Records (from mk.read), received {type(records).__name__}")
    records.schema.require_fitted("decoding")
    if records not in _DECODED:
        decoded = {name: _decode(records, name) for name in records.schema.inputs}
        kept = leave_out(records, [cell for _, bad in decoded.values() for cell in bad])
        columns = {name: column for name, (column, _) in decoded.items()}
        if kept is not records:
            rows = records.frame.index.get_indexer(kept.frame.index)
            columns = {name: Column(values, index[rows]) for name, (values, index) in columns.items()}
            _DECODED[kept] = None, columns
        _DECODED[records] = None if kept is records else kept, columns
    return _DECODED[records][0] or records


def columns(records):
    """Every input of the readable rows, decoded once and remembered: dict of name -> `Column`."""
    readable(records)
    return _DECODED[records][1]


def _decode(records, name):
    """The `Column` of one input, and the list of its cells that cannot be decoded."""
    feature = records.schema.inputs[name]
    index, distinct = pd.factorize(records.values(name))
    values = np.empty((len(distinct), *feature.shape), feature.dtype)
    status = np.empty(len(distinct), np.int32)
    slow = len(distinct) > PROGRESS and not isinstance(feature, Text)
    bar = keras.utils.Progbar(len(distinct), unit_name=f"file of {name!r}") if slow else None
    start = 0
    for part, found in decode.in_chunks(feature, distinct, bar):
        values[start : start + len(part)], status[start : start + len(part)] = part, found
        start += len(part)
    bad = [
        Bad(int(position), name, distinct[index[position]], decode.reason(feature, distinct[index[position]]))
        for position in np.flatnonzero((status != decode.OK)[index])
    ]
    with tf.device("CPU"):
        return Column(tf.constant(values), index), bad


def labels(records):
    """Every target as numbers: dict of name -> array.

    `(rows,)` int32 class numbers for `Category`, `(rows, classes)` float32 ones and zeros for `Labels`, `(rows,)`
    float32 in the unit for `Number`; where an optional target is absent a valid value, to which `row_weights` gives 0.

    Raises:
        InputError: a cell that the target cannot be read from, as a label that is not among the schema's classes.
    """
    return {name: _label(records, name) for name in records.schema.targets}


def _label(records, name):
    target, cells = records.schema.targets[name], records.values(name)
    values, good = target.encode(cells)
    bad = np.flatnonzero(~good & _there(records, name))
    if len(bad):
        raise InputError(f"{records.where(bad[0], name)}: expected {target.expected}, received {cells[bad[0]]!r}")
    return values


def _there(records, name):
    """Whether each row has the target: `(rows,)` bool."""
    return (records.values(name) != "") | (not records.schema.targets[name].optional)


def row_weights(records, numbers, class_weight=None):
    """Sample weights: dict of target -> `(rows,)` float32; empty where no target is optional and none are asked for.

    Args:
        records: `Records`.
        numbers: of the same records, from `labels`.
        class_weight: as in `batches`.
    """
    targets = records.schema.targets
    if class_weight is None and not any(target.optional for target in targets.values()):
        return {}
    asked = _asked_weights(targets, class_weight)
    return {name: _row_weights(records, name, numbers[name], asked.get(name, {})) for name in targets}


def _row_weights(records, name, numbers, asked):
    there = _there(records, name)
    if not asked:
        return there.astype(np.float32)
    classes = records.schema.targets[name].classes
    if asked == "balanced":
        count = np.bincount(numbers[there], minlength=len(classes))
        weights = there.sum() / (np.count_nonzero(count) * np.maximum(count, 1))
    else:
        weights = np.array([asked.get(label, 1.0) for label in classes])
    return np.where(there, weights[numbers], 0).astype(np.float32)


def _asked_weights(targets, class_weight):
    """What `batches` takes as class_weight, as a dict of target -> "balanced" or dict of label -> weight."""
    where = "batches: class_weight: "
    categories = [name for name, target in targets.items() if isinstance(target, Category)]
    if class_weight is None:
        return {}
    if isinstance(class_weight, str) and class_weight == "balanced":
        if not categories:
            raise InputError(f"{where}expected a Category among the targets, received {', '.join(targets)}")
        return dict.fromkeys(categories, "balanced")
    if not isinstance(class_weight, Mapping):
        raise InputError(f"{where}expected 'balanced' or a dict, received {class_weight!r}")
    if len(targets) == 1 and not all(isinstance(weights, Mapping | str) for weights in class_weight.values()):
        class_weight = {next(iter(targets)): class_weight}
    return {name: _of_labels(targets, name, weights, where) for name, weights in class_weight.items()}


def _of_labels(targets, name, weights, where):
    if name not in targets:
        raise unknown("target", name, targets, where)
    if not isinstance(targets[name], Category):
        raise InputError(f"{where}{name!r}: only a Category has class weights, not {type(targets[name]).__name__}")
    if isinstance(weights, str) and weights == "balanced":
        return weights
    if not isinstance(weights, Mapping):
        raise InputError(f"{where}{name!r}: expected 'balanced' or a dict of label -> weight, received {weights!r}")
    for label, weight in weights.items():
        if str(label) not in targets[name].classes:
            raise unknown(f"label of {name!r}:", str(label), targets[name].classes, where)
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= weight < float("inf"):
            raise InputError(f"{where}{name!r}: expected a number from 0 for {label!r}, received {weight!r}")
    return {str(label): float(weight) for label, weight in weights.items()}


def batches(records, batch_size, *, training=False, targets=True, augment=None, class_weight=None, seed=0):
    """A tf.data pipeline of batches for `fit`, `evaluate` and `predict`.

    Args:
        records: `Records` with a fitted schema.
        batch_size: rows in a batch; the last one may hold fewer.
        training: shuffle all rows anew in every epoch.
        targets: False: inputs alone.
        augment: dict of input name -> options of `mmkeras.augment.augmenter`, in training only, as
            `{"image": {"flip": True, "rotate": 10}, "audio": {"noise": 20}}`; every row is drawn anew in every epoch.
        class_weight: in training only, for `Category` targets: dict of target -> {label: weight} (a label left out
            weighs 1), with one target also {label: weight}; or "balanced", for all of them or as a target's value:
            rows / (classes * rows of the class), counted among these records' rows and classes that have the target, so
            that every class weighs alike and the mean is 1. `Labels` and `Number` are left as they are by "balanced"
            and refused in the dict.
        seed: of shuffling and augmentation; the same seed gives the same batches.

    Returns:
        `tf.data.Dataset` of `(inputs, target)`: inputs a dict of name -> `(batch, ...)` in the units of the schema;
        the target one tensor, or a dict if the schema has several. If a target is optional or class weights are asked
        for, of `(inputs, target, weights)`: weights like the target, `(batch,)` float32 for every one, 0 where it is
        absent. Its cardinality is known.

    Raises:
        InputError: a file that cannot be decoded or a label that is no class, with table, row and column; augmentation
            or class weights outside training, or of an unknown kind, target or label.
    """
    if augment and not training:
        raise InputError(f"batches: expected augment with training=True only, received {augment!r} without")
    if class_weight is not None and not (training and targets):
        raise InputError(
            f"batches: expected class_weight with training=True and targets only, received {class_weight!r} without"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise InputError(f"batches: expected batch_size to be a whole number above 0, received {batch_size!r}")
    records, decoded = readable(records), columns(records)
    numbers = labels(records) if targets else {}
    weights = row_weights(records, numbers, class_weight) if targets else {}
    values = {name: column.values for name, column in decoded.items()}
    with tf.device("CPU"):
        index = {name: tf.constant(column.index) for name, column in decoded.items()}
        numbers = {name: tf.constant(number) for name, number in numbers.items()}
        weights = {name: tf.constant(weight) for name, weight in weights.items()}

    def gather(rows):
        inputs = {name: tf.gather(values[name], tf.gather(index[name], rows)) for name in values}
        if not targets:
            return inputs
        given = [{name: tf.gather(value, rows) for name, value in part.items()} for part in (numbers, weights) if part]
        return inputs, *(part if len(part) > 1 else next(iter(part.values())) for part in given)

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
