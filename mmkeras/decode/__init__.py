"""Raw values to tensors, in TensorFlow's own ops: the one code that training and the served graph share.

A picture or recording is decoded row by row, so that one corrupt value costs its own row and no other: it comes back as
zeros with a status. Sentences are turned into numbers of words a batch at a time.
"""

import functools
import os

import tensorflow as tf

from mmkeras.decode.audio import any_file, decode_audio, wav
from mmkeras.decode.image import decode_image
from mmkeras.decode.text import tokenizer, words
from mmkeras.schema import Audio, Image, Text

__all__ = ["OK", "UNREADABLE", "decoder", "in_chunks", "path_reason", "reason", "words"]

# The status of one value, as the served bundle answers it.
OK, UNREADABLE = 0, 1

FORMATS = {
    Image: "a picture (JPEG, PNG, GIF, BMP, WebP without animation)",
    Audio: "a recording (WAV of PCM or float, FLAC, OGG, MP3)",
    Text: "UTF-8 text",
}


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
        files: whether the strings of a picture or recording are paths instead of the bytes themselves; recordings may
            then be FLAC, OGG and MP3 too. Not for a served graph.
    """
    if isinstance(feature, Text):
        return _text_decoder(tokenizer(feature))

    def one(value):
        value = tf.io.read_file(value) if files else value
        if isinstance(feature, Image):
            return decode_image(value, feature)
        return decode_audio(value, feature, any_file if files else wav)

    def decode(raw):
        return _rows(one, raw, feature.shape, feature.dtype)

    return decode


def _text_decoder(vectorize):
    def decode(raw):
        clean = tf.strings.unicode_transcode(raw, "UTF-8", "UTF-8", errors="replace")
        return tf.cast(vectorize(clean), tf.int32), tf.where(clean == raw, OK, UNREADABLE)

    decode.layer = vectorize  # the bundle has to keep track of its table
    return decode


CHUNK = 1024  # distinct values decoded at a time: bounds the memory beside the result


@functools.lru_cache(maxsize=64)
def _compiled(feature):
    """The decoder of an input's files (or texts) as one function, traced once for all tables."""
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(decoder(feature, files=True), input_signature=signature, autograph=False)


def in_chunks(feature, values, progress=None):
    """Decode many files or texts: yields `(values, status)` as numpy arrays, for at most `CHUNK` of them at a time.

    Args:
        feature: `Image`, `Audio` or fitted `Text`.
        values: sequence of str: paths of files, or the texts.
        progress: `keras.utils.Progbar` to move on, or None.
    """
    decode = _compiled(feature)
    for start in range(0, len(values), CHUNK):
        decoded, status = decode(tf.constant(values[start : start + CHUNK], tf.string))
        if progress is not None:
            progress.update(min(start + CHUNK, len(values)))
        yield decoded.numpy(), status.numpy()


def path_reason(path):
    """Why a path or URL is no file that can be read, or None."""
    if "://" in path:
        return None if tf.io.gfile.exists(path) else "no such file"
    if not os.path.exists(path):
        return "no such file"
    if not os.path.isfile(path):
        return "is not a file"
    return None if os.access(path, os.R_OK) else "no permission to read"


def reason(feature, value):
    """Why a value with the status `UNREADABLE` could not be decoded."""
    expected = f"expected {FORMATS[type(feature)]}"
    if isinstance(feature, Text):
        return f"{expected}, cannot decode"
    if wrong := path_reason(value):
        return wrong
    return f"{expected}, " + ("cannot decode" if tf.io.gfile.stat(value).length else "found an empty file")
