"""Raw values to tensors, in TensorFlow's own ops: the one code that training and the served graph share.

A picture or recording is decoded row by row, so that one corrupt value costs its own row and no other: it comes back as
zeros with a status. Sentences and cells of numbers are read a batch at a time.
"""

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mmkeras.decode._backends import backends, waveform_ops
from mmkeras.decode.audio import any_file, decode_audio
from mmkeras.decode.graph import plain
from mmkeras.decode.image import announces_more, decode_image
from mmkeras.decode.series import series_file, series_reason
from mmkeras.decode.tabular import decode_tabular, lookups, no_number
from mmkeras.decode.text import count_words, tokenizer
from mmkeras.decode.video import decode_video, video_file, video_reason
from mmkeras.schema import Audio, Image, Series, Tabular, Text, Video

__all__ = [
    "OK",
    "UNREADABLE",
    "Decoded",
    "backends",
    "count_words",
    "decode_series",
    "decoder",
    "in_chunks",
    "no_number",
    "path_reason",
    "reason",
    "too_large",
]

# The status of one value, as the served bundle answers it.
OK, UNREADABLE = 0, 1

FORMATS = {
    Image: "a picture (JPEG, PNG, GIF, BMP, WebP without animation)",
    Audio: "a recording (WAV of PCM or float, FLAC, OGG, MP3)",
    Text: "UTF-8 text",
}


class Decoded(NamedTuple):
    """Decoded values.

    Attributes:
        values: `(rows, *feature.shape)`, zeros where the status is not `OK`.
        status: `(rows,)` int32, `OK` or `UNREADABLE`.
        length: `(rows,)` int32, how many samples, steps or frames of each value are its own and not padding; None for
            pictures, texts and tabular rows.
    """

    values: Any
    status: Any
    length: Any = None


def _rows(decode_one, raw, shapes, dtypes):
    """Decode every row by itself: `(rows,)` strings -> tensors `(rows, *shape)`, and status `(rows,)` int32.

    All rows are decoded in one go, which is cheap; if one of them fails, all are decoded again one by one.
    """
    kinds = [tf.TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def together(raw):
        return True, tuple(tf.map_fn(decode_one, raw, fn_output_signature=tuple(kinds), parallel_iterations=16))

    none = tuple(tf.zeros((0, *kind.shape), kind.dtype) for kind in kinds)
    tried = tf.data.Dataset.from_tensors(raw).map(plain(together)).ignore_errors()
    tried = tried.concatenate(tf.data.Dataset.from_tensors((False, none))).take(1).get_single_element()
    all_good, values = tried
    good = tf.fill(tf.shape(raw), OK)
    values, status = tf.cond(all_good, lambda: (values, good), lambda: _one_by_one(decode_one, raw, kinds))
    return [tf.ensure_shape(value, (None, *kind.shape)) for value, kind in zip(values, kinds, strict=True)], status


def _one_by_one(decode_one, raw, kinds):
    """The same where some rows fail, which costs more.

    Rows that fail are left out by `ignore_errors`, so the others are put back by their number; one spare row at the
    end keeps the data set from being empty.
    """
    count = tf.shape(raw, out_type=tf.int64)[0]
    good = (
        tf.data.Dataset.zip(tf.data.Dataset.range(count), tf.data.Dataset.from_tensor_slices(raw))
        .map(plain(lambda row, value: (row, decode_one(value))), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    spare = tf.data.Dataset.from_tensors((count, tuple(tf.zeros(kind.shape, kind.dtype) for kind in kinds)))
    number, values = good.concatenate(spare).batch(count + 1).get_single_element()

    def put_back(value):
        shape = tf.concat([[count + 1], tf.shape(value, tf.int64)[1:]], axis=0)
        return tf.scatter_nd(number[:, None], value, shape)[:count]

    found = put_back(tf.ones_like(number, tf.int32))
    return tuple(map(put_back, values)), tf.where(found == 1, OK, UNREADABLE)


def decoder(feature, files=False):
    """A function from raw values to `Decoded`.

    It takes `(rows,)` strings, for `Tabular` `(rows, columns)`. Its attribute `layers` holds the Keras layers whose
    tables an exported graph has to keep track of.

    Args:
        feature: an input of a schema, fitted.
        files: whether the strings are paths of files instead of their bytes; all formats of `backends` are read then,
            but not in a served graph. A `Series` is read from files alone.
    """
    if isinstance(feature, Text):
        return _text_decoder(tokenizer(feature))
    if isinstance(feature, Tabular):
        return _tabular_decoder(feature, lookups(feature))
    if isinstance(feature, Image):
        return _row_decoder(feature, lambda raw: (decode_image(tf.io.read_file(raw) if files else raw, feature),))
    if isinstance(feature, Audio):
        if feature.trim is not None or feature.fade is not None:
            waveform_ops()  # an error here, and not from within a graph, where they are missing
        if files:
            return _row_decoder(feature, lambda path: decode_audio(tf.io.read_file(path), feature, any_file))
        return _row_decoder(feature, lambda raw: decode_audio(raw, feature))
    if isinstance(feature, Video):
        return _row_decoder(feature, lambda raw: (video_file if files else decode_video)(raw, feature))
    return _row_decoder(feature, lambda path: series_file(path, feature))


def _row_decoder(feature, decode_one):
    with_length = not isinstance(feature, Image)
    shapes, dtypes = ([feature.shape], [feature.dtype])
    if with_length:
        shapes, dtypes = [*shapes, ()], [*dtypes, "int32"]

    def decode(raw):
        values, status = _rows(decode_one, raw, shapes, dtypes)
        return Decoded(values[0], status, values[1] if with_length else None)

    decode.layers = []
    return decode


def decode_series(values, length, feature):
    """Series that were sent as numbers.

    Args:
        values: `(rows, steps, channels)` float32, any number of steps.
        length: `(rows,)` int32, how many of the steps are the row's own.
        feature: `Series`.

    Returns:
        `Decoded`; unreadable: no step, more than were sent, or one that is not finite.
    """
    kept = tf.minimum(length, feature.length)
    own = tf.range(tf.shape(values)[1]) < kept[:, None]
    finite = tf.reduce_all(tf.math.is_finite(values) | ~own[:, :, None], axis=[1, 2])
    good = finite & (length > 0) & (length <= tf.shape(values)[1])
    values = tf.where((own & good[:, None])[:, :, None], values, 0)[:, : feature.length]
    values = tf.pad(values, [[0, 0], [0, feature.length - tf.shape(values)[1]], [0, 0]])
    values = tf.ensure_shape(values, (None, *feature.shape))
    return Decoded(values, tf.where(good, OK, UNREADABLE), tf.where(good, kept, 0))


def _text_decoder(vectorize):
    def decode(raw):
        clean = tf.strings.unicode_transcode(raw, "UTF-8", "UTF-8", errors="replace")
        return Decoded(tf.cast(vectorize(clean), tf.int32), tf.where(clean == raw, OK, UNREADABLE))

    decode.layers = [vectorize]
    return decode


def _tabular_decoder(feature, tables):
    def decode(raw):
        values, good = decode_tabular(raw, feature, tables)
        return Decoded(values, tf.where(good, OK, UNREADABLE))

    decode.layers = tables
    return decode


@functools.lru_cache(maxsize=64)
def _compiled(feature):
    """The decoder of an input's files (or cells) as one function, traced once for all tables."""
    shape = [None, len(feature.columns)] if isinstance(feature, Tabular) else [None]
    signature = [tf.TensorSpec(shape, tf.string)]
    return tf.function(decoder(feature, files=True), input_signature=signature, autograph=False)


def _chunk(feature):
    """How many values are decoded at a time, which bounds the memory beside the result: at most 64 MiB of them."""
    size = math.prod(feature.shape) * np.dtype(feature.dtype).itemsize
    return max(1, min(2**26 // size, 1024 if feature.files else 2**14))


def in_chunks(feature, values, progress=None):
    """Decode many values: yields `Decoded` of numpy arrays, a chunk of them at a time.

    Args:
        feature: an input of a schema, fitted.
        values: `(n,)` str, array or pandas Index: paths of files, or the texts; for `Tabular` a DataFrame of columns.
        progress: `keras.utils.Progbar` to move on, or None.
    """
    decode, size = _compiled(feature), _chunk(feature)

    def chunk(start):
        decoded = decode(tf.constant(np.asarray(values[start : start + size], dtype=object), tf.string))
        # not .numpy(), which copies
        return Decoded(*(None if part is None else np.asarray(memoryview(part)) for part in decoded))

    starts = range(0, len(values), size)
    # files are decoded on all cores at once, a chunk of cells on one
    with ThreadPoolExecutor(1 if feature.files else os.cpu_count()) as pool:
        for start, decoded in zip(
            starts, map(chunk, starts) if feature.files else pool.map(chunk, starts), strict=True
        ):
            if progress is not None:
                progress.update(min(start + size, len(values)))
            yield decoded


def too_large(feature, raw, unreadable):
    """Which values could not be decoded because they are pictures of more than `max_pixels`.

    Args:
        feature: an input of a schema.
        raw: its values, `(rows,)` string for an `Image`.
        unreadable: `(rows,)` bool.

    Returns:
        `(rows,)` bool.
    """
    if not isinstance(feature, Image):
        return tf.zeros_like(unreadable)

    def look():
        return tf.map_fn(
            lambda value: announces_more(value, feature.max_pixels),
            tf.where(unreadable, raw, ""),
            fn_output_signature=tf.bool,
        )

    return tf.cond(tf.reduce_any(unreadable), look, lambda: tf.zeros_like(unreadable))


def path_reason(path, feature):
    """Why a path or URL cannot be read, or None."""
    if "://" in path:
        return None if tf.io.gfile.exists(path) else "no such file"
    if not os.path.exists(path):
        return "no such file"
    if not os.path.isfile(path) and not (isinstance(feature, Video) and os.path.isdir(path)):
        return "is not a file"
    return None if os.access(path, os.R_OK) else "no permission to read"


def reason(feature, value):
    """Why a value with the status `UNREADABLE` could not be decoded."""
    if isinstance(feature, Text):
        return f"expected {FORMATS[Text]}, cannot decode"
    if isinstance(feature, Tabular):
        return "expected finite numbers"
    if wrong := path_reason(value, feature):
        return wrong
    if not tf.io.gfile.isdir(value) and not tf.io.gfile.stat(value).length:
        return f"expected {FORMATS.get(type(feature), 'a ' + type(feature).__name__.lower())}, found an empty file"
    if isinstance(feature, (Series, Video)):
        return (series_reason if isinstance(feature, Series) else video_reason)(value, feature)
    return f"expected {FORMATS[type(feature)]}, cannot decode"
