"""Serialised tf.Example to the raw values of a request, and back."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mmkeras.decode import codec_of
from mmkeras.decode.graph import plain
from mmkeras.schema import Schema


def raw_values(schema: Schema, serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """The content of each tf.Example, by the names of the inputs.

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


def serialized(schema: Schema, inputs: Mapping[str, np.ndarray]) -> list[bytes]:
    """The rows of a request, dict of key -> array, each as a serialised tf.Example: list of bytes."""
    return [_serialized(schema, inputs, row) for row in range(len(next(iter(inputs.values()))))]


def _serialized(schema, inputs, row):
    features = {}
    for name, feature in schema.inputs.items():
        codec = codec_of(feature)
        features |= codec.to_example(name, feature, *(inputs[key][row] for key in codec.wire_spec(name, feature)))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _good(schema, serialized):
    """Whether each string can be parsed."""
    count = tf.shape(serialized, out_type=tf.int64)[0]
    rows = tf.data.Dataset.zip(tf.data.Dataset.range(count), tf.data.Dataset.from_tensor_slices(serialized))

    def parsed(row, string):
        return row, list(_parse(schema, string[None]).values())[-1]  # a string of which nothing is used is never parsed

    rows = rows.map(plain(parsed)).ignore_errors()
    _, kind = rows.element_spec
    spare = tf.data.Dataset.from_tensors((count, tf.zeros(kind.shape, kind.dtype)))
    rows, _ = rows.concatenate(spare).batch(count + 1).get_single_element()
    return tf.scatter_nd(rows[:, None], tf.ones_like(rows), [count + 1])[:count] > 0


def _parse(schema, strings):
    kinds, values = {}, {}
    for name, feature in schema.inputs.items():
        kinds |= codec_of(feature).example_spec(name, feature)
    parsed = tf.io.parse_example(strings, kinds)
    for name, feature in schema.inputs.items():
        values |= codec_of(feature).from_example(name, feature, parsed)
    return values
