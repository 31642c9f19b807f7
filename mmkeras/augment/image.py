"""Pictures: in meaning Keras' `RandomFlip`, `RandomRotation`, `RandomBrightness`, `RandomContrast` and `RandomHue`."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow as tf

from mmkeras.augment.base import Augmentation, Draws
from mmkeras.errors import InputError, shown
from mmkeras.inputs import Image

FLIPS = {False: (), True: (2,), "horizontal": (2,), "vertical": (1,), "both": (1, 2)}  # axes that may be mirrored


class ImageAugmentation(Augmentation):
    """Rotation and crop are one bilinear resampling."""

    limits: ClassVar = {
        "flip": None,
        "rotate": (0, 180, "degrees"),
        "crop": (0, 0.9, "share of the sides"),
        "brightness": (0, 1, "share of the range"),
        "contrast": (0, 1, "share"),
        "colour": (0, 1, "share"),
    }

    def check(self, option: str, value: Any, feature: Image, where: str) -> None:
        """A flip is a word or a switch; a change of colours needs three channels."""
        if option != "flip":
            super().check(option, value, feature, where)
        elif not isinstance(value, bool | str) or value not in FLIPS:
            known = ", ".join(map(repr, FLIPS))
            raise InputError(f"{where}expected flip to be one of {known}, received {shown(value)}")
        if option == "colour" and feature.channels != 3:
            raise InputError(f"{where}expected 3 channels for colour, received {feature.channels}")

    def mild(self, feature: Image) -> dict[str, Any]:
        """A crop and a change of the light; no flip, which makes another letter of b."""
        return {"crop": 0.1, "brightness": 0.1, "contrast": 0.1}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Image) -> tf.Tensor:
        """Pictures `(batch, height, width, channels)` uint8, changed in the order of the options."""
        for axis in FLIPS[options.get("flip", False)]:
            x = tf.where(draws.uniform(f"flip_{axis}", (1, 1, 1), 0, 1) < 0.5, tf.reverse(x, [axis]), x)
        x = tf.cast(x, tf.float32)
        if options.keys() & {"rotate", "crop"}:
            x = _resample(x, feature, options, draws)
        if "brightness" in options:
            x = tf.clip_by_value(x + draws.around("brightness", (1, 1, 1), 255 * options["brightness"]), 0.0, 255.0)
        if "contrast" in options:
            distance = x - tf.reduce_mean(x, axis=(1, 2), keepdims=True)
            x = tf.clip_by_value(x + distance * draws.around("contrast", (1, 1, 1), options["contrast"]), 0.0, 255.0)
        if "colour" in options:
            x = _change_colour(x, options["colour"], draws)
        return tf.cast(tf.clip_by_value(tf.round(x), 0.0, 255.0), tf.uint8)


def _resample(x: tf.Tensor, feature: Image, options: Mapping[str, Any], draws: Draws) -> tf.Tensor:
    """Rotation and crop in one: the pixel at p from the centre comes from turn (zoom * p + shift)."""
    side = tf.constant([feature.width, feature.height], tf.float32)
    centre = (side - 1) / 2
    angle = draws.around("rotate", (), math.radians(options.get("rotate", 0)))
    zoom = draws.uniform("crop", (1,), 1 - options.get("crop", 0), 1)
    shift = draws.around("crop_place", (2,), 0.5) * (1 - zoom) * side
    turn = tf.stack([tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle)], axis=-1)
    turn = tf.reshape(turn, (-1, 2, 2))
    offset = tf.linalg.matvec(turn, shift - zoom * centre) + centre
    affine = tf.reshape(tf.concat([turn * zoom[:, :, None], offset[:, :, None]], axis=-1), (-1, 6))
    affine, size = tf.pad(affine, [[0, 0], [0, 2]]), tf.constant([feature.height, feature.width])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x, transforms=affine, output_shape=size, fill_value=0.0, interpolation="BILINEAR", fill_mode="REFLECT"
    )


def _change_colour(x: tf.Tensor, change: float, draws: Draws) -> tf.Tensor:
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(x / 255), axis=-1)
    hue = tf.math.floormod(hue + draws.around("hue", (1, 1), change / 2), 1.0)
    saturation = tf.clip_by_value(saturation * (1 + draws.around("saturation", (1, 1), change)), 0.0, 1.0)
    return 255 * tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))
