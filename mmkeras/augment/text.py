"""Sentences: words become the unknown word."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from mmkeras.augment.base import Augmentation, Draws
from mmkeras.inputs import Text


class TextAugmentation(Augmentation):
    """As in Bowman et al., Generating Sentences from a Continuous Space, 2016."""

    limits: ClassVar = {"drop": (0, 1, "probability")}

    def mild(self, feature: Text) -> dict[str, Any]:
        """One word in twenty."""
        return {"drop": 0.05}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Text) -> tf.Tensor:
        """Ids `(batch, length)` int32; at least one word of each sentence stays."""
        luck = tf.where(x == 0, -1.0, draws.uniform("drop", feature.shape, 0, 1))
        luckiest = tf.reduce_max(luck, axis=1, keepdims=True)  # stays whatever the probability
        dropped = (x != 0) & (luck < options["drop"]) & (luck < luckiest)
        return tf.where(dropped, tf.ones_like(x), x)  # 1: the unknown word
