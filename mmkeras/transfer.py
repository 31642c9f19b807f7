"""Knowledge from one model in another: weights are moved, parts are held still.

Three kinds of transfer are told apart by what the two models have in common:

- task-level: the same inputs, another target: move the towers (`transplant(..., towers=[...])`);
- data-level: the same inputs and targets, other rows: move all (`transplant(..., body=True)`), train on;
- model-level: a tower that has learned alone, or in other company or at another modality, becomes one of several
  (`transplant(..., towers={"image": "left"})`, `mk.towers.from_model`); or the answers move instead of the weights
  (`mk.distiller`).


    pretrained = mk.build(single.schema, towers={"image": "conv"})  # a task of its own: which digit is it?
    ...                                                             # compile, fit
    model = mk.build(data.schema, towers={"image": "conv", "question": "lstm"})
    mk.transplant(pretrained, model, towers=["image"])
    mk.freeze(model, ["image"])                  # train the rest first
    ...                                          # compile, fit
    mk.freeze(model, ["image"], frozen=False)    # then all of it, the pre-trained tower at a tenth of the rate
    model.compile(mk.rate_by_part(keras.optimizers.AdamW(1e-3), model, {"image": 0.1}), ...)
    ...                                          # fit
"""

from collections import Counter
from collections.abc import Mapping
from numbers import Real
from weakref import WeakKeyDictionary

import keras
import numpy as np
import pandas as pd

from mmkeras.errors import InputError, unknown
from mmkeras.layers import Frozen
from mmkeras.schema import Schema, Text

WHOLE = ("alignment", "body")  # parts that are not of one input
ORIGINS = WeakKeyDictionary()  # model -> what was moved into it
WORDS, FIRST_WORD = "embedding/embeddings", 2  # the table of word vectors in a tower, and the row of the first word


def transplant(source, target, towers=None, *, body=False, schemas=None, origin=""):
    """Move the weights of towers from one model into another, by their names and shapes.

    A weight moves if the same tower of the source has one of the same name and shape; the others stay as they are, and
    the table says why. The rows of a word embedding belong to the words of a vocabulary: with `schemas` each goes to
    the same word of the target's, and words that the source does not know keep their own.

    Args:
        source, target: `keras.Model`s of `mk.build`. The target's weights change.
        towers: names of inputs that both models have; or a dict of the source's input -> the target's; None: all inputs
            that both have.
        body: whether fusion, heads and shared space move, too.
        schemas: the source's and the target's `Schema`, needed if a tower to be moved reads a `Text`.
        origin: what the source is and what it was trained on, in words: `mk.origins(target)` and the card of an export
            repeat it.

    Returns:
        DataFrame with a row for each weight of the target's parts: "part", "weight" (its name), "shape", "moved" (bool)
        and "reason" (why it was not, or how much of an embedding was; else "").

    Raises:
        InputError: an unknown input, a model without such parts, an embedding without `schemas`, no weight that could
            be moved.
    """
    if source is target:
        raise InputError("transplant: expected two models, received one as source and target")
    pairs = _pairs(source, target, towers)
    _check_schemas(schemas, pairs)
    rows = []
    for given, taken in pairs.items():
        words = _words(schemas, given, taken)
        parts = _part(source, f"{given}_tower", "source"), _part(target, f"{taken}_tower", "target")
        rows += _move(*parts, given, taken, words)
    for part in ("alignment", "body") if body else ():
        if part == "body" or part in _names(source) & _names(target):
            rows += _move(_part(source, part, "source"), _part(target, part, "target"), "", "", None)
    table = pd.DataFrame(rows, columns=["part", "weight", "shape", "moved", "reason"])
    if not table["moved"].any():
        reasons = "; ".join(f"{row.part} {row.weight}: {row.reason}" for row in table.head(3).itertuples())
        raise InputError(f"transplant: none of {len(table)} weights could be moved ({reasons or 'there are none'})")
    _remember(source, target, table, origin)
    return table


def _remember(source, target, table, origin):
    """Keep what was moved, and what had been moved into the source before."""
    parts = {part: f"{rows['moved'].sum()} of {len(rows)}" for part, rows in table.groupby("part", sort=False)}
    entry = {"from": str(origin) or source.name, "weights": parts, "before": origins(source)}
    ORIGINS[target] = [*origins(target), entry]


def origins(model):
    """Where the weights of a model came from before it was trained, in this process.

    Args:
        model: `keras.Model`.

    Returns:
        list of dicts, one for each `mk.transplant` into it: "from" (its `origin`), "weights" (dict of part -> how many
        of its weights were moved) and "before" (the origins of the source). The card of `mk.export` has them.
    """
    return list(ORIGINS.get(model, []))


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


def _names(model):
    """Names of the model's parts."""
    return {layer.name for layer in model.layers if layer.name in WHOLE or layer.name.endswith("_tower")}


def _part(model, name, whose):
    """A sub-model by its name."""
    if name not in _names(model):
        raise unknown("part", name, sorted(_names(model)), where=f"the {whose}: ")
    return model.get_layer(name)


def _part_of_input(model, name):
    """The tower of an input, or the part of this name."""
    return _part(model, name if name in WHOLE else f"{name}_tower", "model")


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
    own = [layer for layer in part.layers if layer.name.endswith("_fusion")]  # of single targets, alike inside
    inside = {id(weight): f"{layer.name}/" for layer in own for weight in layer.weights}
    seen, found = Counter(), {}
    for weight in part.weights:
        path = inside.get(id(weight), "") + (weight.path.removeprefix(f"{name}_") if name else weight.path)
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
        parts: list of inputs, whose towers are meant, "body" (fusion and heads) and "alignment" (the shared space).
        frozen: False: they are trained again.

    Returns:
        dict of "trainable" and "frozen" -> number of single weights.

    Raises:
        InputError: an unknown part; a compiled model that Keras cannot compile again by itself (a loss that is a
            function of one's own): nothing is changed then, freeze first and compile after it.
    """
    if isinstance(parts, str):
        raise InputError(f"freeze: expected parts to be a list, received {parts!r}")
    layers = [_part_of_input(model, name) for name in parts]
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
        # a config of its own: Keras takes things out of it
        keras.Model(model.inputs, model.outputs).compile_from_config(model.get_compile_config())
    except Exception as error:  # whatever Keras' deserialisation raises
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        raise InputError(f"freeze: cannot compile the model again ({reason}): freeze before compile") from error
    if not config:
        raise InputError("freeze: Keras does not know how the model was compiled: freeze before compile")
    return config


def rate_by_part(optimizer, model, rates):
    """The optimizer with a learning rate of its own for parts of a model (discriminative fine-tuning: Howard and Ruder,
    ULMFiT, 2018).

    A weight's step is taken at its part's factor times the optimizer's rate, be that a number or a schedule; weight
    decay acts at the optimizer's own. It is known to a saved model: `import mmkeras.transfer` before `load_model`.

    Args:
        optimizer: an optimizer of `keras.optimizers`, e.g. `keras.optimizers.AdamW(1e-3)`.
        model: `keras.Model` of `mk.build`.
        rates: dict of input (whose tower is meant), "body" or "alignment" -> factor, above 0; others have 1. A part
            that is not to be trained is frozen: `mk.freeze`.

    Returns:
        A new optimizer of the same kind and settings.

    Raises:
        InputError: an unknown part, a factor not above 0, an optimizer that is none of Keras', two weights of one path
            with different factors (two towers over one backbone).
    """
    if type(optimizer) not in BY_PART:
        raise InputError(f"rate_by_part: expected an optimizer of keras.optimizers, received {optimizer!r}")
    if not isinstance(rates, Mapping):
        raise InputError(f"rate_by_part: expected rates to be a dict of part -> factor, received {rates!r}")
    factors = {}
    for name, factor in rates.items():
        if isinstance(factor, bool) or not isinstance(factor, Real) or not 0 < factor < float("inf"):
            raise InputError(f"rate_by_part: {name!r}: expected a factor above 0, received {factor!r}")
        factors |= {id(weight): float(factor) for weight in _part_of_input(model, name).weights}
    return BY_PART[type(optimizer)].from_config({**optimizer.get_config(), "factors": _by_path(model, factors)})


def _by_path(model, factors):
    """Dict of a weight's path -> factor, where it has one, from one by the weight's id."""
    found = {}
    for weight in model.weights:
        factor = factors.get(id(weight), 1.0)
        if found.setdefault(weight.path, factor) != factor:
            raise InputError(
                f"rate_by_part: {weight.path!r} is the path of weights with the factors {found[weight.path]} and "
                f"{factor}: expected other names of layers, or one factor for both"
            )
    return {path: factor for path, factor in found.items() if factor != 1.0}


class ByPart:
    """What `rate_by_part` adds to an optimizer.

    Args:
        factors: dict of a weight's path -> factor of the rate.
    """

    def __init__(self, *, factors, **options):
        super().__init__(**options)
        self.factors = dict(factors)

    def update_step(self, gradient, variable, learning_rate):
        """The optimizer's step, at the weight's own rate."""
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.factors.get(path, 1.0))

    def get_config(self):
        """The optimizer's arguments."""
        return {**super().get_config(), "factors": dict(self.factors)}


def _by_part(kind):
    return keras.saving.register_keras_serializable("mmkeras")(type(f"{kind.__name__}ByPart", (ByPart, kind), {}))


def _kinds():
    """Keras' optimizers that take a step for each weight."""
    base = keras.optimizers.Optimizer
    for kind in vars(keras.optimizers).values():
        if isinstance(kind, type) and issubclass(kind, base) and kind.update_step is not base.update_step:
            yield kind


BY_PART = {kind: _by_part(kind) for kind in _kinds()}
