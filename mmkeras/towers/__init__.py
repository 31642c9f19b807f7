"""Towers: one modality in, tokens out.

A tower is a function `(x, *, mask=None, feature, width, name) -> Tokens` of `(batch, ...)` in raw units. `feature` is
the schema's entry of its input (the rate of a recording, the vocabulary of a text), and its annotation says what the
tower reads: `feature: Text | Series`. A tower on words or on a padded input (`Series`, `Video`) asks for `mask`,
`(batch, steps)` bool, True where there is something; one that needs neither leaves them out. It may have options of its
own.

    Image      (batch, height, width, channels) uint8                conv residual mobile vit
    Text       (batch, length) int32                                 bag lstm gru conv1d transformer
    Audio      (batch, samples) float32                              spectrogram spectrogram_lstm
                                                                     spectrogram_transformer waveform
                                                                     lstm gru conv1d transformer
    Series     (batch, length, channels) float32                     conv1d lstm gru transformer
    Tabular    (batch, 2 * numeric + categorical) float32            mlp feature_tokens
    Video      (batch, frames, height, width, channels) uint8        frames

`from_model` makes a tower of any keras.Model.
"""

import inspect
from typing import get_args

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, hide_padding
from mmkeras.registry import Catalogue, arguments, choose
from mmkeras.schema import Audio, Image, Series, Tabular, Text, Video
from mmkeras.towers import audio, image, sequence, tabular, text, video
from mmkeras.towers.pretrained import from_model

__all__ = ["DEFAULTS", "TOWERS", "from_model", "reads", "register", "require_reads", "tower"]

TOWERS = Catalogue(
    "tower",
    {
        "conv": image.conv,
        "residual": image.residual,
        "mobile": image.mobile,
        "vit": image.vit,
        "bag": text.bag,
        "lstm": sequence.lstm,
        "gru": sequence.gru,
        "conv1d": sequence.conv1d,
        "transformer": sequence.transformer,
        "spectrogram": audio.spectrogram,
        "spectrogram_lstm": audio.spectrogram_lstm,
        "spectrogram_transformer": audio.spectrogram_transformer,
        "waveform": audio.waveform,
        "mlp": tabular.mlp,
        "feature_tokens": tabular.feature_tokens,
        "frames": video.frames,
    },
    __name__,
)
# By benchmarks/RESULTS.md: "conv" is within a point of "residual" on digits, two points below it on photographs, at
# two fifths of its cost; "conv1d" is the best on long texts, where "lstm" is far behind, and level with the best on
# traces; "spectrogram" is level with the best. As the question's tower (validation rows of keypad and qa.csv, one seed)
# "conv1d" comes to the same as "lstm", .982 and .985 against .983 and .983, at about four fifths of the model's cost.
DEFAULTS = {Image: "conv", Text: "conv1d", Audio: "spectrogram", Series: "conv1d", Tabular: "mlp", Video: "frames"}

register = TOWERS.register


def reads(part):
    """The kinds of input that a tower reads, by the annotation of its `feature`; None: it does not say.

    >>> [kind.__name__ for kind in reads(TOWERS["lstm"])]
    ['Text', 'Series', 'Audio']
    """
    parameter = inspect.signature(part, eval_str=True).parameters.get("feature")
    if parameter is None or parameter.annotation is parameter.empty:
        return None
    return get_args(parameter.annotation) or (parameter.annotation,)


def check_width(width, where):
    """The width, if it can be one; else an `InputError`."""
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise InputError(f"{where}: expected width to be a whole number above 0, received {width!r}")
    return width


def require_reads(part, feature, kind, where):
    """Raise an `InputError` unless the tower reads this kind of input."""
    kinds = reads(part)
    if kinds is not None and not isinstance(feature, kinds):
        known = " or ".join(one.__name__ for one in kinds)
        raise InputError(f"{where}tower {kind!r} reads {known}, received {type(feature).__name__} {feature.shape}")


def tower(feature, choice, *, width, name):
    """The sub-model `<name>_tower` of one input.

    Args:
        feature: the schema's entry.
        choice: name of a tower, or a dict of "kind" and options; None: the modality's default.
        width: width of its tokens, unless `choice` has a "width" of its own.
        name: of the input.

    Returns:
        `keras.Model`: `(batch, *feature.shape)`, for a padded input a list of that and `<name>_length` `(batch,)` int32
        -> values `(batch, tokens, width)`, or `[values, mask]` with mask `(batch, tokens)` bool. Values are zeros
        behind the mask.

    Raises:
        InputError: an unknown tower or option, an input that the tower cannot read.
    """
    where = f"{name!r}: "
    kind, build, options = choose(TOWERS, choice or DEFAULTS[type(feature)], where)
    width = check_width(options.pop("width", width), f"{where}tower {kind!r}")
    x = keras.Input(feature.shape, dtype=feature.dtype, name=name)
    inputs, mask = x, None
    if isinstance(feature, Text):
        mask = ops.not_equal(x, 0)
    elif feature.padded:
        length = keras.Input((), dtype="int32", name=f"{name}_length")
        inputs, mask = [x, length], ops.less(ops.arange(feature.shape[0]), ops.expand_dims(length, 1))
    require_reads(build, feature, kind, where)
    given = {"mask": mask, "width": width, "name": name, "feature": feature}
    tokens = build(x, **arguments("tower", kind, build, options, given, where))
    if not isinstance(tokens, Tokens) or len(tokens.values.shape) != 3 or tokens.values.shape[-1] != width:
        raise InputError(
            f"{where}expected tower {kind!r} to return Tokens of (batch, tokens, {width}), received {tokens!r}"
        )
    values, mask = hide_padding(tokens)
    return keras.Model(inputs, values if mask is None else [values, mask], name=f"{name}_tower")
