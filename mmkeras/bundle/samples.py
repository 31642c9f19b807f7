"""Raw values that are made up of the schema alone: one of each kind that can be read, one that cannot."""

import numpy as np
import tensorflow as tf

from mmkeras.schema import Audio, Image, Series, Tabular, Text

# one black pixel, of which any size is made
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


def made_up(feature):
    """A value that can be read."""
    if isinstance(feature, Image):
        pixels = np.random.default_rng(0).integers(0, 256, feature.shape, np.uint8)
        with tf.init_scope():  # a value, within a graph too
            return tf.io.encode_png(pixels).numpy()
    if isinstance(feature, Audio):
        time = np.arange(feature.samples, dtype=np.float32) / feature.sampling_rate
        with tf.init_scope():
            return tf.audio.encode_wav(np.sin(2 * np.pi * 440 * time)[:, None] / 2, feature.sampling_rate).numpy()
    if isinstance(feature, Text):
        return " ".join(feature.vocabulary[: feature.length])
    if isinstance(feature, Series):
        return np.tile(np.float32(feature.means), (feature.length, 1))
    if isinstance(feature, Tabular):
        return [str(mean) for mean in feature.means] + [words[0] if words else "" for words in feature.vocabularies]
    return GIF


def broken(feature):
    """A value that cannot be read; a series without steps."""
    if isinstance(feature, Series):
        return np.zeros((0, feature.channels), np.float32)
    if isinstance(feature, Tabular):
        return ["no number"] * len(feature.columns)
    return b"\xff\xfe broken"
