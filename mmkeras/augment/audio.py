"""Recordings: shifted in time, louder or softer, with noise."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from mmkeras.augment.base import Augmentation, Draws, check_limits
from mmkeras.inputs import Audio


class AudioAugmentation(Augmentation):
    """A recording is shifted by its duration at most."""

    limits: ClassVar = {"shift": (0, math.inf, "seconds"), "gain": (0, 60, "dB"), "noise": (-20, 100, "dB")}

    def check(self, option: str, value: Any, feature: Audio, where: str) -> None:
        """The greatest shift is the recording's duration."""
        low, high, unit = self.limits[option]
        check_limits(option, value, low, min(high, feature.seconds) if option == "shift" else high, unit, where)

    def mild(self, feature: Audio) -> dict[str, Any]:
        """A shift by at most a tenth of a second, another level, faint noise."""
        return {"shift": min(0.1, feature.seconds / 20), "gain": 6, "noise": 20}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Audio) -> tf.Tensor:
        """Waves `(batch, samples)` float32 in [-1, 1], changed in the order of the options."""
        if "shift" in options:
            x = _shift(x, feature.samples, draws.around("shift", (1,), options["shift"] * feature.sampling_rate))
        if "gain" in options:
            x *= 10 ** (draws.around("gain", (1,), options["gain"] / 20))
        if "noise" in options:
            ratio = draws.uniform("ratio", (1,), options["noise"], options["noise"] + 20)
            power = tf.reduce_mean(x**2, axis=1, keepdims=True) / 10 ** (ratio / 10)
            x += tf.sqrt(power) * draws.normal("noise", feature.shape)
        return tf.clip_by_value(x, -1.0, 1.0)


def _shift(x: tf.Tensor, samples: int, later: tf.Tensor) -> tf.Tensor:
    """Each row `later` samples later, `(batch, 1)` float, rounded; zeros are moved in."""
    source = tf.range(samples) - tf.cast(tf.round(later), tf.int32)
    there = (source >= 0) & (source < samples)
    return tf.where(there, tf.gather(x, tf.clip_by_value(source, 0, samples - 1), batch_dims=1), 0.0)
