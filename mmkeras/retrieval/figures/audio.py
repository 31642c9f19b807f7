"""Recordings on a contact sheet."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from mmkeras.inputs import Audio
from mmkeras.retrieval.figures.base import Drawer, register

MELS = 48
DECIBELS = 60  # below the loudest: black


@register(Audio)
class AudioDrawer(Drawer):
    """A log-mel spectrogram."""

    size = (1.25, 0.95)

    def prepare(self, values: np.ndarray, lengths: np.ndarray | None, feature: Audio) -> Sequence[np.ndarray]:
        """Spectrograms `(frames, mels)` of recordings `(n, samples)`, without the frames of padding."""
        window = 1 << (round(feature.sampling_rate * 0.032) - 1).bit_length()
        how = {"sampling_rate": feature.sampling_rate, "num_mel_bins": MELS, "top_db": 1000.0}
        mel = keras.layers.MelSpectrogram(window, window // 4, **how)
        found = keras.ops.convert_to_numpy(mel(values.astype("float32"))).swapaxes(1, 2)
        frames = None if lengths is None else 1 + np.maximum(lengths - window // 2, 0) // (window // 4)
        return super().prepare(found, frames, feature)

    def draw(self, axes: Any, value: np.ndarray, feature: Audio) -> None:
        """Draw a spectrogram, down to some decibels below its loudest."""
        least = value.max() - DECIBELS
        axes.imshow(value.T, cmap="magma", origin="lower", aspect="auto", vmin=least, interpolation="nearest")
