"""The pixels of one picture as they are meant: uint8 `(height, width, 1 to 4)`, alpha where the file has it."""

import tensorflow as tf

from mmkeras.decode.fields import numbers, part
from mmkeras.decode.ground import gif_alpha, transparent_colour


def decode_first(raw: tf.Tensor) -> tf.Tensor:
    """What TensorFlow makes of a picture, scalar string; of several frames the first."""
    return tf.ensure_shape(tf.io.decode_image(raw, expand_animations=False), (None, None, None))


def sixteen_bits(raw: tf.Tensor) -> tf.Tensor:
    """Whether this is a PNG, scalar string, of 16 bits a sample: scalar bool."""
    return (part(raw, 0, 2) == b"\x89P") & (part(raw, 24, 1) == b"\x10")


def pixels_of_png(raw: tf.Tensor, bits: int) -> tf.Tensor:
    """The pixels of a PNG; of one of 16 bits a sample as many of them as are used, and none with `bits=8`."""
    if bits == 8:
        wrong = tf.debugging.Assert(~sixteen_bits(raw), ["expected 8 bits a sample, received a PNG of 16"])
        with tf.control_dependencies([wrong] if wrong is not None else []):
            return transparent_colour(raw, decode_first(raw))
    return tf.cond(sixteen_bits(raw), lambda: _narrowed(raw, bits), lambda: transparent_colour(raw, decode_first(raw)))


def _narrowed(raw, bits):
    """The pixels of a PNG of 16 bits a sample, of which so many are used; alpha uses all."""
    pixels = tf.cast(transparent_colour(raw, tf.io.decode_png(raw, dtype=tf.uint16)), tf.int32)
    channels = tf.shape(pixels)[-1]
    alpha = (channels % 2 == 0) & (tf.range(channels) == channels - 1)
    most = tf.reduce_max(tf.where(alpha, 0, pixels))
    wrong = tf.debugging.Assert(most < 2**bits, [f"expected samples of {bits} bits, received", most])
    with tf.control_dependencies([wrong] if wrong is not None else []):
        return tf.cast(pixels // tf.where(alpha, 2**8, 2 ** (bits - 8)), tf.uint8)


def pixels_of_gif(raw: tf.Tensor) -> tf.Tensor:
    """The pixels of the first frame of a GIF."""
    pixels = decode_first(raw)[None]
    with tf.control_dependencies([pixels]):
        return gif_alpha()(tf.identity(raw), pixels)[0]


def pixels_of_bmp(raw: tf.Tensor) -> tf.Tensor:
    """The pixels of a BMP: its fourth byte is no alpha, unless the header says which bits are."""
    pixels = decode_first(raw)
    header, mask = numbers(raw, 14, 4, tf.int32)[0], numbers(raw, 66, 4, tf.int32)[0]
    alpha = (header >= 56) & (numbers(raw, 30, 4, tf.int32)[0] == 3) & (mask != 0)
    pixels = tf.cond(alpha, lambda: pixels, lambda: pixels[..., :3])
    has_palette = tf.strings.regex_full_match(tf.strings.substr(raw, 0, 30), rb"BM\C{26}\x08\x00")
    return tf.cond(has_palette, lambda: _palette(raw, pixels), lambda: pixels)


def _palette(raw, places):
    """The colours `(height, width, 3)` of a BMP's pixels `(height, width, 1)` by its palette of blue, green, red, 0."""
    header = tf.io.decode_raw(tf.strings.substr(raw, 14, 4), tf.int32)[0]
    colours = tf.io.decode_raw(part(raw, 14 + header, 1024), tf.uint8, fixed_length=1024)
    colours = tf.reshape(colours, (256, 4))[:, 2::-1]
    return tf.gather(colours, tf.cast(places[..., 0], tf.int32))
