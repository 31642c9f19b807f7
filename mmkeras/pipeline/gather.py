"""The inputs of one batch, in a graph."""

import keras
import tensorflow as tf

from mmkeras.errors import InputError, unknown
from mmkeras.pipeline.decoded import columns, stored


def gatherer(records, training, group_by=None):
    """A function from row numbers `(batch,)` and a random number to the dict of inputs.

    Args:
        records: `Records` all of whose rows are readable.
        training: whether to cut a random window from recordings that are longer than the model's.
        group_by: name of the input whose distinct values stand in a batch once, beside `<group_by>_index`.
    """
    features, decoded = records.schema.inputs, columns(records)
    if group_by is not None:
        _check_group(features, group_by)
    with tf.device("CPU"):
        index = {name: tf.constant(column.index, tf.int64) for name, column in decoded.items()}
        length = {name: tf.constant(c.length) for name, c in decoded.items() if c.length is not None}

    def gather(rows, draw):
        given = {}
        for name, feature in features.items():
            numbers = tf.gather(index[name], rows)
            if feature.optional:
                given[f"{name}_present"] = numbers != len(decoded[name].values) - 1
            if name == group_by:
                numbers, given[f"{name}_index"] = tf.unique(numbers)
            given[name] = decoded[name].gather(numbers)
            if name in length:
                given[f"{name}_length"] = tf.gather(length[name], numbers)
        order = records.schema.model_inputs if group_by is None else records.schema.deduplicated_inputs(group_by)
        return finish(given, records.schema, order, draw if training else None)

    return gather


def finish(given, schema, names, draw):
    """The inputs `names` from decoded values and their lengths, recordings cut to the model's duration.

    Args:
        given: dict of name -> tensor, `<name>_length` among them.
        schema: `Schema`.
        names: which are wanted, in order.
        draw: random number that places the windows, scalar int64; None: at the beginning.
    """
    for place, (name, feature) in enumerate(schema.inputs.items()):
        if stored(feature) is not feature:
            spare = given[f"{name}_length"] - feature.samples
            seed = None if draw is None else [draw, place]
            given = {**given, name: _window(given[name], feature.samples, spare, seed)}
    return {name: given[name] for name in names}


def _window(waves, samples, spare, seed):
    """`(batch, samples)` of longer recordings `(batch, any)`: their beginnings, or with a seed any place of them.

    `spare`: `(batch,)`, by how much each recording itself, without its padding, is longer than `samples`.
    """
    if seed is None:
        return waves[:, :samples]
    luck = tf.random.stateless_uniform(tf.shape(spare), seed)
    start = tf.cast(luck * (tf.cast(tf.maximum(spare, 0), tf.float32) + 1), tf.int32)
    place = tf.minimum(start[:, None] + tf.range(samples), tf.shape(waves)[1] - 1)
    return tf.gather(waves, place, batch_dims=1)


def _check_group(features, name):
    if name not in features:
        raise unknown("input", name, features, where="batches: group_by: ")
    if not features[name].shared:
        raise InputError(f"batches: group_by={name!r}: expected an input with shared=True, received {features[name]!r}")
    if tf.distribute.has_strategy() or keras.distribution.distribution() is not None:
        raise InputError(
            f"batches: group_by={name!r} under a distribution strategy, which would part the rows from their values; "
            "expected no group_by"
        )
