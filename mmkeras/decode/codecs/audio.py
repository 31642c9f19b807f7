"""The codec of recordings."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf

from mmkeras.decode._backends import waveform_ops
from mmkeras.decode.audio import announces_longer, any_file, decode_audio
from mmkeras.decode.base import Decoder
from mmkeras.decode.rows import FileCodec
from mmkeras.decode.table import register
from mmkeras.inputs import Audio


@register(Audio)
class AudioCodec(FileCodec):
    """WAV in training and served; FLAC, OGG and MP3 in training alone."""

    format = "a recording (WAV of PCM or float, FLAC, OGG, MP3)"
    begins = (b"RIFF",)

    def has_length(self, feature: Audio) -> bool:
        """The samples that are the recording's own, by which `window` is placed."""
        return True

    def from_files(self, feature: Audio) -> Decoder:
        """Any recording."""
        _check_ops(feature)
        return super().from_files(feature)

    def from_wire(self, feature: Audio) -> Decoder:
        """WAV alone."""
        _check_ops(feature)
        return super().from_wire(feature)

    def decode_bytes(self, feature: Audio, raw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The samples of a WAV file, and how many are its own."""
        return decode_audio(raw, feature)

    def decode_file(self, feature: Audio, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The same of any recording."""
        return decode_audio(tf.io.read_file(path), feature, any_file)

    def exceeds(self, feature: Audio, raw: tf.Tensor) -> tf.Tensor:
        """Whether it is longer than `max_seconds`."""
        return announces_longer(raw, feature.max_seconds)

    def why(self, feature: Audio, path: str) -> str:
        """That it is too long, or what was expected."""
        try:
            found = soundfile.info(io.BytesIO(tf.io.read_file(path).numpy())).duration
        except soundfile.LibsndfileError:
            return super().why(feature, path)
        if found <= feature.max_seconds:
            return super().why(feature, path)
        return f"expected at most max_seconds={feature.max_seconds:g}, found {found:,.0f} seconds"

    def stored(self, feature: Audio) -> Audio:
        """The longest duration, where training takes parts of it."""
        return feature if feature.longest is None else replace(feature, seconds=feature.longest, longest=None)

    def storage_dtype(self, feature: Audio) -> str:
        """16 bits, full scale at 2 ** 15."""
        return "int16"

    def window(self, feature: Audio, values: tf.Tensor, length: tf.Tensor, seed: Any = None) -> tf.Tensor:
        """The beginnings `(batch, samples)` of recordings, or with a seed any place of them."""
        if seed is None:
            return values[:, : feature.samples]
        spare = tf.cast(tf.maximum(length - feature.samples, 0), tf.float32)
        luck = tf.random.stateless_uniform(tf.shape(length), seed)
        start = tf.cast(luck * (spare + 1), tf.int32)
        place = tf.minimum(start[:, None] + tf.range(feature.samples), tf.shape(values)[1] - 1)
        return tf.gather(values, place, batch_dims=1)

    def made_up(self, feature: Audio) -> bytes:
        """A tone of 440 hertz."""
        time = np.arange(feature.samples, dtype=np.float32) / feature.sampling_rate
        with tf.init_scope():  # a value, within a graph too
            return tf.audio.encode_wav(np.sin(2 * np.pi * 440 * time)[:, None] / 2, feature.sampling_rate).numpy()

    def card(self, feature: Audio) -> str:
        """Duration and rate."""
        return f"a WAV file; becomes {feature.seconds:g} s at {feature.sampling_rate} Hz, mono"

    def limits(self, feature: Audio) -> list[str]:
        """What is not heard."""
        return [
            f"what comes after {feature.seconds:g} s is not heard; FLAC, OGG and MP3 are refused.",
            f"more than {feature.max_seconds:g} s are refused.",
        ]


def _check_ops(feature):
    """An error here, and not from within a graph, where a package is missing."""
    if feature.trim is not None or feature.fade is not None:
        waveform_ops()
