"""Texts through a tokenizer, in TensorFlow's own ops."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from unicodedata import normalize

import keras
import numpy as np
import tensorflow as tf

from mmkeras.inputs import Text
from mmkeras.tokenizers import tokenizer_of

CHUNK = 100_000  # texts split at a time


def split(feature: Text, texts: Any) -> tf.RaggedTensor:
    """The tokens of texts: `(n,)` str or string tensor -> `(n, (tokens))` string."""
    return tokenizer_of(feature.tokenizer).split(tf.convert_to_tensor(texts, tf.string), tf.strings)


def in_nfc(texts: Any) -> np.ndarray:
    """Texts in Unicode's form NFC: `(n,)` array of str."""
    found = np.asarray(texts, dtype=object)
    return np.array([one if one.isascii() else normalize("NFC", one) for one in found], dtype=object)


def count_tokens(feature: Text, texts: Any, times: Sequence[int] | np.ndarray) -> Counter:
    """How often each token stands in texts.

    Args:
        feature: `Text`, for its tokenizer.
        texts: `(n,)` str, array or pandas Index.
        times: `(n,)` int, how often each text is there.

    >>> count_tokens(Text(8), ["A cat.", "a dog"], [1, 2])
    Counter({'a': 3, 'dog': 2, 'cat': 1})
    """
    counts: Counter[str] = Counter()
    times = np.asarray(times)
    for start in range(0, len(texts), CHUNK):
        chunk = split(feature, in_nfc(texts[start : start + CHUNK]))
        tokens, number = tf.unique(chunk.flat_values)
        total = np.bincount(number, times[start : start + CHUNK][chunk.value_rowids()], len(tokens))
        for token, count in zip(tokens.numpy(), total.tolist(), strict=True):
            counts[token.decode()] += int(count)
    return counts


def vectorizer(feature: Text) -> keras.layers.TextVectorization:
    """A Keras layer from `(batch,)` strings to `(batch, length)` int64 token ids for a fitted `Text`."""
    return keras.layers.TextVectorization(
        standardize=None,
        split=lambda texts: split(feature, texts),
        output_sequence_length=feature.length,
        vocabulary=list(feature.vocabulary),
    )
