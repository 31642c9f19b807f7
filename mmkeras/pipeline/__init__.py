"""Checked rows to tf.data batches, in four steps.

1. Every distinct file is decoded once, of inputs and targets, however many rows share it, and kept decoded
   (decoded.py), in memory up to a limit, else on disk (kept.py): later epochs, the evaluation and shuffled controls
   decode nothing again.
2. Row numbers are shuffled, not values: the whole table is one permutation, new in every epoch, the same for a seed.
3. Batches are cut from the permutation and each is gathered by one op an input; with `group_by` a batch holds each
   distinct value of that input once. With `mix` every source has a permutation of its own, and a batch takes its share
   of each: with one permutation the shares would differ from batch to batch, most for small sources.
4. Augmentation comes last, on whole batches.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.augment import augmenter
from mmkeras.checks import check_switch, check_whole, checked_keywords
from mmkeras.decode.graph import plain
from mmkeras.errors import InputError, shown
from mmkeras.pipeline.decoded import columns, read_decoded, readable, truths, write_decoded
from mmkeras.pipeline.gather import gatherer
from mmkeras.pipeline.mixing import mixed_rows, sources
from mmkeras.pipeline.shard_rows import parser, serialised
from mmkeras.pipeline.shards import Shards, read_shards, write_shards
from mmkeras.pipeline.weights import ClassWeight, class_numbers, labels, row_weights
from mmkeras.records import Records

__all__ = [
    "Shards",
    "batches",
    "columns",
    "labels",
    "read_decoded",
    "read_shards",
    "readable",
    "row_weights",
    "truths",
    "write_decoded",
    "write_shards",
]


@checked_keywords
def batches(
    records: Records | Shards,
    batch_size: int,
    *,
    training: bool = False,
    targets: bool = True,
    augment: Mapping[str, Mapping[str, Any]] | None = None,
    class_weight: ClassWeight = None,
    group_by: str | None = None,
    mix: Mapping[str, Mapping[Any, float]] | None = None,
    shard: tuple[int, int] | None = None,
    seed: int = 0,
    epoch: tf.Variable | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """A tf.data pipeline of batches for `fit`, `evaluate` and `predict`.

    Args:
        records: `Records` with a fitted schema; or `Shards`, with which memory does not grow with the number of rows.
        batch_size: rows in a batch; the last one may hold fewer.
        drop_remainder: whether to leave out a last batch of fewer rows, as `tf.distribute.MirroredStrategy` needs it
            where the rows are no multiple of `batch_size` (otherwise Keras ends there in an error of shapes).
        training: shuffle all rows anew in every epoch (of shards: the files, and rows among 10,000 or 128 MiB).
        targets: False: inputs alone.
        augment: dict of input name -> options of `mmkeras.augment.augmenter`, in training only, as
            `{"image": {"flip": True, "rotate": 10}, "audio": {"noise": 20}}`; every row is changed anew in every epoch.
        class_weight: in training only, for targets whose classes can have weights, as `Category`: dict of target ->
            {label: weight} (a label left out has the weight 1), with one target also {label: weight}; or "balanced",
            for all of them or as a target's value: rows / (classes * rows of the class), counted among these records'
            rows and classes that have the target, so that all classes have the same total weight and the mean is 1.
            Other targets, as `Labels` and `Number`, keep their weights with "balanced" and are refused in the dict.
        group_by: name of an input with `shared=True`: batches of rows that share its values, and each value is in a
            batch once, for the model of `mk.deduplicated_model`. In training, the values come in random order.
        mix: in training only, dict of one column of the table -> {value: share}, as `{"source": {"digits": 1,
            "questions": 3}}` for records of `mk.combine`: each batch, the last one too, holds `batch_size` rows with
            the column's values in these proportions (in whole rows, by the largest remainder). The rows of each value
            come in a random order of their own; when they run out, they begin again in a new order. An epoch ends when
            every row has been seen at least once. Keras divides a loss by all rows of the batch: the weight of a target
            that only some sources have is the share of these sources.
        shard: with `Shards`, (number of this worker from 0, number of workers): it reads its share of the files.
        seed: of shuffling and augmentation; the same seed gives the same batches.
        epoch: with `Records` and without `mix`, a scalar int64 that is set to the number of each epoch before it
            begins: order and changes are a function of it and of the seed, so that a training can be resumed; None:
            each pass over the batches is a new epoch.

    Returns:
        `tf.data.Dataset` of `(inputs, target)`: inputs a dict of name -> `(batch, ...)` as `schema.model_inputs` says
        (zeros where an optional input is missing); the target one tensor `(batch, ...)` as `target.truth` says, or a
        dict if the schema has several. If a target is optional or class weights are asked for, it gives `(inputs,
        target, weights)`: one tensor or a dict like the target, `(batch,)` float32 each, 0 where the target is missing.
        With `group_by` inputs are a tuple in the order of `schema.deduplicated_inputs`. Its cardinality is known.

    Raises:
        InputError: a file that cannot be decoded or a label that is no class, with table, row and column; augmentation
            or class weights outside training, or of an unknown kind, target or label; `group_by` of an input that is
            not shared, or under a distribution strategy, which would separate values and rows; `mix` outside training,
            with `group_by` or `Shards`, of an unknown column or value, or that leaves a value without a row.
    """
    _check(records, training, targets, augment, class_weight, group_by, mix)
    batch_size = check_whole(batch_size, "batch_size", "batches: ")
    check_whole(seed, "seed", "batches: ", least=0)
    check_switch(drop_remainder, "drop_remainder", "batches: ")
    if isinstance(records, Shards):
        if epoch is not None:
            raise InputError("batches: expected no epoch with Shards, whose rows are shuffled while they are read")
        if group_by is not None:
            raise InputError("batches: group_by needs Records: a shard holds every row with values of its own")
        data = serialised(records, batch_size, training, shard, seed, drop_remainder)
        return _batched(
            data, _draws(seed), parser(records, training, targets, class_weight), records.schema, augment, seed
        )
    if epoch is not None and mix is not None:
        raise InputError("batches: expected no epoch with mix, whose order is one of all epochs")
    if shard is not None:
        raise InputError("batches: expected shard with Shards only; take a share of Records by records.take(...)")
    records = readable(records, targets)
    if training and not len(records):
        raise InputError(f"batches: expected at least one row of {records.name} to train on, received none")
    inputs = gatherer(records, training, group_by)
    truth = _truth(records, class_weight) if targets else lambda rows: []
    if mix is not None:
        rows = mixed_rows(sources(records, mix, batch_size), seed)
    else:
        index = None if group_by is None else columns(records)[group_by].index
        rows = _rows(len(records), batch_size, training, seed, epoch, index)
    draws = _draws(seed, epoch)
    data = _batched(
        rows, draws, lambda rows, draw: (inputs(rows, draw), truth(rows)), records.schema, augment, seed, group_by
    )
    data = _whole(data, len(records), batch_size) if drop_remainder and mix is None else data
    data.decoded = columns(records), truths(records) if targets else {}  # files on disk live as long as the pipeline
    return data


def _whole(data, rows, batch_size):
    """The batches without a last one of fewer rows."""
    if rows < batch_size:
        raise InputError(f"batches: drop_remainder: expected at least batch_size={batch_size} rows, received {rows}")
    return data.take(rows // batch_size)


def _check(records, training, targets, augment, class_weight, group_by, mix):
    """Raise an `InputError` for options that need training, or exclude each other."""
    if augment and not training:
        raise InputError(f"batches: expected augment with training=True only, received {shown(augment)} without")
    if class_weight is not None and not (training and targets):
        received = shown(class_weight)
        raise InputError(
            f"batches: expected class_weight with training=True and targets only, received {received} without"
        )
    if mix is not None and (not training or group_by is not None or isinstance(records, Shards)):
        raise InputError(
            "batches: expected mix with Records, training=True and no group_by, received "
            f"{type(records).__name__}, training={training!r} and group_by={group_by!r}"
        )


def _draws(seed, epoch=None):
    """Random numbers without end, scalar int64; each pass gives others, with `epoch` those of its value."""
    if epoch is None:
        return tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    least, most = tf.int64.min, tf.int64.max

    def draw(step):
        key = tf.stack([tf.constant(seed, tf.int64), epoch.read_value() * 2**32 + step])
        return tf.random.stateless_uniform([], key, least, most, tf.int64)

    return tf.data.Dataset.counter().map(plain(draw))


def _batched(rows, draws, read, schema, augment, seed, group_by=None):
    """The pipeline from row numbers (or serialised rows) by `read`: the inputs, and a list of targets and weights."""
    change = augmenter(schema, augment, seed) if augment else lambda inputs, draw: inputs

    def batch(rows, draw):
        inputs, truth = read(rows, draw)
        inputs = change(inputs, draw)
        inputs = inputs if group_by is None else tuple(inputs.values())
        return (inputs, *truth) if truth else inputs

    data = tf.data.Dataset.zip(rows, draws).map(plain(batch), num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(4)  # AUTOTUNE keeps hundreds of megabytes ready


def _rows(count, batch_size, training, seed, epoch=None, index=None):
    """Batches of row numbers, each epoch in another order in training; rows of one `index` together."""
    if not training and index is None:
        return tf.data.Dataset.range(count).batch(batch_size)
    with tf.device("CPU"):
        group = None if index is None else tf.constant(np.unique(index, return_inverse=True)[1])

    def order(draw):
        rows = tf.range(count, dtype=tf.int64)
        if training:
            rows = tf.random.experimental.stateless_shuffle(rows, [draw, seed])
        if group is None:
            return rows
        place = tf.range(tf.reduce_max(group) + 1)
        if training:
            place = tf.random.experimental.stateless_shuffle(place, [draw, seed + 1])
        return tf.gather(rows, tf.argsort(tf.gather(place, tf.gather(group, rows)), stable=True))

    batched = _draws(seed, epoch).take(1).map(plain(order)).rebatch(batch_size)
    return batched.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))


def _truth(records, class_weight):
    """A function from row numbers `(batch,)` to the targets and, where there are any, the weights, in a graph."""
    schema, kept = records.schema, truths(records)
    if not schema.targets:
        return lambda rows: []
    with tf.device("CPU"):
        index = {name: tf.constant(kept[name].index, tf.int64) for name in schema.targets}
        weights = row_weights(records, class_numbers(records), class_weight)
        weights = {name: tf.constant(value) for name, value in weights.items()}

    def gather(rows):
        given = [{name: kept[name].gather(tf.gather(numbers, rows)) for name, numbers in index.items()}]
        if weights:
            given.append({name: tf.gather(value, rows) for name, value in weights.items()})
        return [schema.fold(part) for part in given]

    return gather
