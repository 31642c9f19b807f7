"""Knowledge from one model in another: weights are moved, parts are held still.

Three kinds are told apart by what the two models have in common: between tasks (the same inputs, another target: move
the towers), between data sets (the same inputs and targets, other rows: move all), between models (a tower that has
learned alone, or in other company, becomes one of several).

    pretrained = mk.build(single.schema, towers={"image": "conv"})  # a task of its own: which digit is it?
    ...                                                             # compile, fit
    model = mk.build(data.schema, towers={"image": "conv", "question": "lstm"})
    mk.transplant(pretrained, model, towers=["image"])
    mk.freeze(model, ["image"])                  # train the rest first
    ...                                          # compile, fit
    mk.freeze(model, ["image"], frozen=False)    # then all of it, with a smaller learning rate
    ...                                          # compile, fit
"""

from collections import Counter
from collections.abc import Mapping

import keras
import numpy as np
import pandas as pd

from mmkeras.errors import InputError, unknown
from mmkeras.layers import Frozen
from mmkeras.schema import Schema, Text

WORDS, FIRST_WORD = "embedding/embeddings", 2  # the table of word vectors in a tower, and the row of the first word


def transplant(source, target, towers=None, *, body=False, schemas=None):
    """Move the weights of towers from one model into another, by their names and shapes.

    A weight moves if the same tower of the source has one of the same name and shape; the others stay as they are, and
    the table says why. The rows of a word embedding belong to the words of a vocabulary: with `schemas` each goes to
    the same word of the target's, and words that the source does not know keep their own.

    Args:
        source, target: `keras.Model`s of `mk.build`. The target's weights change.
        towers: names of inputs that both models have; or a dict of the source's input -> the target's; None: all inputs
            that both have.
        body: whether fusion and heads move, too.
        schemas: the source's and the target's `Schema`, needed if a tower to be moved reads a `Text`.

    Returns:
        DataFrame with a row for each weight of the target's parts: "part", "weight" (its name), "shape", "moved" (bool)
        and "reason" (why it was not, or how much of an embedding was; else "").

    Raises:
        InputError: an unknown input, a model without such parts, an embedding without `schemas`, no weight that could
            be moved.
    """
    pairs = _pairs(source, target, towers)
    _check_schemas(schemas, pairs)
    rows = []
    for given, taken in pairs.items():
        words = _words(schemas, given, taken)
        parts = _part(source, f"{given}_tower", "source"), _part(target, f"{taken}_tower", "target")
        rows += _move(*parts, given, taken, words)
    if body:
        rows += _move(_part(source, "body", "source"), _part(target, "body", "target"), "", "", None)
    table = pd.DataFrame(rows, columns=["part", "weight", "shape", "moved", "reason"])
    if not table["moved"].any():
        reasons = "; ".join(f"{row.part} {row.weight}: {row.reason}" for row in table.head(3).itertuples())
        raise InputError(f"transplant: none of {len(table)} weights could be moved ({reasons or 'there are none'})")
    return table


def _pairs(source, target, towers):
    """Dict of the source's input -> the target's."""
    if isinstance(towers, Mapping):
        return dict(towers)
    if towers is None:
        there = {layer.name for layer in source.layers}
        names = [layer.name for layer in target.layers if layer.name.endswith("_tower") and layer.name in there]
        return {name: name for name in (name.removesuffix("_tower") for name in names)}
    if isinstance(towers, str):
        raise InputError(f"transplant: expected towers to be a list of inputs, received {towers!r}")
    return {name: name for name in towers}


def _part(model, name, whose):
    """A sub-model by its name."""
    known = [layer.name for layer in model.layers if layer.name == "body" or layer.name.endswith("_tower")]
    if name not in known:
        raise unknown("part", name, known, where=f"the {whose}: ")
    return model.get_layer(name)


def _check_schemas(schemas, pairs):
    if schemas is None:
        return
    right = isinstance(schemas, (tuple, list)) and len(schemas) == 2
    if not right or not all(isinstance(schema, Schema) for schema in schemas):
        raise InputError(
            f"transplant: expected schemas to be the source's and the target's Schema, received {schemas!r}"
        )
    for schema, names, whose in zip(schemas, (pairs.keys(), pairs.values()), ("source", "target"), strict=True):
        for name in names:
            if name not in schema.inputs:
                raise unknown("input", name, schema.inputs, where=f"transplant: the {whose}'s schema: ")


def _words(schemas, given, taken):
    """Vocabularies of the source's and of the target's input, if these are texts."""
    if schemas is None:
        return None
    features = schemas[0].inputs[given], schemas[1].inputs[taken]
    return tuple(feature.vocabulary for feature in features) if all(isinstance(f, Text) for f in features) else None


def _move(source, target, given, taken, words):
    """Rows of the table of one part, whose weights are moved."""
    there = _weights(source, given)
    rows = []
    for name, weight in _weights(target, taken).items():
        old = there.get(name)
        if old is None:
            moved, reason = False, "no such weight in the source"
        elif name == WORDS:
            moved, reason = _move_words(old, weight, words, f"{taken}: {name}")
        elif tuple(old.shape) != tuple(weight.shape):
            moved, reason = False, f"of the shape {tuple(old.shape)} in the source"
        else:
            weight.assign(old)
            moved, reason = True, ""
        rows.append((target.name, name, tuple(weight.shape), moved, reason))
    return rows


def _weights(part, name):
    """Dict of a weight's name without that of the input -> weight; what has the same name is counted."""
    seen, found = Counter(), {}
    for weight in part.weights:
        path = weight.path.removeprefix(f"{name}_") if name else weight.path
        seen[path] += 1
        found[path if seen[path] == 1 else f"{path} ({seen[path]})"] = weight
    return found


def _move_words(old, weight, words, where):
    """Move a table with a row for each word of a vocabulary: whether it was done, and how much."""
    if words is None:
        raise InputError(
            f"transplant: {where} has a row for each word of a vocabulary: expected "
            "schemas=(the source's Schema, the target's Schema), received None"
        )
    if old.shape[1] != weight.shape[1]:
        return False, f"of the width {old.shape[1]} in the source"
    given, values = keras.ops.convert_to_numpy(old), np.array(keras.ops.convert_to_numpy(weight))
    places = {word: row for row, word in enumerate(words[0], FIRST_WORD)}
    rows = [(row, places[word]) for row, word in enumerate(words[1], FIRST_WORD) if word in places]
    values[:FIRST_WORD] = given[:FIRST_WORD]
    for row, place in rows:
        values[row] = given[place]
    weight.assign(values)
    return True, f"{len(rows)} of {len(words[1])} words" if len(rows) < len(words[1]) else ""


def freeze(model, parts, *, frozen=True):
    """Hold parts of a model still in training, or let them go.

    A frozen part keeps its weights, and its batch normalisation behaves as at inference; its dropout stays. The
    backbone of a tower of `mk.towers.from_model(..., trainable=False)` stays frozen whatever is let go here. A compiled
    model is compiled anew, as nothing would change without: its optimizer starts afresh, and a schedule of the rate
    with it. A view of `mk.grouped` shares the parts: compile it again by hand.

    Args:
        model: `keras.Model` of `mk.build`.
        parts: list of inputs, whose towers are meant, and "body" (fusion and heads).
        frozen: False: they are trained again.

    Returns:
        dict of "trainable" and "frozen" -> number of single weights.

    Raises:
        InputError: an unknown part; a compiled model that Keras cannot compile again by itself (a loss that is a
            function of one's own): nothing is changed then, freeze first and compile after it.
    """
    if isinstance(parts, str):
        raise InputError(f"freeze: expected parts to be a list, received {parts!r}")
    layers = [_part(model, name if name == "body" else f"{name}_tower", "model") for name in parts]
    config = _compiled_again(model) if model.compiled else None
    for layer in layers:
        layer.trainable = not frozen
        for inner in layer.layers:
            if isinstance(inner, Frozen):
                inner.trainable = False
    if config is not None:
        model.compile_from_config(config)
    counts = {"trainable": model.trainable_weights, "frozen": model.non_trainable_weights}
    return {name: sum(int(np.prod(weight.shape)) for weight in weights) for name, weights in counts.items()}


def _compiled_again(model):
    """How the model was compiled, tried on a copy: one that fails half way would leave it without an optimizer."""
    try:
        config = model.get_compile_config()
        keras.Model(model.inputs, model.outputs).compile_from_config(config)
    except Exception as error:  # whatever Keras' deserialisation raises
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        raise InputError(f"freeze: cannot compile the model again ({reason}): freeze before compile") from error
    if not config:
        raise InputError("freeze: Keras does not know how the model was compiled: freeze before compile")
    return config
