"""Many values decoded, a chunk of them at a time."""

import functools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.access import Access
from mmkeras.decode.base import Decoded, row_shape
from mmkeras.decode.table import codec_of, decoder


def in_chunks(feature: Any, values: Any, progress: Any = None, access: Access | None = None) -> Iterator[Decoded]:
    """Decode many values: yields `Decoded` of numpy arrays, a chunk of them at a time.

    Args:
        feature: an input of a schema, or a target whose cells are files, fitted.
        values: `(n,)` str, array or pandas Index: paths of files, or the texts; of several cells a row a DataFrame of
            columns, or an array `(n, columns)`.
        progress: `keras.utils.Progbar` to move on, or None.
        access: the rules of the table that names the files; a file that may not be opened counts as unreadable. None:
            any file may be.
    """
    guarded = access is not None and feature.files
    decode, size = _compiled(feature), _chunk(feature)

    def chunk(start):
        cells = np.asarray(values[start : start + size], dtype=object)
        if guarded:
            cells = access.only(codec_of(feature), cells)
        decoded = decode(tf.constant(cells, tf.string))
        # not .numpy(), which copies
        return Decoded(*(None if part is None else np.asarray(memoryview(part)) for part in decoded))

    starts = range(0, len(values), size)
    # files are decoded on all cores at once, a chunk of cells on one
    with ThreadPoolExecutor(1 if feature.files else os.cpu_count()) as pool:
        chunks = map(chunk, starts) if feature.files else pool.map(chunk, starts)
        for start, decoded in zip(starts, chunks, strict=True):
            if progress is not None:
                progress.update(min(start + size, len(values)))
            yield decoded


@functools.lru_cache(maxsize=64)
def _compiled(feature):
    """The decoder of an input's files (or cells) as one function, traced once for all tables."""
    signature = [tf.TensorSpec([None, *row_shape(feature)], tf.string)]
    return tf.function(decoder(feature, files=True), input_signature=signature, autograph=False)


def _chunk(feature):
    """How many values are decoded at a time, which bounds the memory beside the result: at most 64 MiB of them."""
    size = math.prod(feature.shape) * np.dtype(feature.dtype).itemsize
    return max(1, min(2**26 // size, 1024 if feature.files else 2**14))
