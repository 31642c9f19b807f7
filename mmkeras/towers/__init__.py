"""Towers: one modality in, tokens out.

A tower is a function `(x, *, mask=None, feature, width, name) -> Tokens` of `(batch, ...)` in raw units. `feature` is
the schema's entry of its input (the rate of a recording, the vocabulary of a text), and its annotation says what the
tower reads: `feature: Text | Series`. A tower on words or on a padded input (`Series`, `Video`) asks for `mask`,
`(batch, steps)` bool, True where there is something; one that needs neither leaves them out. It may have options of its
own.

    conv          Image    (batch, height, width, channels) uint8
    lstm          Text     (batch, length) int32; Series as conv1d
    spectrogram   Audio    (batch, samples) float32
    conv1d        Series   (batch, length, channels) float32
    mlp           Tabular  (batch, 2 * numeric + categorical) float32
    frames        Video    (batch, frames, height, width, channels) uint8
"""

import inspect
from typing import get_args

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, hide_padding
from mmkeras.registry import arguments, choose, registrar
from mmkeras.schema import Audio, Image, Series, Tabular, Text, Video
from mmkeras.towers import audio, image, series, tabular, text, video

TOWERS = {
    "conv": image.conv,
    "lstm": text.lstm,
    "spectrogram": audio.spectrogram,
    "conv1d": series.conv1d,
    "mlp": tabular.mlp,
    "frames": video.frames,
}
DEFAULTS = {Image: "conv", Text: "lstm", Audio: "spectrogram", Series: "conv1d", Tabular: "mlp", Video: "frames"}

register = registrar("tower", TOWERS)


def reads(part):
    """The kinds of input that a tower reads, by the annotation of its `feature`; None: it does not say.

    >>> [kind.__name__ for kind in reads(TOWERS["lstm"])]
    ['Text', 'Series']
    """
    parameter = inspect.signature(part, eval_str=True).parameters.get("feature")
    if parameter is None or parameter.annotation is parameter.empty:
        return None
    return get_args(parameter.annotation) or (parameter.annotation,)


def _require_reads(part, feature, kind, where):
    kinds = reads(part)
    if kinds is not None and not isinstance(feature, kinds):
        known = " or ".join(one.__name__ for one in kinds)
        raise InputError(f"{where}tower {kind!r} reads {known}, received {type(feature).__name__} {feature.shape}")


def tower(feature, choice, *, width, name):
    """The sub-model `<name>_tower` of one input.

    Args:
        feature: the schema's entry.
        choice: name of a tower, or a dict of "kind" and options; None: the modality's default.
        width: width of its tokens.
        name: of the input.

    Returns:
        `keras.Model`: `(batch, *feature.shape)`, for a padded input a list of that and `<name>_length` `(batch,)` int32
        -> values `(batch, tokens, width)`, or `[values, mask]` with mask `(batch, tokens)` bool. Values are zeros
        behind the mask.

    Raises:
        InputError: an unknown tower or option, an input that the tower cannot read.
    """
    where = f"{name!r}: "
    kind, build, options = choose("tower", TOWERS, choice or DEFAULTS[type(feature)], where)
    x = keras.Input(feature.shape, dtype=feature.dtype, name=name)
    inputs, mask = x, None
    if isinstance(feature, Text):
        mask = ops.not_equal(x, 0)
    elif feature.padded:
        length = keras.Input((), dtype="int32", name=f"{name}_length")
        inputs, mask = [x, length], ops.less(ops.arange(feature.shape[0]), ops.expand_dims(length, 1))
    _require_reads(build, feature, kind, where)
    given = {"mask": mask, "width": width, "name": name, "feature": feature}
    tokens = build(x, **arguments("tower", kind, build, options, given, where))
    if not isinstance(tokens, Tokens) or len(tokens.values.shape) != 3 or tokens.values.shape[-1] != width:
        raise InputError(
            f"{where}expected tower {kind!r} to return Tokens of (batch, tokens, {width}), received {tokens!r}"
        )
    values, mask = hide_padding(tokens)
    return keras.Model(inputs, values if mask is None else [values, mask], name=f"{name}_tower")
