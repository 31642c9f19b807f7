"""Pictures in TensorFlow ops, brought to one size and one number of channels.

What `tf.io.decode_image` does not do by itself: it believes any size that a header announces, and takes the memory for
it; an animated WebP corrupts its memory; of a BMP with a palette it gives the numbers of the colours. It does not turn
photos as EXIF says, reads 16 bits as 8, and has its own ideas of what is transparent. A PNG of a small size and of
nothing unusual needs no look beyond some patterns; of every other file the size is read first.
"""

import functools
import math

import numpy as np
import tensorflow as tf

from mmkeras.decode.fields import choose, numbers, part
from mmkeras.decode.graph import apart
from mmkeras.decode.ground import composite
from mmkeras.decode.orientation import upright
from mmkeras.decode.pixels import decode_first, pixels_of_bmp, pixels_of_gif, pixels_of_png
from mmkeras.inputs import Image, Video

_REFUSED = 2**62  # the height of what is no picture, or none that can be decoded
_STEPS = 1000  # most parts of a JPEG that are stepped over in search of its size
_SCANS, _USUAL_SCANS = 100, 16  # most scans of a JPEG; so many are nothing unusual, each of more counts as pixels
_TEXTS = 8  # most compressed texts of a PNG: each of 8 kB takes 8 MB


def decode_image(raw: tf.Tensor, feature: Image) -> tf.Tensor:
    """One picture.

    Args:
        raw: scalar string, the bytes of a JPEG, PNG, GIF (first frame), BMP (8 bits a pixel or more) or WebP (not
            animated).
        feature: `Image`.

    Returns:
        `(height, width, channels)`, uint8: turned as EXIF says with `feature.upright`, then see `bring_to_size`.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such picture; samples of 16 bits that `feature.bits` does not
            allow; or bytes that announce more work than
            `feature.max_pixels` pixels are: see `announces_more`; these are not decoded.
    """
    small = _is_small_png(raw, math.isqrt(feature.max_pixels))
    small = tf.cond(small, lambda: _is_plain_png(raw), lambda: tf.constant(False))
    pixels = tf.cond(
        small, lambda: decode_first(raw), lambda: _decode_other(feature.max_pixels, feature.upright, feature.bits)(raw)
    )
    pixels.set_shape((None, None, None))
    ready = tf.reduce_all(tf.shape(pixels) == feature.shape)
    pixels = tf.cond(ready, lambda: pixels, lambda: _to_size(feature)(pixels))
    return tf.ensure_shape(pixels, feature.shape)


@functools.cache
def _decode_other(limit, turns, bits):
    """A function from the bytes of what is no small and plain PNG to its pixels."""

    def decode(raw):
        usual = _is_small_jpeg(raw, math.isqrt(limit)) & (_scans(raw) <= _USUAL_SCANS)
        pixels = tf.cond(usual, lambda: decode_first(raw), lambda: _decode_with_care(raw, limit, turns, bits))
        return tf.ensure_shape(pixels, (None, None, None))

    return apart(decode, tf.TensorSpec([], tf.string))


@functools.cache
def _to_size(feature):
    """`bring_to_size` of one picture."""
    return apart(lambda pixels: bring_to_size(pixels, feature), tf.TensorSpec([None, None, None], tf.uint8))


def bring_to_size(pixels: tf.Tensor, feature: Image | Video) -> tf.Tensor:
    """A picture, or a stack of pictures of one size, as a model receives it.

    Args:
        pixels: `(height, width, channels)` or `(frames, height, width, channels)`, uint8, of known rank; 1 channel is
            grey, 2 grey with alpha, 3 colours, 4 colours with alpha.
        feature: `Image` or `Video`: its height, width, channels, fit and background.

    Returns:
        `([frames,] feature.height, feature.width, feature.channels)`, uint8, without alpha: what is transparent shows
        the background. A picture of another size is resized (bilinear, antialiased): with fit "stretch" to the size;
        with "crop", keeping its aspect ratio, until it covers the size, of which the middle is kept; with "pad" until
        it fits into the size, in the middle of black.
    """
    pixels = composite(pixels, feature.channels, feature.background)
    wanted = (feature.height, feature.width)
    fits = tf.reduce_all(tf.shape(pixels)[-3:-1] == wanted)
    pixels = tf.cond(fits, lambda: pixels, lambda: _resize(pixels, wanted, feature.fit))
    return tf.ensure_shape(pixels, (*pixels.shape[:-3], *wanted, feature.channels))


def _resize(pixels, wanted, fit):
    """As resizing the whole picture and then cutting or padding it, but without the pixels that are cut off."""
    old, wanted = tf.cast(tf.shape(pixels)[-3:-1], tf.float64), tf.constant(wanted, tf.float64)
    new = wanted
    if fit != "stretch":
        covering = tf.reduce_max if fit == "crop" else tf.reduce_min
        new = tf.maximum(tf.round(old * covering(wanted / old)), 1)
    start = tf.cast(tf.cast((wanted - new) / 2, tf.int64), tf.float32)  # an odd pixel is one at the end
    resized = tf.raw_ops.ScaleAndTranslate(
        images=pixels if pixels.shape.rank == 4 else pixels[None],
        size=tf.cast(wanted, tf.int32),
        scale=tf.cast(new, tf.float32) / tf.cast(old, tf.float32),
        translation=start,
        kernel_type="triangle",
        antialias=True,
    )
    resized = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    return resized if pixels.shape.rank == 4 else resized[0]


def _below(side):
    """The pattern of two bytes, the larger first, that are a number up to `side`, if not of all such numbers."""
    if side < 256:
        return rb"\x00[\x00-\x%02x]" % min(side, 127)  # bytes above 127 cannot be written in a pattern
    return rb"[\x00-\x%02x]\C" % min(side // 256 - 1, 127)


def _is_small_png(raw, side):
    """Whether this is a PNG of at most 8 bits of which neither side passes `side`; of some that are it is not said."""
    number = rb"\x00\x00" + _below(side)
    return tf.strings.regex_full_match(
        tf.strings.substr(raw, 0, 25), rb"\CPNG\r\n\x1a\n\C{4}IHDR" + number + number + rb"[\x01-\x08]"
    )


def _is_plain_png(raw):
    """Whether a PNG has neither many texts nor EXIF data nor a colour that is transparent."""
    return (_texts(raw) <= _TEXTS) & (_count(raw, b"tRNS", 1) + _count(raw, b"eXIf", 1) == 0)


def _is_small_jpeg(raw, side):
    """The same of a JPEG, if it begins as libjpeg writes it: one table and grey, or two tables and colours."""
    head = tf.strings.join([tf.strings.substr(raw, 0, 167), b"\0" * 167])

    def reads(at, *marks):
        return tf.reduce_any(tf.strings.substr(head, at, len(marks[0])) == tf.constant(marks))

    grey = reads(89, b"\xff\xc0\0\x0b")
    colours = reads(89, b"\xff\xdb\0\x43") & reads(158, b"\xff\xc0\0\x11", b"\xff\xc2\0\x11")
    usual = reads(0, b"\xff\xd8\xff\xe0\0\x10") & reads(20, b"\xff\xdb\0\x43") & (grey | colours)
    sides = tf.strings.substr(head, tf.where(grey, 94, 163), 4)
    return usual & tf.strings.regex_full_match(sides, _below(side) * 2)


def _decode_with_care(raw, limit, turns, bits):
    """The pixels of a file that is not known to be harmless."""
    pixels = choose(
        tf.strings.substr(raw, 0, 2),
        {start: _decode_checked(sizes, limit, bits) for start, sizes in _sizes().items()},
        _decode_checked(_no_picture, limit, 8),
        raw,
    )
    return upright(pixels, raw) if turns else pixels


def announces_more(raw: tf.Tensor, limit: int) -> tf.Tensor:
    """Whether this is a picture, scalar string, that announces more work than `limit` pixels are: scalar bool.

    That is one of more pixels; a JPEG of more than 100 scans, or of more than 16 whose scans together have more than 16
    times the limit; or a PNG with more than 8 compressed texts.
    """
    height, width = tf.unstack(_announced(raw))
    return (height < _REFUSED) & (height > limit // tf.maximum(width, 1))


def announced_size(raw: tf.Tensor) -> tuple[int, int]:
    """Height and width that a picture's header announces, int; 0 of bytes that are no picture that can be decoded."""
    height, width = _announced(raw).numpy().tolist()
    return (height, width) if height < _REFUSED else (0, 0)


def many_parts(raw: bytes) -> str | None:
    """What is said of a file whose parts are more than a picture needs, None of others."""
    if raw.startswith(b"\xff\xd8") and (scans := int(_scans(tf.constant(raw)))) > _USUAL_SCANS:
        most = f"more than {_SCANS}" if scans > _SCANS else "too many for its size"
        return f"expected a picture, found a JPEG of {most} scans"
    if raw.startswith(b"\x89P") and _texts(tf.constant(raw)) > _TEXTS:
        return f"expected a picture, found a PNG with more than {_TEXTS} compressed texts"
    return None


def _announced(raw):
    def measure(sizes):
        return lambda raw: sizes(raw)[0]

    sizes = {start: measure(function) for start, function in _sizes().items()}
    return choose(tf.strings.substr(raw, 0, 2), sizes, measure(_no_picture), raw)


def _sizes():
    """How the size is found, by the first bytes of a file."""
    return {b"\xff\xd8": _jpeg, b"GI": _gif, b"\x89P": _png, b"RI": _webp, b"BM": _bmp}


@functools.cache
def _decode_checked(sizes, limit, bits):
    """A function from the bytes of one format to its pixels."""
    decode_pixels = {_png: functools.partial(pixels_of_png, bits=bits), _gif: pixels_of_gif, _bmp: pixels_of_bmp}

    def decode(raw):
        size, raw = sizes(raw)
        height, width = size[0], size[1]
        small = height <= limit // tf.maximum(width, 1)  # their product may not fit into 64 bits
        check = tf.debugging.Assert(small, ["no picture that can be decoded, or one of too many pixels:", size])
        with tf.control_dependencies([check]):
            pixels = decode_pixels.get(sizes, decode_first)(tf.identity(raw))
        return tf.ensure_shape(pixels, (None, None, None))

    return apart(decode, tf.TensorSpec([], tf.string))


def _refused():
    return tf.constant([_REFUSED, 1], tf.int64)


def _endless():
    """The size of what takes too much work, however large it is."""
    return tf.constant([_REFUSED // 2, 1], tf.int64)


# Each of these: the bytes of a file -> height and width (2,) int64 that it announces, and the bytes to decode.


def _no_picture(raw):
    return _refused(), raw


def _count(raw, mark, most):
    """How often the bytes `mark` stand in these, at most `most` times: scalar int64."""
    return tf.maximum(tf.raw_ops.StringSplitV2(input=tf.reshape(raw, [1]), sep=mark, maxsplit=most).shape[1] - 1, 0)


def _texts(raw):
    """How many compressed texts a PNG has, if not too many."""
    return _count(raw, b"zTXt", _TEXTS + 1) + _count(raw, b"iTXt", _TEXTS + 1)


def _scans(raw):
    """How many scans a JPEG has at most, if not too many: in a scan's own bytes 0xFF is followed by 0."""
    return _count(raw, b"\xff\xda", _SCANS + 1)


def _png(raw):
    first = part(raw, 12, 4) == b"IHDR"
    sizes = tf.abs(numbers(raw, 16, 8, tf.int32, little_endian=False))[::-1]
    sizes = tf.where(_texts(raw) > _TEXTS, _endless(), sizes)
    return tf.where(first, sizes, _refused()), raw


def _bmp(raw):
    """Both as `tf.io.decode_image` reads them, in a header of the oldest kind too, which it cannot decode."""
    sizes = tf.abs(numbers(raw, 18, 8, tf.int32))[::-1]
    bits = numbers(raw, 28, 2, tf.uint16)[0]
    return tf.where(bits < 8, _refused(), sizes), raw


def _webp(raw):
    kinds = {b"VP8 ": _webp_lossy, b"VP8L": _webp_lossless, b"VP8X": _webp_extended}
    return choose(part(raw, 12, 4), kinds, lambda raw: _refused(), raw), raw


def _webp_lossy(raw):
    return (numbers(raw, 26, 4, tf.uint16) % 2**14)[::-1]


def _webp_lossless(raw):
    bits = numbers(raw, 21, 4, tf.int32)[0]
    return 1 + tf.stack([bits // 2**14 % 2**14, bits % 2**14])


def _webp_extended(raw):
    """The canvas; a decoder refuses a picture of another size in it."""
    sizes = 1 + tf.reshape(numbers(raw, 24, 6, tf.uint8), (2, 3)) @ tf.constant([[1], [2**8], [2**16]], tf.int64)
    animated = numbers(raw, 20, 1, tf.uint8)[0] // 2 % 2 == 1
    return tf.where(animated, _refused(), sizes[::-1, 0])


_FRAME = np.isin(np.arange(256), [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)])
_BARE = np.isin(np.arange(256), [0x00, 0x01, *range(0xD0, 0xDA)])  # markers that no length follows


def _jpeg(raw):
    """By the first marker of a frame, which is looked for as a decoder does: `tf.io.extract_jpeg_shape` would decode
    the scans of a progressive file."""

    end = tf.strings.length(raw)

    def searching(at, found):
        return tf.logical_not(found) & (at < end)

    def step(at, found):
        four = tf.io.decode_raw(tf.strings.substr(raw, at, 4), tf.uint8, fixed_length=4)
        mark, kind, high, low = tf.unstack(tf.cast(four, tf.int32), 4)
        is_mark = mark == 0xFF
        far = 2 + tf.where(tf.gather(_BARE, kind), 0, tf.maximum(256 * high + low, 2))
        far = tf.where(is_mark & (kind < 0xFF), far, 1)  # a fill byte, or one out of place
        found = is_mark & tf.gather(_FRAME, kind)
        return tf.where(found, at, at + far), found

    at, found = tf.while_loop(searching, step, (2, False), maximum_iterations=_STEPS, parallel_iterations=1)
    sizes, scans = numbers(raw, at + 5, 4, tf.uint16, little_endian=False), _scans(raw)
    sizes *= tf.stack([-(-scans // _USUAL_SCANS), 1])
    return tf.where(found, tf.where(scans > _SCANS, _endless(), sizes), _refused()), raw


_LOOKING, _SKIPPING, _IN_FRAME, _DONE, _BROKEN = range(5)


def _gif(raw):
    """The larger of canvas and first frame, and the file up to the end of this frame: a decoder would take the memory
    for all frames, each of which has a size of its own."""
    data = tf.pad(tf.io.decode_raw(raw, tf.uint8), [[0, 16]])

    def at_most(at):
        return data[tf.minimum(at, tf.size(data) - 1)]  # 0 behind the end

    def step(at, state, frame):
        byte = tf.cast(at_most(at), tf.int32)
        looking, begins, ends = state == _LOOKING, byte == ord(","), byte == 0
        frame = tf.where(looking, at, frame)
        far = tf.where(looking, tf.where(begins, 11 + _colours(at_most(at + 9)), 2), _blocks(data, at, byte))
        record = tf.where(begins, _IN_FRAME, tf.where(byte == ord("!"), _SKIPPING, _BROKEN))
        after = tf.where(ends, tf.where(state == _IN_FRAME, _DONE, _LOOKING), state)
        return at + far, tf.where(looking, record, after), frame

    at, state, frame = tf.while_loop(
        lambda at, state, frame: state < _DONE,
        step,
        (13 + _colours(data[10]), _LOOKING, 0),
        maximum_iterations=100 + tf.size(data) // 64,  # a step for each part, or run of blocks of one size
        parallel_iterations=1,
    )
    sides = [numbers(raw, 6, 4, tf.uint16), numbers(raw, frame + 5, 4, tf.uint16)]
    larger = tf.where(tf.reduce_prod(sides[0]) > tf.reduce_prod(sides[1]), sides[0], sides[1])
    complete = (state == _DONE) & (at <= tf.strings.length(raw))
    return tf.where(complete, larger[::-1], _refused()), tf.strings.join([tf.strings.substr(raw, 0, at), b";"])


def _colours(flags):
    """The bytes of a GIF's table of colours."""
    flags = tf.cast(flags, tf.int32)
    return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)


def _blocks(data, at, size):
    """The bytes of all blocks of one size that follow each other, each with its size before it; 1 for the size 0."""
    sizes = tf.cast(data[at : at + 4096 * (size + 1) : size + 1], tf.int32)
    run = tf.reduce_sum(tf.math.cumprod(tf.cast(sizes == size, tf.int32)))
    return tf.where(size == 0, 1, run * (size + 1))
