"""Serialised tf.Example to the raw values of a request, and back."""

import numpy as np
import tensorflow as tf

from mmkeras.decode.graph import plain
from mmkeras.schema import Series, Tabular


def raw_values(schema, serialized):
    """What stands in each tf.Example, by the names of the inputs.

    Args:
        schema: fitted `Schema`.
        serialized: `(n,)` string.

    Returns:
        dict of key -> tensor as `serving_default` takes them; and `(n,)` bool, False where a string is no tf.Example,
        or one of other kinds of values: all its inputs are empty.
    """

    def parse(strings):
        return _parse(schema, strings)

    kinds = tf.function(parse, autograph=False).get_concrete_function(tf.TensorSpec([None], tf.string))
    none = {
        key: tf.zeros([0, *(size or 0 for size in value.shape[1:])], value.dtype)
        for key, value in kinds.structured_outputs.items()
    }
    tried = tf.data.Dataset.from_tensors(serialized).map(plain(lambda strings: (True, parse(strings)))).ignore_errors()
    tried = tried.concatenate(tf.data.Dataset.from_tensors((False, none))).take(1)
    all_good, values = tried.get_single_element()
    good = tf.cond(all_good, lambda: tf.ones_like(serialized, tf.bool), lambda: _good(schema, serialized))
    values = tf.cond(all_good, lambda: values, lambda: parse(tf.where(good, serialized, "")))
    return values, good


def serialized(schema, inputs):
    """The rows of a request, dict of key -> array, each as a serialised tf.Example: list of bytes."""
    return [_serialized(schema, inputs, row) for row in range(len(next(iter(inputs.values()))))]


def _serialized(schema, inputs, row):
    example = tf.train.Example()
    for name, feature in schema.inputs.items():
        values, held = inputs[name][row], example.features.feature[name]
        if isinstance(feature, Series):
            held.float_list.value.extend(np.ravel(values[: inputs[f"{name}_length"][row]]))
        else:
            # not np.ravel of one value: it drops zeros at the end
            cells = values.ravel() if isinstance(values, np.ndarray) else [values]
            held.bytes_list.value.extend(tf.compat.as_bytes(cell) for cell in cells)
    return example.SerializeToString(deterministic=True)


def _good(schema, serialized):
    """Whether each string can be parsed."""
    count = tf.shape(serialized, out_type=tf.int64)[0]
    rows = tf.data.Dataset.zip(tf.data.Dataset.range(count), tf.data.Dataset.from_tensor_slices(serialized))

    def parsed(row, string):
        return row, list(_parse(schema, string[None]).values())[-1]  # a string of which nothing is used is not parsed

    rows = rows.map(plain(parsed)).ignore_errors()
    _, kind = rows.element_spec
    spare = tf.data.Dataset.from_tensors((count, tf.zeros(kind.shape, kind.dtype)))
    rows, _ = rows.concatenate(spare).batch(count + 1).get_single_element()
    return tf.scatter_nd(rows[:, None], tf.ones_like(rows), [count + 1])[:count] > 0


def _parse(schema, strings):
    parsed = tf.io.parse_example(strings, {name: _feature(feature) for name, feature in schema.inputs.items()})
    values = {}
    for name, feature in schema.inputs.items():
        if isinstance(feature, Series):
            values |= _series(name, feature, parsed[name])
        else:
            values[name] = parsed[name]
    return values


def _feature(feature):
    if isinstance(feature, Series):
        return tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int32)
    if isinstance(feature, Tabular):
        return tf.io.FixedLenFeature([len(feature.columns)], tf.string, [""] * len(feature.columns))
    return tf.io.FixedLenFeature([], tf.string, "")


def _series(name, feature, ragged):
    """Lists of numbers as series and lengths; a list that is no whole number of steps has the length -1."""
    size, channels, most = ragged.row_lengths(), feature.channels, feature.length * feature.channels
    kept = ragged[:, :most]  # or one long list would make all rows as long
    steps = -(-tf.reduce_max(tf.concat([kept.row_lengths(), [0]], axis=0)) // channels)
    rows = kept.to_tensor(shape=[None, None])
    rows = tf.pad(rows, [[0, 0], [0, steps * channels - tf.shape(rows)[1]]])
    length = tf.minimum(size // channels, feature.length)
    return {
        name: tf.reshape(rows, [-1, steps, channels]),
        f"{name}_length": tf.where(size % channels == 0, length, -1),
    }
