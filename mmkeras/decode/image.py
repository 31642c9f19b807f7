"""Pictures in TensorFlow ops, brought to one size and one number of channels."""

import tensorflow as tf

# What tf.io.decode_image gets wrong, by the headers: an animated WebP (bit 1 of its flags) corrupts the memory; a BMP
# with a palette (below 16 bits a pixel) gives the numbers of its colours for grey levels, if it gives anything.
_ANIMATED_WEBP = rb"RIFF\C{4}WEBPVP8X\C{4}[\x02\x03\x06\x07\x0a\x0b\x0e\x0f\x12\x13\x16\x17\x1a\x1b\x1e\x1f" + (
    rb"\x22\x23\x26\x27\x2a\x2b\x2e\x2f\x32\x33\x36\x37\x3a\x3b\x3e\x3f]\C*"
)
_SMALL_PALETTE_BMP = rb"BM\C{26}[\x01\x02\x04]\C*"
_PALETTE_BMP = rb"BM\C{26}\x08\C*"


def decode_image(raw, feature):
    """One picture.

    Args:
        raw: scalar string, the bytes of a JPEG, PNG, GIF (first frame), BMP (8 bits a pixel or more) or WebP (not
            animated).
        feature: `Image`.

    Returns:
        `(height, width, channels)`, uint8; other sizes are stretched (bilinear, antialiased), alpha is dropped.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such picture.
    """
    header = tf.strings.substr(raw, 0, 32)
    refused = tf.strings.regex_full_match(header, _ANIMATED_WEBP + b"|" + _SMALL_PALETTE_BMP)
    check = tf.debugging.Assert(tf.logical_not(refused), ["an animated WebP or a BMP of less than 8 bits a pixel"])
    with tf.control_dependencies([check] if check is not None else []):
        pixels = tf.io.decode_image(raw, expand_animations=False)
    pixels.set_shape((None, None, None))
    has_palette = tf.strings.regex_full_match(header, _PALETTE_BMP)
    pixels = tf.cond(has_palette, lambda: _palette(raw, pixels), lambda: pixels)
    pixels = _channels(pixels, feature.channels)
    wanted = (feature.height, feature.width)
    fits = tf.reduce_all(tf.shape(pixels)[:2] == wanted)
    return tf.ensure_shape(tf.cond(fits, lambda: pixels, lambda: _stretch(pixels, wanted)), feature.shape)


def _palette(raw, numbers):
    """The colours `(height, width, 3)` of a BMP's pixels `(height, width, 1)` by its palette of blue, green, red, 0."""
    header = tf.io.decode_raw(tf.strings.substr(raw, 14, 4), tf.int32)[0]
    colours = tf.strings.substr(tf.strings.join([raw, b"\0" * 1024]), 14 + header, 1024)
    colours = tf.reshape(tf.io.decode_raw(colours, tf.uint8), (256, 4))[:, 2::-1]
    return tf.gather(colours, tf.cast(numbers[..., 0], tf.int32))


def _stretch(pixels, size):
    resized = tf.image.resize(tf.cast(pixels, tf.float32), size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _channels(pixels, wanted):
    """1 grey, 2 grey with alpha, 3 colours or 4 with alpha -> `wanted` channels."""
    grey = tf.shape(pixels)[-1] < 3
    if wanted == 3:
        return tf.cond(grey, lambda: tf.repeat(pixels[..., :1], 3, axis=-1), lambda: pixels[..., :3])
    return tf.cond(grey, lambda: pixels[..., :1], lambda: _to_grey(pixels[..., :3]))


def _to_grey(pixels):
    return tf.image.rgb_to_grayscale(tf.ensure_shape(pixels, (None, None, 3)))
