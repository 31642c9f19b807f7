"""Videos: all frames of one are changed alike."""

from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from mmkeras.augment.base import Draws
from mmkeras.augment.image import ImageAugmentation
from mmkeras.errors import InputError, shown


class VideoAugmentation(ImageAugmentation):
    """The changes of pictures that leave each pixel in its row."""

    limits: ClassVar = {key: ImageAugmentation.limits[key] for key in ("flip", "brightness", "contrast", "colour")}

    def mild(self, feature: Any) -> dict[str, Any]:
        """A change of the light."""
        return {"brightness": 0.1, "contrast": 0.1}

    def check(self, option: str, value: Any, feature: Any, where: str) -> None:
        """As for a picture, but no vertical flip."""
        super().check(option, value, feature, where)
        if option == "flip" and value not in (True, False, "horizontal"):
            raise InputError(f"{where}expected flip to be True or False, received {shown(value)}")

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Any) -> tf.Tensor:
        """Videos `(batch, frames, height, width, channels)` uint8: their frames one below the other are a picture."""
        frames, height, width, channels = feature.shape
        tall = super().apply(tf.reshape(x, (-1, frames * height, width, channels)), draws, options, feature)
        return tf.reshape(tall, tf.shape(x))
