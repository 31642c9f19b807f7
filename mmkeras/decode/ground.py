"""What is seen through the transparent places of pictures: a ground of one colour.

TensorFlow gives alpha as a channel, but for two kinds of file: a PNG that declares one colour transparent, and a GIF,
whose transparent places come back black.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmkeras.decode.fields import numbers, part
from mmkeras.decode.graph import apart

WHITE = b"\xff" * 768  # as many bytes as a GIF's largest table of colours
_STEPS = 20_000  # most parts of a GIF that are stepped over
_IMAGE, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9  # how the parts of a GIF begin


def composite(pixels: tf.Tensor, channels: int, ground: Any) -> tf.Tensor:
    """Pictures `(..., height, width, any)`, uint8, as `(..., channels)`.

    Args:
        pixels: 1 channel is grey, 2 grey with alpha, 3 colours, 4 colours with alpha.
        channels: 1 or 3.
        ground: red, green and blue that are seen through what is transparent.
    """

    def colours(found):
        grey = tf.shape(found)[-1] < 3
        return tf.cond(grey, lambda: tf.repeat(found[..., :1], 3, axis=-1), lambda: found[..., :3])

    def over():
        alpha = tf.cast(pixels[..., -1:], tf.int32)
        mixed = _over(colours(pixels), alpha, ground)
        return mixed if channels == 3 else _grey(mixed)

    def opaque():
        if channels == 3:
            return colours(pixels)
        return tf.cond(tf.shape(pixels)[-1] < 3, lambda: pixels[..., :1], lambda: _grey(pixels[..., :3]))

    return tf.cond(tf.shape(pixels)[-1] % 2 == 0, over, opaque)


def _over(colours, alpha, ground):
    mixed = tf.cast(colours, tf.int32) * alpha + tf.constant(ground, tf.int32) * (255 - alpha)
    return tf.cast((mixed + 127) // 255, tf.uint8)  # rounded


def _grey(colours):
    return tf.image.rgb_to_grayscale(tf.ensure_shape(colours, (*colours.shape[:-1], 3)))


def transparent_colour(raw: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """The pixels of a PNG, uint8 or uint16, with alpha if it declares one grey or colour transparent.

    Args:
        raw: scalar string, the PNG's bytes.
        pixels: `(height, width, channels)` of the samples' own scale; of fewer than 8 bits, of 255.
    """
    head = tf.strings.regex_replace(raw, rb"IDAT\C*", b"", replace_global=False)
    before = tf.strings.length(tf.strings.regex_replace(head, rb"tRNS\C*", b"", replace_global=False))
    depth, kind = tf.unstack(numbers(raw, 24, 2, tf.uint8))

    def with_alpha():
        key = numbers(raw, before + 4, 6, tf.uint16, little_endian=False)[: tf.shape(pixels)[-1]]
        key = tf.where(depth < 8, key * 255 // tf.maximum(2 ** tf.minimum(depth, 8) - 1, 1), key)
        shown = tf.reduce_any(tf.cast(pixels, tf.int64) != key, axis=-1, keepdims=True)
        return tf.concat([pixels, tf.cast(shown, pixels.dtype) * pixels.dtype.max], axis=-1)

    declared = (before < tf.strings.length(head)) & ((kind == 0) | (kind == 2))  # a palette's alpha is there already
    found = tf.cond(declared & (tf.shape(pixels)[-1] % 2 == 1), with_alpha, lambda: pixels)
    return tf.ensure_shape(found, (None, None, None))


@functools.cache
def gif_alpha() -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function from a GIF, scalar string, and its frames `(frames, height, width, 3)` to these.

    With alpha if the first does not show a colour everywhere: each frame is drawn over those before it. Where any has
    drawn is found by decoding the file once more with all its colours white.
    """
    return apart(_gif_alpha, tf.TensorSpec([], tf.string), tf.TensorSpec([None, None, None, None], tf.uint8))


def _gif_alpha(raw, pixels):
    def with_alpha():
        drawn = tf.io.decode_image(_walk(raw, lambda parts, clear, image: True)[0], expand_animations=True)
        return tf.concat([pixels, tf.ensure_shape(drawn, (None, None, None, 3))[..., :1]], axis=-1)

    _, clear = _walk(raw, lambda parts, clear, image: tf.logical_not(clear | image))
    return tf.ensure_shape(tf.cond(clear, with_alpha, lambda: pixels), (None, None, None, None))


def _walk(raw, more):
    """A GIF with all its colours white, as far as it is read; and whether its first frame may not show some places.

    Args:
        raw: scalar string.
        more: whether to read on, of the number of parts, whether a place was clear, and whether a frame has been seen.
    """
    data = tf.pad(tf.io.decode_raw(raw, tf.uint8), [[0, 16]])
    canvas = numbers(raw, 6, 4, tf.uint16)
    colours = _table(data[10])

    def byte(at):
        return tf.cast(data[tf.minimum(at, tf.size(data) - 1)], tf.int32)

    def step(parts, at, clear, image, pieces):
        is_image = byte(at) == _IMAGE
        table = tf.where(is_image, _table(byte(at + 9)), 0)
        sides = numbers(raw, at + 1, 8, tf.uint16)
        covers = tf.reduce_all(sides[:2] == 0) & tf.reduce_all(sides[2:] >= canvas)
        seen = tf.where(is_image, ~covers, (byte(at + 1) == _CONTROL) & (byte(at + 3) % 2 == 1))
        blocks = at + tf.where(is_image, 11 + table, 2)
        blocks += tf.cast(~is_image & (byte(blocks) == 0), tf.int32)  # giflib skips an empty first one
        end = 1 + tf.while_loop(lambda at: byte(at) > 0, lambda at: _skip(data, at, byte(at)), (blocks,))[0]
        place = tf.where(is_image, at + 10, end)
        piece = [part(raw, at, place - at), part(WHITE, 0, table), part(raw, place + table, end - place - table)]
        return parts + 1, end, clear | (seen & ~image), image | is_image, pieces.write(parts, tf.strings.join(piece))

    def going(parts, at, clear, image, pieces):
        known = (byte(at) == _IMAGE) | (byte(at) == _EXTENSION)
        return known & (at < tf.size(data)) & (parts < _STEPS) & more(parts, clear, image)

    pieces = tf.TensorArray(tf.string, 0, dynamic_size=True, element_shape=())
    start = (0, 13 + colours, False, False, pieces)
    _, at, clear, _, pieces = tf.while_loop(going, step, start, parallel_iterations=1)
    head = tf.strings.join([part(raw, 0, 13), part(WHITE, 0, colours)])
    rest = part(raw, at, tf.strings.length(raw))
    return tf.strings.join([head, tf.strings.reduce_join(pieces.stack()), rest]), clear


def _table(flags: Any) -> tf.Tensor:
    """The bytes of a GIF's table of colours."""
    flags = tf.cast(flags, tf.int32)
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _skip(data, at, size):
    """The place behind all blocks of one size that follow each other."""
    sizes = tf.cast(data[at : at + 4096 * (size + 1) : size + 1], tf.int32)
    run = tf.reduce_sum(tf.math.cumprod(tf.cast(sizes == size, tf.int32)))
    return at + run * (size + 1)
