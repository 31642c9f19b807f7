"""How a photo has to be turned, as its EXIF data says: JPEG, PNG and WebP, in TensorFlow ops."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mmkeras.decode.fields import choose, numbers, part
from mmkeras.decode.graph import apart

TAG, SHORT, LONG = 0x0112, 3, 4  # EXIF's number of the orientation, and the types that it may have
_STEPS = 4096  # most parts of a file that are stepped over
_ENTRIES = 1000  # most entries of a directory that are read
_BARE = np.isin(np.arange(256), [0x00, 0x01, *range(0xD0, 0xDA)])  # a JPEG's markers that no length follows


@functools.cache
def orientation() -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from a picture's bytes, scalar string, to its EXIF orientation.

    That is a scalar int32 from 1 to 8; 1: upright, or not said.
    """
    return apart(_orientation, tf.TensorSpec([], tf.string))


def _orientation(raw):
    kinds = {b"\xff\xd8": _of_jpeg, b"\x89P": _of_png, b"RI": _of_webp}
    found = choose(part(raw, 0, 2), kinds, lambda raw: tf.constant(b""), raw)
    found = tf.where(part(found, 0, 6) == b"Exif\0\0", part(found, 6, tf.strings.length(found)), found)
    return tf.cond(found == b"", lambda: tf.constant(1), lambda: _tagged(found))


def upright(pixels: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
    """Pictures `([frames,] height, width, channels)`, decoded of the bytes `raw`, turned as their EXIF data says."""
    with tf.control_dependencies([pixels]):  # a loop that is cancelled, as others fail, would fail the whole batch
        found = orientation()(tf.identity(raw))
    frames = [False] * (pixels.shape.rank - 3)

    def turn():
        sides = (1, 0, 2) if not frames else (0, 2, 1, 3)
        lying = tf.cond(found >= 5, lambda: tf.transpose(pixels, sides), lambda: pixels)
        upside_down, mirrored = (tf.reduce_any(found == those) for those in ([3, 4, 7, 8], [2, 3, 6, 7]))
        return tf.raw_ops.Reverse(tensor=lying, dims=[*frames, upside_down, mirrored, False])

    return tf.ensure_shape(tf.cond(found == 1, lambda: pixels, turn), (None,) * pixels.shape.rank)


def _tagged(tiff):
    """The orientation in the first directory of EXIF data, which is a TIFF file."""
    little = part(tiff, 0, 4) == b"II*\0"

    def number(at, size):
        places = numbers(tiff, at, size, tf.uint8)
        return tf.reduce_sum(tf.where(little, places, places[::-1]) * 256 ** np.arange(size, dtype=np.int64))

    start = tf.cast(tf.minimum(number(4, 4), 2**30), tf.int32)
    count = tf.minimum(number(start, 2), _ENTRIES)
    entries = tf.io.decode_raw(part(tiff, start + 2, tf.cast(12 * count, tf.int32)), tf.uint8)
    entries = tf.cast(tf.reshape(entries[: tf.size(entries) // 12 * 12], (-1, 12)), tf.int32)

    def column(at):
        low, high = entries[:, at], entries[:, at + 1]
        return tf.where(little, low + 256 * high, 256 * low + high)

    kind, short = column(2), column(8)
    long = tf.where(little, short + 65536 * column(10), 65536 * short + column(10))
    wanted = (column(0) == TAG) & ((kind == SHORT) | (kind == LONG))
    value = tf.where(wanted, tf.where(kind == SHORT, short, long), 0)
    value = tf.reduce_sum(value * tf.cast(tf.cumsum(tf.cast(wanted, tf.int32)) == 1, tf.int32))  # the first one
    known = little | (part(tiff, 0, 4) == b"MM\0*")
    return tf.where(known & (value >= 1) & (value <= 8), value, 1)


def _of_jpeg(raw):
    """The first EXIF data before the pixels."""
    end = tf.strings.length(raw)

    def searching(at, state):
        return (state == 0) & (at < end)

    def step(at, state):
        four = tf.io.decode_raw(tf.strings.substr(raw, at, 4), tf.uint8, fixed_length=4)
        mark, kind, high, low = tf.unstack(tf.cast(four, tf.int32), 4)
        is_mark = (mark == 0xFF) & (kind < 0xFF)  # else a fill byte, or one out of place
        found = is_mark & (kind == 0xE1) & (part(raw, at + 4, 6) == b"Exif\0\0")
        over = is_mark & ((kind == 0xDA) | (kind == 0xD9))
        far = tf.where(is_mark, 2 + tf.where(tf.gather(_BARE, kind), 0, tf.maximum(256 * high + low, 2)), 1)
        return tf.where(found, at, at + far), tf.where(found, 1, tf.where(over, 2, 0))

    at, state = tf.while_loop(searching, step, (2, 0), maximum_iterations=_STEPS, parallel_iterations=1)
    size = tf.cast(numbers(raw, at + 2, 2, tf.uint16, little_endian=False)[0], tf.int32)
    return tf.where(state == 1, part(raw, at + 4, size - 2), b"")


def _of_png(raw):
    """The first EXIF chunk, before or after the pixels."""
    before = tf.strings.length(tf.strings.regex_replace(raw, rb"eXIf(II\*\x00|MM\x00\*)\C*", b"", replace_global=False))
    size = tf.cast(numbers(raw, before - 4, 4, tf.int32, little_endian=False)[0], tf.int32)
    return tf.where(before < tf.strings.length(raw), part(raw, before + 4, tf.maximum(size, 0)), b"")


def _of_webp(raw):
    """The chunk "EXIF", if the header says that there is one."""
    end = tf.strings.length(raw)

    def searching(at, found):
        return tf.logical_not(found) & (at + 8 <= end)

    def step(at, found):
        size = numbers(raw, at + 4, 4, tf.int32)[0]
        found = part(raw, at, 4) == b"EXIF"
        far = tf.cast(tf.clip_by_value(size + size % 2, 0, tf.cast(end - at, tf.int64)), tf.int32)
        return tf.where(found, at, at + 8 + far), found

    def look():
        loop = tf.while_loop(searching, step, (12, False), maximum_iterations=_STEPS, parallel_iterations=1)
        size = tf.cast(tf.maximum(numbers(raw, loop[0] + 4, 4, tf.int32)[0], 0), tf.int32)
        return tf.where(loop[1], part(raw, loop[0] + 8, size), b"")

    said = (part(raw, 12, 4) == b"VP8X") & (numbers(raw, 20, 1, tf.uint8)[0] // 8 % 2 == 1)
    return tf.cond(said, look, lambda: tf.constant(b""))
