"""Columns: numbers with noise, cells that become holes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mmkeras.augment.base import Augmentation, Draws
from mmkeras.inputs import Tabular


class TabularAugmentation(Augmentation):
    """Noise in standard deviations of the column; a hidden cell is a hole, as an empty one is."""

    limits: ClassVar = {"noise": (0, 10, "std"), "hide": (0, 1, "probability")}

    def mild(self, feature: Tabular) -> dict[str, Any]:
        """A little noise, and one cell in twenty is hidden."""
        return {"noise": 0.05, "hide": 0.05}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Tabular) -> tf.Tensor:
        """Rows `(batch, 2 * numeric + categorical)` float32: numbers, whether they are there, numbers of words."""
        count, words = len(feature.numeric), len(feature.categorical)
        numbers, there, codes = tf.split(x, [count, count, words], axis=1)
        if "noise" in options:
            numbers += there * draws.normal("noise", (count,)) * np.asarray(feature.std, np.float32) * options["noise"]
        if "hide" in options:
            kept = tf.cast(draws.uniform("hide", (count + words,), 0, 1) >= options["hide"], tf.float32)
            numbers, there, codes = numbers * kept[:, :count], there * kept[:, :count], codes * kept[:, count:]
        return tf.concat([numbers, there, codes], axis=1)
