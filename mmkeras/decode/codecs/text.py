"""The codec of sentences."""

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.base import OK, UNREADABLE, Codec, Decoded, Decoder
from mmkeras.decode.spelling import BLANKS, characters_of, composed
from mmkeras.decode.strangers import in_texts, some
from mmkeras.decode.table import register
from mmkeras.decode.tokens import count_tokens, vectorizer
from mmkeras.inputs import Text
from mmkeras.tokenizers import PADDING, UNKNOWN, tokenizer_of


@register(Text)
class TextCodec(Codec):
    """Strings in UTF-8, in the table and as a client sends them."""

    format = "UTF-8 text"

    def from_files(self, feature: Text) -> Decoder:
        """`(rows,)` string, the texts."""
        return _decoder(feature)

    def from_wire(self, feature: Text) -> Decoder:
        """`(rows,)` string, the texts; those of more than `max_bytes` are unreadable."""
        decoder = _decoder(feature)

        def decode(raw):
            long = _long(feature, raw)
            values, status, _ = decoder(tf.where(long, "", raw))
            return Decoded(values, tf.where(long, UNREADABLE, status))

        return Decoder(decode, decoder.layers)

    def too_large(self, feature: Text, raw: tf.Tensor, unreadable: tf.Tensor) -> tf.Tensor:
        """Which have more than `max_bytes`."""
        return unreadable & _long(feature, raw)

    def unknown(self, feature: Text, values: tf.Tensor, *raw: tf.Tensor) -> tf.Tensor:
        """Texts of whose tokens most are outside the vocabulary, or that hold something but no token."""
        strange = tf.reduce_sum(tf.cast(values == UNKNOWN, tf.int32), axis=1)
        tokens = tf.reduce_sum(tf.cast(values != PADDING, tf.int32), axis=1)
        blank = tf.strings.regex_full_match(raw[0], f"(?:{BLANKS})?")
        return (2 * strange > tokens) | ((tokens == 0) & ~blank)

    def to_fit(self, feature: Text, distinct: Any, times: np.ndarray) -> Counter:
        """How often each token is there."""
        return count_tokens(feature, distinct, times)

    def sample(self, feature: Text, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Token ids, zeros behind the ends."""
        lengths = np.array([feature.length, *random.integers(1, feature.length + 1, rows - 1)])
        words = random.integers(1, feature.tokens, (rows, feature.length))
        return {"": np.where(np.arange(feature.length) < lengths[:, None], words, 0).astype("int32")}

    def made_up(self, feature: Text) -> str:
        """The first tokens of the vocabulary."""
        return tokenizer_of(feature.tokenizer).joint.join(feature.vocabulary[: feature.length])

    def strangers(self, feature: Text, cells: np.ndarray) -> list[tuple[int, str]]:
        """Most words unknown, texts that are one word each, symbols that vanish."""
        return [(0, said) for said in in_texts(feature, some(cells))]

    def card(self, feature: Text) -> str:
        """How many tokens are read."""
        unit = tokenizer_of(feature.tokenizer).unit
        return f"text in UTF-8; the first {feature.length} {unit} of a vocabulary of {len(feature.vocabulary):,}"

    def limits(self, feature: Text) -> list[str]:
        """Unknown tokens."""
        return [f"{tokenizer_of(feature.tokenizer).unit} outside the vocabulary all look the same to the model."]


def _decoder(feature):
    """Texts of any length."""
    vectorize, characters = vectorizer(feature), characters_of(feature.vocabulary)

    def decode(raw):
        clean = tf.strings.unicode_transcode(raw, "UTF-8", "UTF-8", errors="replace")
        ids = vectorize(composed(clean, characters))
        return Decoded(tf.cast(ids, tf.int32), tf.where(clean == raw, OK, UNREADABLE))

    return Decoder(decode, [vectorize])


def _long(feature, raw):
    return tf.strings.length(raw) > feature.max_bytes
