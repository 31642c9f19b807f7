"""Traces: with noise, in another scale, faster here and slower there."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mmkeras.augment.base import Augmentation, Draws
from mmkeras.inputs import Series


class SeriesAugmentation(Augmentation):
    """As in Um et al., Data Augmentation of Wearable Sensor Data, 2017."""

    limits: ClassVar = {"warp": (0, 0.3, "share of the length"), "scale": (0, 1, "share"), "noise": (0, 10, "std")}

    def mild(self, feature: Series) -> dict[str, Any]:
        """A little of everything."""
        return {"warp": 0.05, "scale": 0.1, "noise": 0.05}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Series) -> tf.Tensor:
        """Traces `(batch, length, channels)` float32, changed in the order of the options."""
        if "warp" in options:
            x = _warp(x, draws.around("warp", (1,), options["warp"]))
        means, std = np.asarray(feature.means, np.float32), np.asarray(feature.std, np.float32)
        if "scale" in options:
            x = means + (x - means) * (1 + draws.around("scale", (1, feature.channels), options["scale"]))
        if "noise" in options:
            x += draws.normal("noise", feature.shape) * std * options["noise"]
        return x


def _warp(x: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Each row at other times, which are exact at both ends and `most` of its length away, `(batch, 1)`, between them.

    The length of a row ends with its last step that is not all zeros.
    """
    steps = tf.range(tf.shape(x)[1])
    last = tf.reduce_max(tf.where(tf.reduce_any(x != 0, axis=2), steps, 0), axis=1, keepdims=True)
    end, place = tf.cast(last, tf.float32), tf.cast(steps, tf.float32)
    place = place + most * end * tf.sin(math.pi * place / tf.maximum(end, 1.0))
    place = tf.clip_by_value(place, 0.0, end)
    before = tf.floor(place)
    share = (place - before)[:, :, None]
    first = tf.cast(before, tf.int32)
    here = tf.gather(x, first, batch_dims=1)
    return here + share * (tf.gather(x, tf.minimum(first + 1, last), batch_dims=1) - here)
