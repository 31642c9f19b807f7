"""Random changes of the inputs in training, a batch at a time in tf.data; one augmentation for each kind of input.

Every random number is a function of (seed, step, input, option) alone, so a run can be repeated however many threads
prepare its batches. Keras' random layers cannot promise that: they draw from a counter of their own and accept no
tensor as seed. The changes mean the same as theirs, in TensorFlow's ops.

Your own kind of input gets an augmentation by `@mk.augment.register(PointCloud)` of an `Augmentation`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mmkeras.augment.audio import AudioAugmentation
from mmkeras.augment.base import Augmentation, Draws
from mmkeras.augment.image import ImageAugmentation
from mmkeras.augment.series import SeriesAugmentation
from mmkeras.augment.tabular import TabularAugmentation
from mmkeras.augment.text import TextAugmentation
from mmkeras.augment.video import VideoAugmentation
from mmkeras.checks import is_whole
from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Audio, Image, Input, Series, Tabular, Text, Video
from mmkeras.registry import Kinds
from mmkeras.schema import Schema

__all__ = ["AUGMENTATIONS", "Augmentation", "Draws", "augmenter", "register"]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


AUGMENTATIONS = Kinds("augmentation", Augmentation, __name__)
register = AUGMENTATIONS.register
register(Image)(ImageAugmentation)
register(Audio)(AudioAugmentation)
register(Text)(TextAugmentation)
register(Series)(SeriesAugmentation)
register(Tabular)(TabularAugmentation)
register(Video)(VideoAugmentation)


def augmenter(
    schema: Schema, options: Mapping[str, Mapping[str, Any]], seed: int = 0
) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
    """A function that changes the inputs of a training batch at random, each row independently.

    Choose changes that keep the target right: no flip where the sentence asks for left or right.

    Args:
        schema: `Schema`.
        options: dict of input name -> dict of options. An input or option that is not named changes nothing.
            A picture, in this order; rotate and crop are one bilinear resampling:
                flip: "horizontal" or True, "vertical", "both" (each axis by itself), with chance 1/2; False: none.
                rotate: greatest angle in degrees, 0 to 180, to either side about the centre; the corners show the
                    picture reflected at its edge.
                crop: greatest share of the sides cut off, 0 to 0.9: a window of the picture's proportions, anywhere in
                    it, is stretched to full size.
                brightness: greatest change, 0 to 1 of the full range (0.2: -51 to 51), the same for all pixels.
                contrast: greatest change, 0 to 1, of the factor on the distance from each channel's mean.
                colour: of three channels: greatest change, 0 to 1, of the factor on the saturation; the hue turns by up
                    to half that share of the circle (0.1: 18 degrees) to either side.
            A recording, in this order:
                shift: greatest shift in seconds, to either side; silence moves in.
                gain: greatest change of the level in dB, 0 to 60, to either side.
                noise: least signal-to-noise ratio in dB, -20 to 100: white noise between this ratio and 20 dB above
                    it, by the power of the row's whole recording; silence stays silent. What leaves -1 to 1 is cut off.
            A sentence:
                drop: probability, 0 to 1, that a word becomes the unknown word (id 1), as in Bowman et al., Generating
                    Sentences from a Continuous Space, 2016; at least one word of each sentence stays.
            A trace, in this order (Um et al., Data Augmentation of Wearable Sensor Data, 2017):
                warp: greatest shift of a step in time, 0 to 0.3 of the trace's length; its ends stay.
                scale: greatest change, 0 to 1, of the factor on each sensor's distance from its mean.
                noise: 0 to 10 standard deviations of the sensor.
            Columns, in this order:
                noise: 0 to 10 standard deviations of the column; on numbers alone.
                hide: probability, 0 to 1, that a cell becomes a hole.
            A video, all of its frames alike: flip (horizontal), brightness, contrast and colour of a picture.
        seed: whole number.

    Returns:
        A function `(inputs, step) -> inputs`, for eager calls and `tf.data.Dataset.map`. `inputs`: dict of name ->
        `(batch, ...)` in the units of the schema; shapes, dtypes and ranges stay (pictures uint8 0 to 255, waves
        float32 -1 to 1, ids int32 with padding 0 untouched), inputs without options pass through. `step`: scalar
        int64, the number of the batch since the start of training, so that no epoch repeats another.

    Raises:
        InputError: an unknown input or option, one of another kind of input, a value out of range, a kind of input
            without an augmentation.

    >>> from mmkeras.schema import Category, Schema, Text
    >>> schema = Schema({"question": Text(4, vocabulary=["a"])}, {"answer": Category()})
    >>> augment = augmenter(schema, {"question": {"drop": 1}})
    >>> sorted(augment({"question": tf.constant([[2, 2, 2, 0]])}, 0)["question"].numpy()[0].tolist())
    [0, 1, 1, 2]
    """
    if not is_whole(seed, float("-inf")):
        raise InputError(f"augment: expected seed to be a whole number, received {shown(seed)}")
    chosen = _checked(schema, options)

    @tf.autograph.experimental.do_not_convert
    def augment(inputs: Mapping[str, Any], step: Any) -> dict[str, Any]:
        changed = dict(inputs)
        for name in [name for name in inputs if name in chosen]:
            x, feature = tf.convert_to_tensor(inputs[name]), schema.inputs[name]
            flat = tf.reshape(x, (-1, *feature.shape))  # of several files each is changed by itself
            draws = Draws(seed, name, tf.cast(step, tf.int64), tf.shape(flat)[0])
            flat = AUGMENTATIONS.of(feature).apply(flat, draws, chosen[name], feature.single)
            flat = tf.ensure_shape(flat, (None, *feature.shape))
            if feature.padded:
                flat = _ended(flat, tf.reshape(inputs[f"{name}_length"], [-1]), feature)
            if feature.views is not None:
                there = tf.reshape(inputs[f"{name}_there"], (-1, *[1] * len(feature.shape)))
                flat = tf.where(there, flat, tf.zeros_like(flat))
            changed[name] = tf.reshape(flat, (-1, *feature.received[""][0]))
        return changed

    return augment


def _checked(schema: Schema, options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options, without inputs that have none."""
    if not isinstance(options, Mapping):
        raise InputError(f"augment: expected a dict of input name -> options, received {shown(options)}")
    for name, own in options.items():
        if name not in schema.inputs:
            raise unknown("input", name, schema.inputs, where="augment: ")
        if not isinstance(own, Mapping):
            raise InputError(f"augment: {name!r}: expected a dict of options, received {shown(own)}")
        if own:
            feature, where = schema.inputs[name], f"augment: {name!r}: "
            AUGMENTATIONS.of(feature, where).check_options(own, feature, where)
    return {name: dict(own) for name, own in options.items() if own}


def _ended(x: tf.Tensor, lengths: Any, feature: Input) -> tf.Tensor:
    """The values with zeros after the end of each row."""
    there = tf.sequence_mask(lengths, feature.shape[0])
    return tf.where(tf.reshape(there, (-1, feature.shape[0], *[1] * (len(feature.shape) - 1))), x, tf.zeros_like(x))
