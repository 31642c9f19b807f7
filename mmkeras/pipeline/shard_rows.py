"""The rows of shards, read and parsed batch by batch."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.checks import is_whole
from mmkeras.errors import InputError, shown
from mmkeras.pipeline.decoded import row_layout
from mmkeras.pipeline.gather import finish
from mmkeras.pipeline.shards import Shards, row_size
from mmkeras.pipeline.weights import ClassWeight, class_weights, weighs

BUFFER = 2**27  # bytes of rows, at most 10,000 of them, among which training shuffles
OPEN = 16  # files that training reads by turns


def serialised(
    shards: Shards,
    batch_size: int,
    training: bool,
    shard: tuple[int, int] | None,
    seed: int,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batches of serialised rows: `(batch,)` string.

    Args:
        shards: `Shards`.
        batch_size: rows in a batch.
        training: shuffle: the files, and the rows of several files read by turns.
        shard: (number of this worker from 0, number of workers): it reads its share of the files; None: all.
        seed: of shuffling.
    """
    names = list(shards.files)[slice(*_share(shards, shard))]
    rows = sum(shards.files[name]["rows"] for name in names)
    files = tf.data.Dataset.from_tensor_slices([os.path.join(shards.folder, name) for name in names])
    if training:
        files = files.shuffle(len(names), seed=seed, reshuffle_each_iteration=True)
    turns = {"cycle_length": min(len(names), OPEN), "num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
    data = files.interleave(tf.data.TFRecordDataset, block_length=16, **turns if training else {"cycle_length": 1})
    if training:
        buffer = max(batch_size, min(BUFFER // row_size(shards.schema), 10_000))
        data = data.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
    steps = rows // batch_size if drop_remainder else -(-rows // batch_size)
    return data.batch(batch_size, drop_remainder).apply(tf.data.experimental.assert_cardinality(steps))


def _share(shards, shard):
    if shard is None:
        return None, None, 1
    pair = isinstance(shard, Sequence) and len(shard) == 2 and is_whole(shard[0], 0) and is_whole(shard[1])
    if not pair or not shard[0] < shard[1] <= len(shards.files):
        raise InputError(
            f"batches: expected shard to be (number, workers), number from 0, at most {len(shards.files)} workers for "
            f"as many shards, received {shown(shard)}"
        )
    return shard[0], None, shard[1]


def parser(
    shards: Shards, training: bool, targets: bool, class_weight: ClassWeight
) -> Callable[[tf.Tensor, tf.Tensor], tuple[dict[str, tf.Tensor], list[Any]]]:
    """A function from serialised rows `(batch,)` and a random number to inputs, and a list of targets and weights."""
    schema = shards.schema
    targets = targets and bool(schema.targets)
    with_weights = targets and weighs(schema, class_weight)
    asked = class_weights(schema, class_weight, {name: np.array(count) for name, count in shards.counts.items()})
    kinds = _wanted(schema, targets)

    def parse(rows, draw):
        spec = {name: tf.io.FixedLenFeature([], tf.string) for name in kinds}
        values = {
            name: tf.reshape(tf.io.decode_raw(value, kinds[name][1]), (-1, *kinds[name][0]))
            for name, value in tf.io.parse_example(rows, spec).items()
        }
        values |= {name: value != 0 for name, value in values.items() if name.endswith(("_present", "_there"))}
        given = finish(values, schema, schema.model_inputs, draw if training else None)
        parts = [{name: values[name] for name in schema.targets}] if targets else []
        if with_weights:
            parts.append({name: _weights(name, values, asked) for name in schema.targets})
        return given, [schema.fold(part) for part in parts]

    return parse


def _wanted(schema, targets):
    """The values of a record that are read: dict of name -> (shape, dtype)."""
    wanted = {}
    for name, feature in schema.inputs.items():
        wanted |= {name + suffix: kind for suffix, kind in row_layout(schema, name).items()}
        flags = [suffix for suffix, (_, dtype) in feature.received.items() if dtype == "bool"]
        wanted |= {name + suffix: (feature.received[suffix][0], "uint8") for suffix in flags}
    for name, target in schema.targets.items() if targets else ():
        wanted |= {name: target.truth[""], f"{name}_present": ((), "uint8")}
    return wanted


def _weights(name, values, asked):
    present = tf.cast(values[f"{name}_present"], tf.float32)
    return present * tf.gather(asked[name], values[name]) if name in asked else present
