"""Raw values to tensors, in TensorFlow's own ops: the one code that training and the served graph share.

A picture or recording is decoded row by row, so that one corrupt value costs its own row and no other: it comes back as
zeros with a status. Sentences are turned into numbers of words a batch at a time.
"""

import keras
import numpy as np
import tensorflow as tf

from mmkeras.schema import Audio, Image, Text

# The status of one value, as the served bundle answers it.
OK, UNREADABLE = 0, 1

FORMATS = {Image: "a picture (JPEG, PNG, GIF, BMP or WebP)", Audio: "a 16-bit PCM WAV file", Text: "UTF-8 text"}


def image(raw, feature):
    """One picture.

    Args:
        raw: scalar string, the bytes of a JPEG, PNG, GIF (first frame), BMP or WebP file.
        feature: `Image`.

    Returns:
        `(height, width, channels)`, uint8; other sizes are stretched (bilinear, antialiased).

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no picture.
    """
    pixels = tf.io.decode_image(raw, expand_animations=False)
    pixels.set_shape((None, None, None))
    pixels = _channels(pixels, feature.channels)
    size = tf.shape(pixels)[:2]
    wanted = (feature.height, feature.width)
    return tf.ensure_shape(
        tf.cond(tf.reduce_all(size == wanted), lambda: pixels, lambda: _stretch(pixels, wanted)), feature.shape
    )


def _stretch(pixels, size):
    resized = tf.image.resize(tf.cast(pixels, tf.float32), size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def _channels(pixels, wanted):
    """1 grey, 2 grey with alpha, 3 colours or 4 with alpha -> `wanted` channels; alpha is dropped."""
    found = tf.shape(pixels)[-1]
    colours = tf.cond(found < 3, lambda: pixels[..., :1], lambda: pixels[..., :3])
    if wanted == 3:
        return tf.cond(found < 3, lambda: tf.repeat(colours, 3, axis=-1), lambda: colours)
    return tf.cond(
        found < 3, lambda: colours, lambda: tf.image.rgb_to_grayscale(tf.ensure_shape(colours, (None, None, 3)))
    )


def audio(raw, feature):
    """One recording.

    Args:
        raw: scalar string, the bytes of a 16-bit PCM WAV file.
        feature: `Audio`.

    Returns:
        `(samples,)`, float32 in [-1, 1]: channels averaged, the end cut off or filled with zeros.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such file, or another rate than the feature's.
    """
    wave, rate = tf.audio.decode_wav(raw)
    expected = tf.debugging.assert_equal(rate, feature.rate, message="sampling rate of the file")
    with tf.control_dependencies([expected] if expected is not None else []):
        wave = tf.reduce_mean(wave, axis=-1)[: feature.samples]
    return tf.ensure_shape(tf.pad(wave, [[0, feature.samples - tf.shape(wave)[0]]]), feature.shape)


def standardize(text):
    """Text as it is split into words: lower case (any script), apostrophes gone, other punctuation a space.

    Args:
        text: string tensor of any shape, UTF-8.

    >>> standardize(tf.constant("What's the SUM, Élodie?")).numpy().decode().split()
    ['whats', 'the', 'sum', 'élodie']
    """
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, "['\u2019`]", "")
    return tf.strings.regex_replace(text, r"[\p{P}\p{S}]+", " ")


def words(texts):
    """All words of a sequence of str, in order, as a flat numpy array of str."""
    flat = tf.strings.split(standardize(tf.constant(texts, tf.string))).flat_values.numpy()
    return np.array([word.decode() for word in flat], dtype=object)


def tokenizer(feature):
    """A Keras layer from `(batch,)` strings to `(batch, length)` int64 token ids for a fitted `Text`."""
    return keras.layers.TextVectorization(
        standardize=standardize,
        output_sequence_length=feature.length,
        vocabulary=list(feature.vocabulary),
    )


def _rows(decode_one, raw, shape, dtype):
    """Decode every row by itself: `(rows,)` strings -> values `(rows, *shape)`, status `(rows,)` int32.

    Rows that fail are left out by `ignore_errors`, so the others are put back by their number; one spare row at the
    end keeps the data set from being empty.
    """
    count = tf.shape(raw, out_type=tf.int64)[0]
    spare = tf.data.Dataset.from_tensors((count, tf.zeros(shape, dtype)))
    good = (
        tf.data.Dataset.zip(tf.data.Dataset.range(count), tf.data.Dataset.from_tensor_slices(raw))
        .map(lambda row, value: (row, decode_one(value)), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    number, values = good.concatenate(spare).batch(count + 1).get_single_element()
    number = tf.reshape(number, (-1, 1))
    sizes = tf.concat([[count + 1], tf.constant(shape, tf.int64)], axis=0)
    decoded = tf.ensure_shape(tf.scatter_nd(number, values, sizes)[:count], (None, *shape))
    found = tf.scatter_nd(number, tf.ones_like(number[:, 0], tf.int32), [count + 1])[:count]
    return decoded, tf.where(found == 1, OK, UNREADABLE)


def decoder(feature, files=False):
    """A function from `(rows,)` strings to values `(rows, *feature.shape)` and status `(rows,)` int32.

    Args:
        feature: `Image`, `Audio` or fitted `Text`.
        files: whether the strings of a picture or recording are paths instead of the bytes themselves.
    """
    if isinstance(feature, Text):
        return _text_decoder(tokenizer(feature))
    decode_one = image if isinstance(feature, Image) else audio

    def decode(raw):
        def one(value):
            return decode_one(tf.io.read_file(value) if files else value, feature)

        return _rows(one, raw, feature.shape, feature.dtype)

    return decode


def _text_decoder(vectorize):
    def decode(raw):
        clean = tf.strings.unicode_transcode(raw, "UTF-8", "UTF-8", errors="replace")
        return tf.cast(vectorize(clean), tf.int32), tf.where(clean == raw, OK, UNREADABLE)

    decode.layer = vectorize  # the bundle has to keep track of its table
    return decode
