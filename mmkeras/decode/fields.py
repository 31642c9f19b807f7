"""Fields in the bytes of files, read in TensorFlow ops: what is behind the end counts as zeros."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


def part(raw: tf.Tensor, at: Any, length: Any) -> tf.Tensor:
    """As many of these bytes, from a place on, as there are: scalar string."""
    return tf.strings.substr(raw, tf.clip_by_value(at, 0, tf.strings.length(raw)), length)


def numbers(raw: tf.Tensor, at: Any, length: int, dtype: tf.DType, little_endian: bool = True) -> tf.Tensor:
    """The numbers in `length` bytes, as int64."""
    return tf.cast(tf.io.decode_raw(part(raw, at, length), dtype, little_endian, fixed_length=length), tf.int64)


def choose(key: tf.Tensor, functions: Mapping[bytes, Callable], otherwise: Callable, raw: tf.Tensor) -> Any:
    """What the function of `key` (scalar string) makes of `raw`."""
    known = tf.constant(list(functions))
    index = tf.reduce_max(tf.where(known == key, tf.range(len(functions)), -1))
    calls = {number: (lambda call=call: call(raw)) for number, call in enumerate(functions.values())}
    return tf.switch_case(index, calls, default=lambda: otherwise(raw))
