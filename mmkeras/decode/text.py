"""Sentences to numbers of words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkeras.inputs import Text

CHUNK = 100_000  # texts split at a time


def standardize(text: tf.Tensor) -> tf.Tensor:
    """Text as it is split into words: lower case (any script), apostrophes gone, other punctuation and space a space.

    Args:
        text: string tensor of any shape, UTF-8.

    >>> standardize(tf.constant("What's the SUM, Élodie?")).numpy().decode().split()
    ['whats', 'the', 'sum', 'élodie']
    """
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, "['\u2019`]", "")
    return tf.strings.regex_replace(text, r"[\p{P}\p{S}\p{Z}]+", " ")


def count_words(texts: Any, times: Sequence[int] | np.ndarray) -> Counter:
    """How often each word stands in texts.

    Args:
        texts: `(n,)` str, array or pandas Index.
        times: `(n,)` int, how often each text is there.

    Returns:
        collections.Counter of str.

    >>> count_words(["A cat.", "a dog"], [1, 2])
    Counter({'a': 3, 'dog': 2, 'cat': 1})
    """
    counts, times = Counter(), np.asarray(times)
    for start in range(0, len(texts), CHUNK):
        chunk = np.asarray(texts[start : start + CHUNK], dtype=object)
        split = tf.strings.split(standardize(tf.constant(chunk, tf.string)))
        words, number = tf.unique(split.flat_values)
        total = np.bincount(number, times[start : start + CHUNK][split.value_rowids()], len(words))
        for word, count in zip(words.numpy(), total.tolist(), strict=True):
            counts[word.decode()] += int(count)
    return counts


def tokenizer(feature: Text) -> keras.layers.TextVectorization:
    """A Keras layer from `(batch,)` strings to `(batch, length)` int64 token ids for a fitted `Text`."""
    return keras.layers.TextVectorization(
        standardize=standardize,
        output_sequence_length=feature.length,
        vocabulary=list(feature.vocabulary),
    )
