"""What the parts of a GIF say of its frames, in TensorFlow ops: nothing is decoded.

`data` is in all functions the file's bytes, uint8, with 1024 zeros behind them.
"""

import tensorflow as tf

_STEPS = 20_000  # most parts of a GIF that are stepped over in counting its frames
_IMAGE, _EXTENSION = 0x2C, 0x21  # with what the parts of a GIF begin


def _parts(data):
    """Where the first part of a GIF begins, behind the header and the colours."""
    return 13 + _colours(tf.cast(data[10], tf.int64))


def _colours(flags):
    return tf.where(flags >= 128, 6 * 2 ** (flags % 8), 0)


def _size(data, at):
    """Height and width of the frames that begin at `at` `(frames,)`."""
    sizes = tf.cast(tf.gather(data, at[:, None] + [5, 6, 7, 8]), tf.int64)
    return sizes[:, 2] + 256 * sizes[:, 3], sizes[:, 0] + 256 * sizes[:, 1]


def guess(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """At least the number of frames, the greatest height and the greatest width; int64.

    A frame begins with one byte and stands behind a zero, unless it is the first part; of other bytes one pair in 65536
    looks like that.
    """
    first = _parts(data)[None]
    at = tf.concat([first, 1 + tf.where((data[:-10] == 0) & (data[1:-9] == _IMAGE))[:, 0]], axis=0)
    at = at[(at > first) | (tf.range(tf.size(at)) == 0) & (tf.gather(data, at) == _IMAGE)]
    height, width = _size(data, at)
    return tf.size(at, tf.int64), tf.reduce_max(height), tf.reduce_max(width)


def announced(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The number of frames or a few more; height and width of the canvas, or of a larger first part; int64."""
    places = tf.stack([tf.constant(1, tf.int64), _parts(data)])  # the canvas stands where a part at 1 had its size
    height, width = _size(data, places)
    sides = tf.where([True, data[places[1]] == _IMAGE], height * width, 0)
    larger = tf.argmax(sides)
    return guess(data)[0], height[larger], width[larger]


@tf.function(
    input_signature=[tf.TensorSpec([None], tf.uint8)], autograph=False, experimental_attributes={"_noinline": True}
)
def measure(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The number of frames, the greatest height and the greatest width, int64, from part to part as giflib reads them.

    A part is followed by blocks: a byte with the length, as many bytes, and so on to a length of 0. Blocks of one
    length are stepped over at once.
    """
    end = tf.size(data, tf.int64) - 1
    most = tf.minimum(_STEPS, 500 + tf.size(data) // 10)  # a small file has no frames for more

    def byte(at):
        return tf.cast(data[tf.minimum(at, end)], tf.int64)

    def is_part(steps, at, *_):
        return (steps < most) & ((byte(at) == _IMAGE) | (byte(at) == _EXTENSION))

    def part(steps, at, count, height, width):
        is_image = byte(at) == _IMAGE
        high, wide = _size(data, tf.minimum(at, end - 9)[None])
        blocks = at + tf.where(is_image, 11 + _colours(byte(at + 9)), 2)
        blocks += tf.cast(tf.logical_not(is_image) & (byte(blocks) == 0), tf.int64)  # giflib skips an empty first one
        steps, at = tf.while_loop(is_block, skip, (steps + 1, blocks))
        seen = tf.cast(is_image, tf.int64)
        return steps, at + 1, count + seen, tf.maximum(height, high[0] * seen), tf.maximum(width, wide[0] * seen)

    def is_block(steps, at):
        return (steps < most) & (byte(at) > 0)

    def skip(steps, at):
        length = byte(at)
        others = data[at : at + 4096 * (length + 1) : length + 1] != tf.cast(length, tf.uint8)
        others = tf.concat([tf.ensure_shape(others, (None,)), [True]], axis=0)
        alike = tf.argmax(others)
        return steps + 1, at + alike * (length + 1)

    start = (tf.constant(0), _parts(data), *[tf.constant(0, tf.int64)] * 3)
    steps, _, count, height, width = tf.while_loop(is_part, part, start)
    return tf.where(steps < most, count, tf.constant(2**31 - 1, tf.int64)), height, width
