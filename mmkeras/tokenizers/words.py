"""Words between spaces."""

import tensorflow as tf

from mmkeras.tokenizers.base import Tokenizer


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


class Words(Tokenizer):
    """Lower-case words without punctuation.

    >>> Words().count(["A cat.", "a dog"], [1, 2])
    Counter({'a': 3, 'dog': 2, 'cat': 1})
    >>> Words().text([[3, 1, 2, 0]], ["cat", "a"])
    ['a [UNK] cat']
    """

    unit = "words"
    joint = " "

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """At spaces, once they are standardised."""
        return tf.strings.split(standardize(texts))
