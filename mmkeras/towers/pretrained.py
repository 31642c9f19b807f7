"""Any functional keras.Model as a tower: backbones of keras.applications and KerasHub, and models of one's own."""

import functools
import operator

import keras
from keras import ops

from mmkeras.errors import InputError, unknown
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
from mmkeras.schema import Audio, Image, Series, Tabular, Text, Video

SENTENCE = ("token_ids", "padding_mask", "segment_ids")  # KerasHub's names of what a text model takes
SEQUENCE = "sequence_output"  # KerasHub's name of one vector a token, where a model has several outputs
KINDS = {2: (Audio, Tabular, Text), 3: (Series,), 4: (Image,), 5: (Video,)}  # by the rank of a model's only input


def from_model(model, *, layer=None, trainable=False, preprocess=None, resize=None):
    """A tower that is a copy of a model, followed by a dense layer to the width of the tokens.

    Every model that is built gets a copy of its own with the weights that `model` has at that time, so `model` itself
    never changes. The tower has the options `tokens` and `dropout`, as
    `mk.build(schema, towers={"photo": {"kind": mk.towers.from_model(model), "tokens": "all"}})`. To keep a `ModelSpec`
    as JSON, register it by a name: `mk.towers.register("resnet")(mk.towers.from_model(model))`.

    What the model takes says which input it reads:

    - `(batch, height, width, channels)`: an Image. It comes as float32 from 0 to 255; a grey one is repeated to three
      channels, one of another size is resized (bilinear, without regard to its proportions).
    - `(batch, length)`: a Text as its ids, or the samples of an Audio, or the numbers of a Tabular. A KerasHub text
      backbone gets its inputs by their names `token_ids`, `padding_mask` and `segment_ids` (zeros). The ids are those
      of the schema (0 padding, 1 unknown, then the vocabulary): a text backbone that was trained on ids of another
      kind has to be trained on.
    - `(batch, steps, channels)`: a Series in the sensors' units, with zeros behind its end. `(batch, frames, height,
      width, channels)`: a Video; for a model of pictures see the tower 'frames'. Whether a longer padding changes
      anything is the model's affair.

    What comes out becomes tokens: `(batch, rows, columns, channels)` one by flatten and dense, or one a place;
    `(batch, steps, channels)` one by the mean of the steps that are there, or one a step, with the input's mask;
    `(batch, channels)` one token.

    Batch normalisation in a model with trainable=True sees the placeholders of an input with optional=True, and keeps
    its momentum: with the 0.999 of keras.applications' MobileNets, inference lags a thousand steps behind training.

    Args:
        model: built `keras.Model`, functional or Sequential; with several outputs one is chosen by `layer`, or is named
            "sequence_output". Before a model built with it is loaded, `import mmkeras.layers` and the module that
            defines its layers (`import keras_hub`).
        layer: name of an inner layer, or of one of several outputs, whose (first) output is taken; None: the model's.
        trainable: False: the copy's weights are frozen and its layers always behave as at inference. True: all of it
            is trained.
        preprocess: function of `keras.ops`, or layer, from values as above to those that the model was trained on, as
            `keras.applications.resnet.preprocess_input`; None: the model does it itself, or nothing is needed.
        resize: `(height, width)` for a model that takes pictures of any size; None: the picture's own.

    Returns:
        The tower, a function.

    Raises:
        InputError: a model, layer or size that cannot serve; in `build` an input that does not fit the model.
    """
    inner = _cut(model, layer)
    kinds = _kinds(inner)
    if resize is not None and (kinds != (Image,) or None not in inner.inputs[0].shape[1:3]):
        raise InputError(
            f"from_model: expected resize with a model of pictures of any size, received {resize!r} and a model of "
            f"{_shapes(inner)}"
        )

    def part(x, *, mask=None, feature, width, name, dropout=0.0, tokens="one"):
        check_tokens(tokens, name)
        where = f"{name!r}: "
        if isinstance(feature, Text):
            _check_words(model, inner, feature, where)
        if kinds == (Image,):
            shape = inner.inputs[0].shape[1:]
            size = (wanted or given for wanted, given in zip(shape[:2], resize or feature.shape[:2], strict=True))
            x = as_picture(x, feature, (*size, shape[2]), where)
        elif feature.padded:
            x = hide_padding(Tokens(x, mask)).values
        if preprocess is not None:
            x = preprocess(x)
        backbone = _copied(model, layer, f"{name}_backbone")
        return read_with(backbone, x, mask, width=width, name=name, trainable=trainable, dropout=dropout, tokens=tokens)

    part.__name__ = f"from_model({model.name})"
    part.__annotations__["feature"] = functools.reduce(operator.or_, kinds)
    return part


def as_picture(x, feature, shape, where):
    """Pictures as a model takes them: `(batch, *shape)`, float32 from 0 to 255.

    Args:
        x: `(batch, height, width, channels)`, uint8.
        feature: `Image`.
        shape: `(height, width, channels)`; None: any number of channels.
        where: beginning of the message of an error.
    """
    *size, channels = shape
    x = ops.cast(x, "float32")
    if tuple(size) != feature.shape[:2]:
        x = ops.image.resize(x, size, data_format="channels_last")
    if channels == 3 and feature.channels == 1:
        x = ops.repeat(x, 3, axis=-1)
    elif channels not in (None, feature.channels):
        raise InputError(f"{where}expected {channels} channels, which the model takes, received {feature.channels}")
    return x


def read_with(model, x, mask, *, width, name, trainable, dropout, tokens):
    """Tokens of what a model, which becomes part of the tower, makes of the values.

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
            f"one for all, received {tuple(out.shape)}: which of them are padding cannot be known"
        )
    if len(out.shape) == 3 and tokens == "one":
        out = masked_mean(Tokens(out, mask))
    if dropout:
        out = keras.layers.Dropout(dropout, name=f"{name}_dropout")(out)
    out = keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(out)
    return one_token(out) if len(out.shape) == 2 else Tokens(out, mask)


def _fed(model, x, mask):
    """The values as the model's inputs take them: a tensor, or a dict of those of a sentence."""
    if len(model.inputs) == 1:
        return x
    sentence = dict(zip(SENTENCE, (x, mask, ops.zeros_like(x)), strict=True))
    return {tensor.name: ops.cast(sentence[tensor.name], tensor.dtype) for tensor in model.inputs}


def _copied(model, layer, name):
    """A copy of a model with its weights, up to one layer.

    Made of the whole model's configuration, as not every layer of KerasHub can be made of its own.
    """
    try:
        copy = type(model).from_config({**model.get_config(), "name": name})
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"from_model: expected a model that can be made again of its configuration, received {model.name!r}; "
            f"register its layers by keras.saving.register_keras_serializable ({error})"
        ) from error
    copy.set_weights(model.get_weights())
    return _cut(copy, layer, name)


def _cut(model, layer, name=None):
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


def _outputs(model):
    """A model's symbolic outputs: a tensor, a list or a dict."""
    if not isinstance(model, keras.Model):
        raise InputError(f"from_model: expected a keras.Model, received {model!r}")
    try:
        return model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f"from_model: expected a functional or a built Sequential model, received {model.name!r}, a "
            f"{type(model).__name__}; wrap it: x = keras.Input(shape); keras.Model(x, model(x))"
        ) from error


def _kinds(model):
    """The kinds of input that a functional model can read."""
    names = [tensor.name for tensor in model.inputs]
    if len(names) > 1:
        if "token_ids" in names and set(names) <= set(SENTENCE):
            return (Text,)
        raise InputError(
            f"from_model: expected a model of one input, or of inputs named {', '.join(SENTENCE)}, received "
            f"{model.name!r} with the inputs {', '.join(names)}"
        )
    shape, dtype = model.inputs[0].shape, keras.backend.standardize_dtype(model.inputs[0].dtype)
    kinds = (Text,) if len(shape) == 2 and "int" in dtype else KINDS.get(len(shape))
    if kinds is None:
        raise InputError(f"from_model: expected a model of 2 to 5 axes, received {model.name!r} of {_shapes(model)}")
    return kinds


def _check_words(model, inner, feature, where):
    """Raise an `InputError` where the vocabulary or the sentences are larger than a text model's tables."""
    given = next((tensor for tensor in inner.inputs if tensor.name == "token_ids"), inner.inputs[0])
    tables = [one for one in inner.layers if isinstance(one, keras.layers.Embedding) and one.input is given]
    words = min((table.input_dim for table in tables), default=feature.tokens)
    if feature.tokens > words:
        raise InputError(
            f"{where}expected at most {words} token ids, as many as the model {model.name!r} knows, received "
            f"{feature.tokens} (the vocabulary, padding and the unknown word)"
        )
    longest = getattr(model, "max_sequence_length", None) or feature.length
    if feature.length > longest:
        raise InputError(
            f"{where}expected sentences of at most {longest} words, the longest that the model {model.name!r} takes, "
            f"received {feature.length}"
        )


def _shapes(model):
    return ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
