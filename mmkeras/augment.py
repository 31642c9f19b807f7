"""Random changes of the inputs in training: pictures, recordings and sentences, a batch at a time in tf.data.

Every number drawn is a function of (seed, step, input, option) alone, so a run can be repeated however many threads
prepare its batches. Keras' random layers cannot promise that: they draw from a counter of their own and accept no
tensor as seed. The changes below are theirs in meaning (`RandomFlip`, `RandomRotation`, `RandomBrightness`,
`RandomContrast`, `RandomHue`), in TensorFlow's ops.
"""

import hashlib
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import tensorflow as tf

from mmkeras.errors import InputError, unknown
from mmkeras.schema import Audio, Image, Text

# Axes of (batch, height, width, channels) that may be mirrored.
FLIPS = {False: (), True: (2,), "horizontal": (2,), "vertical": (1,), "both": (1, 2)}

# Options of each kind of input: least value, greatest value, unit. A recording is shifted by its duration at most.
LIMITS = {
    Image: {
        "flip": FLIPS,
        "rotate": (0, 180, "degrees"),
        "crop": (0, 0.9, "share of the sides"),
        "brightness": (0, 1, "share of the range"),
        "contrast": (0, 1, "share"),
        "colour": (0, 1, "share"),
    },
    Audio: {"shift": (0, math.inf, "seconds"), "gain": (0, 60, "dB"), "noise": (-20, 100, "dB")},
    Text: {"drop": (0, 1, "probability")},
}


class Draws(NamedTuple):
    """Random numbers for one input of one batch: step is its number, scalar int64; rows its size, scalar int32."""

    seed: int
    name: str
    step: Any
    rows: Any

    def _key(self, purpose):
        digest = hashlib.blake2b(f"{self.seed} {self.name} {purpose}".encode(), digest_size=8).digest()
        return tf.stack([tf.constant(int.from_bytes(digest, "big", signed=True), tf.int64), self.step])

    def uniform(self, purpose, shape, low, high):
        """`(rows, *shape)` float32, uniform from low to high, independent for each purpose."""
        return tf.random.stateless_uniform((self.rows, *shape), self._key(purpose), low, high)

    def around(self, purpose, shape, most):
        """`(rows, *shape)` float32, uniform from -most to most."""
        return self.uniform(purpose, shape, -most, most)

    def normal(self, purpose, shape):
        """`(rows, *shape)` float32 of mean 0 and variance 1."""
        return tf.random.stateless_normal((self.rows, *shape), self._key(purpose))


def augmenter(schema, options, seed=0):
    """A function that changes the inputs of a training batch at random, each row by draws of its own.

    Augment what leaves the answer as it was: no flip where the sentence asks for left or right.

    Args:
        schema: `Schema`.
        options: dict of input name -> dict of options. An input or option that is not named changes nothing.
            A picture, in this order; rotate and crop are one bilinear resampling:
                flip: "horizontal" or True, "vertical", "both" (each axis by itself), with chance 1/2; False: none.
                rotate: greatest angle in degrees, 0 to 180, to either side about the centre; what turns in is the
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
        seed: whole number.

    Returns:
        A function `(inputs, step) -> inputs`, for eager calls and `tf.data.Dataset.map`. `inputs`: dict of name ->
        `(batch, ...)` in the units of the schema; shapes, dtypes and ranges stay (pictures uint8 0 to 255, waves
        float32 -1 to 1, ids int32 with padding 0 untouched), names that the options lack pass through. `step`: scalar
        int64, the number of the batch since the start of training, so that no epoch repeats another.

    Raises:
        InputError: an unknown input or option, one of another kind of input, a value out of range.

    >>> from mmkeras.schema import Category, Schema
    >>> schema = Schema({"question": Text(4, vocabulary=["a"])}, {"answer": Category()})
    >>> augment = augmenter(schema, {"question": {"drop": 1}})
    >>> sorted(augment({"question": tf.constant([[2, 2, 2, 0]])}, 0)["question"].numpy()[0].tolist())
    [0, 1, 1, 2]
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"augment: expected seed to be a whole number, received {seed!r}")
    chosen = _checked(schema, options)

    @tf.autograph.experimental.do_not_convert
    def augment(inputs, step):
        changed = dict(inputs)
        for name in [name for name in inputs if name in chosen]:
            x, feature = tf.convert_to_tensor(inputs[name]), schema.inputs[name]
            draws = Draws(seed, name, tf.cast(step, tf.int64), tf.shape(x)[0])
            x = CHANGES[type(feature)](x, feature, chosen[name], draws)
            changed[name] = tf.ensure_shape(x, (None, *feature.shape))
        return changed

    return augment


def _checked(schema, options):
    """The options, without inputs that have none."""
    if not isinstance(options, Mapping):
        raise InputError(f"augment: expected a dict of input name -> options, received {options!r}")
    for name, own in options.items():
        if name not in schema.inputs:
            raise unknown("input", name, schema.inputs, where="augment: ")
        if not isinstance(own, Mapping):
            raise InputError(f"augment: {name!r}: expected a dict of options, received {own!r}")
        for option, value in own.items():
            _check_option(schema.inputs[name], option, value, where=f"augment: {name!r}: ")
    return {name: dict(own) for name, own in options.items() if own}


def _check_option(feature, option, value, where):
    limits = LIMITS.get(type(feature), {})
    if option not in limits:
        raise unknown(f"option of {type(feature).__name__}", option, limits, where)
    if option == "flip":
        if isinstance(value, (bool, str)) and value in FLIPS:
            return
        raise InputError(f"{where}expected flip to be one of {', '.join(map(repr, FLIPS))}, received {value!r}")
    low, high, unit = limits[option]
    high = feature.seconds if option == "shift" else high
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        raise InputError(f"{where}expected {option} to be from {low:g} to {high:g} ({unit}), received {value!r}")
    if option == "colour" and feature.channels != 3:
        raise InputError(f"{where}expected 3 channels for colour, received {feature.channels}")


def _change_pictures(x, feature, options, draws):
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


def _resample(x, feature, options, draws):
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


def _change_colour(x, change, draws):
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(x / 255), axis=-1)
    hue = tf.math.floormod(hue + draws.around("hue", (1, 1), change / 2), 1.0)
    saturation = tf.clip_by_value(saturation * (1 + draws.around("saturation", (1, 1), change)), 0.0, 1.0)
    return 255 * tf.image.hsv_to_rgb(tf.stack([hue, saturation, value], axis=-1))


def _change_waves(x, feature, options, draws):
    if "shift" in options:
        x = _shift(x, feature.samples, draws.around("shift", (1,), options["shift"] * feature.sampling_rate))
    if "gain" in options:
        x *= 10 ** (draws.around("gain", (1,), options["gain"] / 20))
    if "noise" in options:
        ratio = draws.uniform("ratio", (1,), options["noise"], options["noise"] + 20)
        power = tf.reduce_mean(x**2, axis=1, keepdims=True) / 10 ** (ratio / 10)
        x += tf.sqrt(power) * draws.normal("noise", feature.shape)
    return tf.clip_by_value(x, -1.0, 1.0)


def _shift(x, samples, later):
    """Each row `later` samples later, `(batch, 1)` float, rounded; zeros where nothing was."""
    source = tf.range(samples) - tf.cast(tf.round(later), tf.int32)
    there = (source >= 0) & (source < samples)
    return tf.where(there, tf.gather(x, tf.clip_by_value(source, 0, samples - 1), batch_dims=1), 0.0)


def _drop_words(x, feature, options, draws):
    luck = tf.where(x == 0, -1.0, draws.uniform("drop", feature.shape, 0, 1))
    luckiest = tf.reduce_max(luck, axis=1, keepdims=True)  # stays whatever the probability
    dropped = (x != 0) & (luck < options["drop"]) & (luck < luckiest)
    return tf.where(dropped, tf.ones_like(x), x)  # 1: the unknown word


CHANGES = {Image: _change_pictures, Audio: _change_waves, Text: _drop_words}
