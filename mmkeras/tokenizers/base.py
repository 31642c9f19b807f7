"""What a tokenizer is: texts as numbers of tokens and back, in TensorFlow's own ops, in training and serving alike."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

PADDING, UNKNOWN = 0, 1  # ids; from 2 on the vocabulary
CHUNK = 100_000  # texts split at a time


class Tokenizer:
    """Base of all tokenizers; a new one has to say how texts are split. `@mk.tokenizers.register("characters")`.

    Attributes:
        unit: what a token is called for people, in the plural.
        joint: what stands between two tokens of a text.
    """

    unit: ClassVar[str] = "tokens"
    joint: ClassVar[str] = ""

    def split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The tokens of texts: `(n,)` string, UTF-8 -> `(n, (tokens))` string; in ops that a served graph may hold."""
        raise NotImplementedError(f"{type(self).__name__} has to split texts")

    def layer(self, vocabulary: Sequence[str], length: int) -> keras.layers.TextVectorization:
        """A Keras layer from `(batch,)` strings to `(batch, length)` int64 ids."""
        return keras.layers.TextVectorization(
            standardize=None, split=self.split, output_sequence_length=length, vocabulary=list(vocabulary)
        )

    def count(self, texts: Any, times: Sequence[int] | np.ndarray) -> Counter:
        """How often each token stands in texts.

        Args:
            texts: `(n,)` str, array or pandas Index.
            times: `(n,)` int, how often each text is there.
        """
        counts, times = Counter(), np.asarray(times)
        for start in range(0, len(texts), CHUNK):
            split = self.split(tf.constant(np.asarray(texts[start : start + CHUNK], dtype=object), tf.string))
            words, number = tf.unique(split.flat_values)
            total = np.bincount(number, times[start : start + CHUNK][split.value_rowids()], len(words))
            for word, count in zip(words.numpy(), total.tolist(), strict=True):
                counts[word.decode()] += int(count)
        return counts

    def text(self, ids: Iterable[Iterable[int]], vocabulary: Sequence[str]) -> list[str]:
        """The texts of ids `(n, length)`: padding is left out, "[UNK]" stands for what is outside the vocabulary."""
        words = ["", "[UNK]", *vocabulary]
        return [self.joint.join(words[number] for number in row if number != PADDING) for row in ids]
