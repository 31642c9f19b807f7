"""Recordings: the frames of their log-mel spectrogram."""

from typing import Any

import keras
from keras import KerasTensor

from mmkeras.inputs import Audio
from mmkeras.towers.audio import log_mel
from mmkeras.towers.fronts.base import Front


class AudioFront(Front):
    """Log-mel frames: a step every `hop` seconds, `mels` channels."""

    options = ("mels", "window", "hop")

    def steps(self, x: KerasTensor, mask: KerasTensor | None, feature: Audio, name: str, **options: Any) -> KerasTensor:
        """`(batch, frames, mels)`, see `mmkeras.towers.audio.log_mel`."""
        mel = log_mel(x, feature, name, **options)
        return keras.layers.Permute((2, 1), dtype="float32", name=f"{name}_frames")(mel)
