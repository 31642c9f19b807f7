"""Towers: one modality in, tokens out.

A tower is a function `(x, *, mask=None, feature, width, name) -> Tokens` of `(batch, ...)` in raw units. `feature` is
the schema's entry of its input (the rate of a recording, the vocabulary of a text), and its annotation lists the kinds
that the tower reads: `feature: Text | Series`, or `feature: mk.towers.fronts.Sequence` for every kind with a front. A
tower for words or for a padded input (`Series`, `Video`) has the argument `mask`, `(batch, steps)` bool, False at
padding; a tower that needs neither leaves them out. It may have options of its own.

    Image      (batch, height, width, channels) uint8                conv residual mobile vit
    Text       (batch, length) int32                                 bag lstm gru conv1d transformer
    Audio      (batch, samples) float32                              spectrogram spectrogram_lstm
                                                                     spectrogram_transformer waveform
                                                                     lstm gru conv1d transformer
    Series     (batch, length, channels) float32                     conv1d lstm gru transformer
    Tabular    (batch, 2 * numeric + categorical) float32            mlp feature_tokens
    Video      (batch, frames, height, width, channels) uint8        frames

`from_model` makes a tower of any keras.Model. Your own tower, for your own kind of input:

    @mk.towers.register("points", default_for=(PointCloud,))
    def points(x, *, mask, feature: PointCloud, width, name): ...
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_origin

import keras
from keras import KerasTensor, ops

from mmkeras.checks import check_whole
from mmkeras.errors import InputError, shown
from mmkeras.inputs import Audio, Image, Input, Series, Tabular, Text, Video
from mmkeras.layers import Tokens, hide_padding
from mmkeras.registry import Catalogue, Kinds, arguments, choose
from mmkeras.towers import fronts
from mmkeras.towers.audio import spectrogram, spectrogram_lstm, spectrogram_transformer, waveform
from mmkeras.towers.image import conv, mobile, residual, vit
from mmkeras.towers.pretrained import from_model
from mmkeras.towers.sequence import conv1d, gru, lstm, transformer
from mmkeras.towers.tabular import feature_tokens, mlp
from mmkeras.towers.text import bag
from mmkeras.towers.video import frames

__all__ = [
    "DEFAULTS",
    "TOWERS",
    "bag",
    "conv",
    "conv1d",
    "feature_tokens",
    "frames",
    "from_model",
    "fronts",
    "gru",
    "lstm",
    "mlp",
    "mobile",
    "reads",
    "register",
    "require_reads",
    "residual",
    "spectrogram",
    "spectrogram_lstm",
    "spectrogram_transformer",
    "tower",
    "transformer",
    "vit",
    "waveform",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


PARTS = [conv, residual, mobile, vit, bag, lstm, gru, conv1d, transformer]
PARTS += [spectrogram, spectrogram_lstm, spectrogram_transformer, waveform, mlp, feature_tokens, frames]
TOWERS = Catalogue("tower", {part.__name__: part for part in PARTS}, __name__)

# By benchmarks/RESULTS.md: "conv" is within a point of "residual" on digits, two points below it on photographs, at
# two fifths of its cost; "conv1d" is the best on long texts, where "lstm" is far worse, and level with the best on
# traces; "spectrogram" is level with the best. As the question's tower (validation rows of keypad and qa.csv, one seed)
# "conv1d" scores the same as "lstm", .982 and .985 against .983 and .983, at about four fifths of the model's cost.
DEFAULTS = Kinds("default tower", str, __name__, 'register("mine", default_for=({kind},))')
DEFAULTS.register(Image)("conv")
DEFAULTS.register(Text, Series)("conv1d")
DEFAULTS.register(Audio)("spectrogram")
DEFAULTS.register(Tabular)("mlp")
DEFAULTS.register(Video)("frames")


def register(name: str, default_for: tuple[type[Input], ...] = ()) -> Callable[[Callable], Callable]:
    """Decorator that adds a tower: `@mk.towers.register("mine")`.

    Args:
        name: of the tower, to choose it by.
        default_for: the kinds of input that get it by default.

    Raises:
        InputError: a name that is taken, a kind that has a default tower already.
    """
    add = TOWERS.register(name)

    def enter(part: Callable) -> Callable:
        add(part)
        DEFAULTS.register(*default_for)(name)
        return part

    return enter


def reads(part: Callable) -> tuple[type[Input], ...] | None:
    """The kinds of input that a tower reads, by the annotation of its `feature`; None without an annotation.

    >>> [kind.__name__ for kind in reads(TOWERS["lstm"])]
    ['Text', 'Series', 'Audio']
    """
    parameter = inspect.signature(part, eval_str=True).parameters.get("feature")
    if parameter is None or parameter.annotation is parameter.empty:
        return None
    if get_origin(parameter.annotation) is Annotated:  # of the kinds in a table, including a user's own
        return tuple(parameter.annotation.__metadata__[0])
    return get_args(parameter.annotation) or (parameter.annotation,)


def require_reads(part: Callable, feature: Input, kind: str, where: str) -> None:
    """Raise an `InputError` unless the tower reads this kind of input."""
    kinds = reads(part)
    if kinds is not None and not isinstance(feature, kinds):
        known = " or ".join(one.__name__ for one in kinds)
        raise InputError(f"{where}tower {kind!r} reads {known}, received {type(feature).__name__} {feature.shape}")


def tower(
    feature: Input, choice: str | Mapping[str, Any] | Callable | None, *, width: int, name: str, grids: bool = False
) -> keras.Model:
    """The sub-model `<name>_tower` of one input.

    Args:
        feature: the schema's entry.
        choice: name of a tower, or a dict of "kind" and options; None: the default of its kind.
        width: width of its tokens, unless `choice` has a "width" of its own.
        name: of the input.
        grids: whether the tower's feature maps are among the outputs, where it has any.

    Returns:
        `keras.Model`: `(batch, *feature.shape)`, for a padded input a list of that and `<name>_length` `(batch,)` int32
        (with several files, each has an axis of files after the batch, and `<name>_there` `(batch, files)` bool:
        the tower is applied to each file, and their tokens are concatenated; those of missing files are masked)
        -> values `(batch, tokens, width)`, or `[values, mask]` with mask `(batch, tokens)` bool; with grids after them
        in one list, each `(batch, rows, columns, channels)`, the finest first: `Tokens.of` reads it. Values are zeros
        where the mask is False.

    Raises:
        InputError: an unknown tower or option, an input that the tower cannot read, a kind without a default tower.
    """
    where = f"{name!r}: "
    kind, build, options = choose(TOWERS, choice or DEFAULTS.of(feature), where)
    width = check_whole(options.pop("width", width), "width", f"{where}tower {kind!r}: ")
    inputs = {suffix: keras.Input(shape, dtype=dtype, name=name + suffix) for suffix, (shape, dtype) in _read(feature)}
    x, mask = _each_file(feature, inputs)
    require_reads(build, feature.single, kind, where)
    given = {"mask": mask, "width": width, "name": name, "feature": feature.single}
    tokens = build(x, **arguments("tower", kind, build, options, given, where))
    if not isinstance(tokens, Tokens) or len(tokens.values.shape) != 3 or tokens.values.shape[-1] != width:
        raise InputError(
            f"{where}expected tower {kind!r} to return Tokens of (batch, tokens, {width}), received {shown(tokens)}"
        )
    if any(len(grid.shape) != 4 for grid in tokens.grids):
        raise InputError(
            f"{where}expected tower {kind!r} to return grids (batch, rows, columns, channels), received "
            f"{shown([tuple(grid.shape) for grid in tokens.grids])}"
        )
    tokens = hide_padding(tokens if feature.views is None else _side_by_side(tokens, inputs["_there"]))
    made = tokens.tensors if grids else tokens.pair
    return keras.Model(
        *(one if len(one) > 1 else one[0] for one in (list(inputs.values()), made)), name=f"{name}_tower"
    )


def _read(feature: Input) -> list[tuple[str, tuple[tuple[int, ...], str]]]:
    """The tensors of an input that a tower reads: suffix, (shape, dtype)."""
    return [(suffix, kind) for suffix, kind in feature.received.items() if suffix != "_present"]


def _each_file(feature: Input, inputs: dict[str, KerasTensor]) -> tuple[KerasTensor, KerasTensor | None]:
    """The values `(batch, ...)`, for several files `(batch * files, ...)`; and their mask `(..., steps)`, or None."""
    x, length = inputs[""], inputs.get("_length")
    if feature.views is not None:
        x = ops.reshape(x, (-1, *feature.shape))
        length = None if length is None else ops.reshape(length, (-1,))
    if length is not None:
        return x, ops.less(ops.arange(feature.shape[0]), ops.expand_dims(length, 1))
    return x, ops.not_equal(x, 0) if feature.zero_is_padding else None


def _side_by_side(tokens: Tokens, there: KerasTensor) -> Tokens:
    """Tokens `(batch * files, tokens, width)` of each file as `(batch, files * tokens, width)`, without grids."""
    files, (_, count, width) = there.shape[1], tokens.values.shape
    mask = ops.repeat(there, count, axis=1)
    if tokens.mask is not None:
        mask = ops.logical_and(mask, ops.reshape(tokens.mask, (-1, files * count)))
    return Tokens(ops.reshape(tokens.values, (-1, files * count, width)), mask)
