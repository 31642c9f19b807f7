"""The bytes of a .npy file to numbers, in ops that a served graph may hold."""

import numpy as np
import tensorflow as tf

from mmkeras.decode.files import NPY

DTYPES = ("f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_DESCR = r"(?s).*['\"]descr['\"]\s*:\s*['\"]([<>|=]?[fiub][1248])['\"].*"
_ORDER = r"(?s).*['\"]fortran_order['\"]\s*:\s*(True|False).*"
_SHAPE = r"(?s).*['\"]shape['\"]\s*:\s*\(([0-9, ]*)\).*"


def decode_npy(raw: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """The numbers of one .npy file.

    Args:
        raw: scalar string, the bytes of a file of numbers `(steps, *shape[1:])`, or `(steps,)` where `shape[1:]` is
            `(1,)`, of any real dtype or bool.
        shape: the most steps, and the sizes of one.

    Returns:
        `(at most shape[0], *shape[1:])` float32.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such file, or one cut short.
    """
    begins = (tf.strings.length(raw) >= 12) & (tf.strings.substr(raw, 0, 6) == NPY)
    with _checked([(begins, "expected a .npy file")]):
        raw = tf.identity(raw)
        head, start = _header(raw)
    descr, order, sizes = (tf.strings.regex_replace(head, pattern, r"\1") for pattern in (_DESCR, _ORDER, _SHAPE))
    whole = [tf.strings.regex_full_match(head, pattern) for pattern in (_DESCR, _ORDER, _SHAPE)]
    with _checked([(tf.reduce_all(whole), "expected a .npy file of numbers")]):
        parts = tf.strings.split(tf.strings.regex_replace(sizes, " ", ""), ",")
        sizes = tf.strings.to_number(tf.boolean_mask(parts, parts != ""), tf.int64)
        kind = tf.strings.regex_replace(descr, "[<>|=]", "")
    if shape[1:] == (1,):
        sizes = tf.concat([sizes, tf.ones([tf.maximum(2 - tf.size(sizes), 0)], tf.int64)], axis=0)
    right = (tf.size(sizes) == len(shape)) & tf.reduce_all(sizes[1:] == tf.constant(shape[1:], tf.int64))
    item = tf.strings.to_number(tf.strings.substr(kind, 1, 1), tf.int64)
    data = tf.strings.substr(raw, start, tf.strings.length(raw) - start)
    steps, width = sizes[0], int(np.prod(shape[1:]))
    enough = steps <= tf.cast(tf.strings.length(data), tf.int64) // (item * width)
    by_columns = order == "True"
    kept = tf.where(by_columns, steps, tf.minimum(steps, shape[0]))
    with _checked([(right, f"expected numbers (steps, {shape[1:]})"), (enough, "a file cut short")]):
        data = tf.strings.substr(data, 0, tf.cast(kept * width * item, tf.int32))
    flat = _numbers(data, kind, tf.strings.substr(descr, 0, 1) == ">")
    axes = [*range(len(shape) - 1, -1, -1)]
    values = tf.cond(
        by_columns,
        lambda: tf.transpose(tf.reshape(flat, [*shape[:0:-1], -1]), axes),
        lambda: tf.reshape(flat, [-1, *shape[1:]]),
    )
    return tf.ensure_shape(values[: shape[0]], (None, *shape[1:]))


def _checked(conditions):
    """A context in which all of these pairs of condition and message hold."""
    checks = [tf.debugging.Assert(condition, [message]) for condition, message in conditions]
    return tf.control_dependencies([check for check in checks if check is not None])


def _header(raw):
    """The header, and where the numbers begin."""
    numbers = tf.cast(tf.io.decode_raw(tf.strings.substr(raw, 0, 12), tf.uint8, fixed_length=12), tf.int32)
    short = numbers[6] == 1
    start = tf.where(short, 10, 12)
    length = numbers[8] + 256 * numbers[9] + tf.where(short, 0, 65_536 * numbers[10])
    return tf.strings.substr(raw, start, length), tf.minimum(start + length, tf.strings.length(raw))


def _numbers(data, kind, swapped):
    """Bytes as float32 `(numbers,)`."""

    def of(name):
        dtype = tf.as_dtype({"b1": "bool"}.get(name) or np.dtype(name))
        size = int(name[1])

        def read():
            rows = tf.reshape(tf.io.decode_raw(data, tf.uint8), [-1, size])
            if name == "b1":
                return tf.cast(rows[:, 0] != 0, tf.float32)
            if size == 1:
                return tf.cast(tf.bitcast(rows[:, 0], dtype), tf.float32)
            return tf.cast(tf.bitcast(tf.where(swapped, rows[:, ::-1], rows), dtype), tf.float32)

        return read

    def refused():
        with _checked([(False, "expected a .npy file of real numbers")]):
            return tf.zeros([0])

    found = tf.argmax([*(kind == name for name in DTYPES), True], output_type=tf.int32)
    return tf.switch_case(found, [*map(of, DTYPES), refused])
