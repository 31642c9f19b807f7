"""Any functional keras.Model as a tower: backbones of keras.applications and KerasHub, and your own models."""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import KerasTensor, ops

from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Input
from mmkeras.layers import (
    Frozen,
    Tokens,
    check_switches,
    check_tokens,
    grid_tokens,
    hide_padding,
    masked_mean,
    one_token,
)

SENTENCE = ("token_ids", "padding_mask", "segment_ids")  # KerasHub's names of a text model's inputs
SEQUENCE = "sequence_output"  # KerasHub's name of one vector a token, where a model has several outputs
PICTURE = 4  # axes of the input of a model for pictures


def from_model(
    model: keras.Model,
    *,
    layer: str | None = None,
    trainable: bool = False,
    preprocess: Callable | None = None,
    resize: tuple[int, int] | None = None,
) -> Callable[..., Tokens]:
    """A tower that is a copy of a model, followed by a dense layer to the width of the tokens.

    Every built model gets a copy of its own with the weights that `model` has at that time, so `model` itself never
    changes. The tower has the options `tokens` and `dropout`, as
    `mk.build(schema, towers={"photo": {"kind": mk.towers.from_model(model), "tokens": "all"}})`. To keep a `ModelSpec`
    as JSON, register it by a name: `mk.towers.register("resnet")(mk.towers.from_model(model))`. The trials of a search,
    which have processes of their own, get it with the classes of its layers.

    The model's input decides which inputs the tower reads, including your own kinds: those with as many axes, and of
    whole numbers if the model takes those.

    - `(batch, height, width, channels)`: an Image. It comes as float32 from 0 to 255; a grey one is repeated to three
      channels, one of another size is resized (bilinear, without regard to its proportions).
    - `(batch, length)`: a Text as its ids, or the samples of an Audio, or the numbers of a Tabular. A KerasHub text
      backbone gets its inputs by their names `token_ids`, `padding_mask` and `segment_ids` (zeros). The ids are those
      of the schema (0 padding, 1 unknown, then the vocabulary): a text backbone that was trained with other ids has to
      be trained further.
    - `(batch, steps, channels)`: a Series in the sensors' units, with zeros after its end. `(batch, frames, height,
      width, channels)`: a Video; for a model of pictures see the tower 'frames'. Whether a longer padding changes
      the output depends on the model.

    The output becomes tokens: `(batch, rows, columns, channels)` one by flatten and dense, or one a place;
    `(batch, steps, channels)` one by the mean of the steps that are there, or one a step, with the input's mask;
    `(batch, channels)` one token.

    Batch normalisation in a model with trainable=True sees the placeholders of an input with optional=True, and keeps
    its momentum: with the 0.999 of keras.applications' MobileNets, its statistics lag a thousand steps.

    Args:
        model: built `keras.Model`, functional or Sequential; with several outputs, `layer` chooses one, or one is named
            "sequence_output". Before a model built with it is loaded, `import mmkeras.layers` and the module that
            defines its layers (`import keras_hub`).
        layer: name of an inner layer, or of one of several outputs, whose (first) output is taken; None: the model's.
        trainable: False: the copy's weights are frozen and its layers always behave as at inference. True: all of it
            is trained.
        preprocess: function of `keras.ops`, or layer, from values as above to those that the model was trained on, as
            `keras.applications.resnet.preprocess_input`; None: the model does it itself, or needs none.
        resize: `(height, width)` for a model that takes pictures of any size; None: the picture's own.

    Returns:
        The tower, a function.

    Raises:
        InputError: a model, layer or size that cannot be used; in `build` an input that does not fit the model.
    """
    inner = _cut(model, layer)
    _check_inputs(inner)
    axes, kept = len(inner.inputs[0].shape), _Kept(model)
    if resize is not None and (axes != PICTURE or None not in inner.inputs[0].shape[1:3]):
        raise InputError(
            f"from_model: expected resize with a model of pictures of any size, received {shown(resize)} and a model "
            f"of {_shapes(inner)}"
        )

    def part(
        x: KerasTensor,
        *,
        mask: KerasTensor | None = None,
        feature: Any,
        width: int,
        name: str,
        dropout: float = 0.0,
        tokens: str = "one",
    ) -> Tokens:
        check_tokens(tokens, name)
        where = f"{name!r}: "
        backbone = _copied(kept.model, layer, f"{name}_backbone")
        if not can_read(backbone, feature):
            raise InputError(
                f"{where}tower {part.__name__!r} reads {_shapes(backbone)}, received {type(feature).__name__} "
                f"{feature.shape}"
            )
        if feature.zero_is_padding:
            _check_words(kept.model, backbone, feature, where)
        if feature.padded:
            x = hide_padding(Tokens(x, mask)).values
        elif axes == PICTURE:
            shape = backbone.inputs[0].shape[1:]
            size = (wanted or given for wanted, given in zip(shape[:2], resize or feature.shape[:2], strict=True))
            x = as_picture(x, feature, (*size, shape[2]), where)
        if preprocess is not None:
            x = preprocess(x)
        return read_with(backbone, x, mask, width=width, name=name, trainable=trainable, dropout=dropout, tokens=tokens)

    part.__name__ = f"from_model({model.name})"
    del part.__annotations__["feature"]  # whether it can read an input is checked for each: see `can_read`
    return part


class _Kept:
    """A model that is pickled with the classes of its layers, so that another process need not know them."""

    def __init__(self, model: keras.Model):
        self.model = model

    def __reduce__(self):
        classes = {keras.saving.get_registered_name(type(part)): type(part) for part in _parts(self.model)}
        return _restored, (pickle.dumps(self.model), {name: one for name, one in classes.items() if ">" in name})


def _parts(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """A model and all layers inside it."""
    yield model
    for layer in getattr(model, "layers", ()):
        yield from _parts(layer)


def _restored(pickled: bytes, classes: dict[str, type]) -> _Kept:
    for registered, part in classes.items():
        if keras.saving.get_registered_object(registered) is None:
            package, _, name = registered.partition(">")
            keras.saving.register_keras_serializable(package, name)(part)
    return _Kept(pickle.loads(pickled))


def can_read(model: keras.Model, feature: Input) -> bool:
    """Whether a functional model takes values with as many axes, and whole numbers if it needs them."""
    if len(model.inputs) > 1:
        return feature.zero_is_padding and len(feature.shape) == 1
    given = model.inputs[0]
    whole = len(given.shape) == 2 and "int" in keras.backend.standardize_dtype(given.dtype)
    return len(given.shape) == len(feature.shape) + 1 and (feature.zero_is_padding or not whole)


def as_picture(x: KerasTensor, feature: Input, shape: tuple[int | None, ...], where: str) -> KerasTensor:
    """Pictures as a model takes them: `(batch, *shape)`, float32 from 0 to 255.

    Args:
        x: `(batch, height, width, channels)`, of numbers from 0 to 255.
        feature: `Image`, or another input of this shape.
        shape: `(height, width, channels)`; None: any number of channels.
        where: beginning of the message of an error.
    """
    (*size, channels), given = shape, feature.shape[2]
    x = ops.cast(x, "float32")
    if tuple(size) != feature.shape[:2]:
        x = ops.image.resize(x, size, data_format="channels_last")
    if channels == 3 and given == 1:
        x = ops.repeat(x, 3, axis=-1)
    elif channels not in (None, given):
        raise InputError(f"{where}expected {channels} channels, which the model takes, received {given}")
    return x


def read_with(
    model: keras.Model,
    x: KerasTensor,
    mask: KerasTensor | None,
    *,
    width: int,
    name: str,
    trainable: bool,
    dropout: float,
    tokens: str,
) -> Tokens:
    """Tokens from the outputs of a model, which becomes part of the tower.

    Args:
        model: functional `keras.Model` of one output; it is frozen unless trainable.
        x: its values.
        mask: `(batch, steps)` bool, or None.
        width: width of the tokens.
        name: of the input.
        trainable: whether the model's weights are trained.
        dropout: share of the values dropped in training before the dense layer.
        tokens: "one" or "all".
    """
    check_switches(name, trainable=trainable)
    read = model if trainable else Frozen(model, name=f"{name}_frozen")
    try:
        out = read(_fed(model, x, mask))
    except ValueError as error:
        raise InputError(
            f"{name!r}: expected values for its model, which takes {_shapes(model)}, received "
            f"{tuple(x.shape)} ({error})"
        ) from error
    if None in out.shape[1:] or len(out.shape) not in (2, 3, 4):
        raise InputError(
            f"{name!r}: expected its model to give (batch, channels), (batch, steps, channels) or "
            f"(batch, rows, columns, channels) of known sizes, received {tuple(out.shape)}"
        )
    if len(out.shape) == 4:
        return grid_tokens(out, width=width, dropout=dropout, tokens=tokens, name=name)
    if len(out.shape) == 3 and mask is not None and out.shape[1] != mask.shape[1]:
        raise InputError(
            f"{name!r}: expected its model to give a vector for each of the {mask.shape[1]} steps, or "
            f"one for all, received {tuple(out.shape)}: it cannot be known which are padding"
        )
    if len(out.shape) == 3 and tokens == "one":
        out = masked_mean(Tokens(out, mask))
    if dropout:
        out = keras.layers.Dropout(dropout, name=f"{name}_dropout")(out)
    out = keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(out)
    return one_token(out) if len(out.shape) == 2 else Tokens(out, mask)


def _fed(model: keras.Model, x: KerasTensor, mask: KerasTensor | None) -> KerasTensor | dict[str, KerasTensor]:
    """The values as the model's inputs take them: a tensor, or a dict of those of a sentence."""
    if len(model.inputs) == 1:
        return x
    sentence = dict(zip(SENTENCE, (x, mask, ops.zeros_like(x)), strict=True))
    return {tensor.name: ops.cast(sentence[tensor.name], tensor.dtype) for tensor in model.inputs}


def _copied(model: keras.Model, layer: str | None, name: str) -> keras.Model:
    """A copy of a model with its weights, up to one layer.

    It is made from the config of the whole model, as not every layer of KerasHub can be made from its own config.
    """
    try:
        copy = type(model).from_config({**model.get_config(), "name": name})
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"from_model: expected a model that can be made again from its config, received {model.name!r}; "
            f"register its layers by keras.saving.register_keras_serializable ({error})"
        ) from error
    copy.set_weights(model.get_weights())
    return _cut(copy, layer, name)


def _cut(model: keras.Model, layer: str | None, name: str | None = None) -> keras.Model:
    """A functional model from all inputs of a model to the one output that is wanted; the model itself if it is one."""
    outputs = _outputs(model)
    several = outputs if isinstance(outputs, dict) else {}
    if layer is None and (several or isinstance(outputs, (list, tuple))):
        layer = SEQUENCE
    if layer is None:
        return model
    layers = {one.name: one for one in model.layers}
    if layer not in several and layer not in layers:
        raise unknown("layer or output", layer, [*several, *layers], where=f"from_model: model {model.name!r}: ")
    try:
        output = several[layer] if layer in several else layers[layer].output
        return keras.Model(model.inputs, output, name=name or model.name)
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"from_model: expected a layer whose first use is in the model {model.name!r}, received {layer!r} ({error})"
        ) from error


def _outputs(model: keras.Model) -> Any:
    """A model's symbolic outputs: a tensor, a list or a dict."""
    if not isinstance(model, keras.Model):
        raise InputError(f"from_model: expected a keras.Model, received {shown(model)}")
    try:
        return model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f"from_model: expected a functional or a built Sequential model, received {model.name!r}, a "
            f"{type(model).__name__}; wrap it: x = keras.Input(shape); keras.Model(x, model(x))"
        ) from error


def _check_inputs(model: keras.Model) -> None:
    """Raise an `InputError` unless a functional model takes one input of 2 to 5 axes, or a sentence."""
    names = [tensor.name for tensor in model.inputs]
    if len(names) > 1 and not ("token_ids" in names and set(names) <= set(SENTENCE)):
        raise InputError(
            f"from_model: expected a model of one input, or of inputs named {', '.join(SENTENCE)}, received "
            f"{model.name!r} with the inputs {', '.join(names)}"
        )
    if not 2 <= len(model.inputs[0].shape) <= 5:
        raise InputError(f"from_model: expected a model of 2 to 5 axes, received {model.name!r} of {_shapes(model)}")


def _check_words(model: keras.Model, inner: keras.Model, feature: Any, where: str) -> None:
    """Raise an `InputError` where the vocabulary or the sentences are larger than a text model's tables."""
    ids = next((tensor for tensor in inner.inputs if tensor.name == "token_ids"), inner.inputs[0])
    tables = [one for one in inner.layers if isinstance(one, keras.layers.Embedding) and one.input is ids]
    words, given = min((table.input_dim for table in tables), default=None), getattr(feature, "tokens", 0)
    if words is not None and given > words:
        raise InputError(
            f"{where}expected at most {words} token ids, as many as the model {model.name!r} knows, received "
            f"{given} (the vocabulary, padding and the unknown word)"
        )
    longest, length = getattr(model, "max_sequence_length", None), feature.shape[0]
    if longest is not None and length > longest:
        raise InputError(
            f"{where}expected sentences of at most {longest} words, the longest that the model {model.name!r} takes, "
            f"received {length}"
        )


def _shapes(model: keras.Model) -> str:
    return ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
