"""Sentences to numbers of words."""

import keras
import numpy as np
import tensorflow as tf


def standardize(text):
    """Text as it is split into words: lower case (any script), apostrophes gone, other punctuation and space a space.

    Args:
        text: string tensor of any shape, UTF-8.

    >>> standardize(tf.constant("What's the SUM, Élodie?")).numpy().decode().split()
    ['whats', 'the', 'sum', 'élodie']
    """
    text = tf.strings.lower(text, encoding="utf-8")
    text = tf.strings.regex_replace(text, "['\u2019`]", "")
    return tf.strings.regex_replace(text, r"[\p{P}\p{S}\p{Z}]+", " ")


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
