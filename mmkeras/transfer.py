"""Knowledge from one model in another: weights are moved, parts are held still.

Three kinds of transfer are told apart by what the two models have in common:

- task-level: the same inputs, another target: move the towers (`transfer_weights(..., towers=[...])`);
- data-level: the same inputs and targets, other rows: move all (`transfer_weights(..., body=True, schemas=...)`), train
  on;
- model-level: a tower that has learned alone, or in other company or at another modality, becomes one of several
  (`transfer_weights(..., towers={"image": "left"})`, `mk.towers.from_model`); or the answers move instead of the
  weights (`mk.distiller`).

    pretrained = mk.build(single.schema, towers={"image": "conv"})  # a task of its own: which digit is it?
    ...                                                             # compile, fit
    model = mk.build(data.schema, towers={"image": "conv", "question": "lstm"})
    mk.transfer_weights(pretrained, model, towers=["image"])
    mk.freeze(model, ["image"])                  # train the rest first
    ...                                          # compile, fit
    mk.freeze(model, ["image"], frozen=False)    # then all of it, the pre-trained tower at a tenth of the rate
    model.compile(mk.learning_rate_multipliers(keras.optimizers.AdamW(1e-3), model, {"image": 0.1}), ...)
    ...                                          # fit
"""

from collections import Counter
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import keras
import numpy as np
import pandas as pd

from mmkeras.errors import InputError, unknown
from mmkeras.fine_tuning import WHOLE, missing_token, part_names, part_of
from mmkeras.schema import Category, Labels, Schema, Tabular, Text

BACKBONE = "backbone/"  # before the name of a weight of `mk.towers.from_model`
HISTORY = WeakKeyDictionary()  # model -> what was moved into it


def transfer_weights(source, target, towers=None, *, body=False, schemas=None, origin=""):
    """Move the weights of towers from one model into another, by their names and shapes.

    A weight moves if the same tower of the source has one of the same name and shape; the others stay as they are, and
    the table says why. The missing token of an optional input moves with its tower. The rows of a table of word vectors
    belong to the words of a vocabulary: each goes to the same word of the target's, and words that the source does not
    know keep their own. Heads whose classes are others, or in another order, stay. Without `schemas` the columns of two
    inputs without words are taken to be the same.

    Means and deviations (of `Series`, `Tabular` and `Number`) are no weights: they stay those of the target's schema.
    Where they differ, the same row is another number of deviations, and is answered otherwise; to go on exactly where
    the source was, build the target from the source's schema.

    Args:
        source, target: `keras.Model`s of `mk.build`. The target's weights change, unless there is an error.
        towers: names of inputs that both models have; or a dict of the source's input -> the target's; None: all inputs
            that both have.
        body: whether shared space, fusion and heads move, too; those that only one of the models has stay as they are.
        schemas: the source's and the target's fitted `Schema`, needed if the body moves, or a tower that reads words.
        origin: what the source is and what it was trained on, in words: `mk.weight_history(target)` and the card of an
            export repeat it.

    Returns:
        DataFrame with a row for each weight of the target's parts: "part", "weight" (its name), "shape", "moved" (bool)
        and "reason" (why it was not, or how much of a table of words was; else "").

    Raises:
        InputError: an unknown input, a model without such parts, words or a body without `schemas`, a pre-trained model
            of another vocabulary, tables of other columns, a body of other inputs, schemas that are not those of the
            models, two towers into one, no weight that could be moved.
    """
    if source is target:
        raise InputError("transfer_weights: expected two models, received one as source and target")
    for model, whose in ((source, "source"), (target, "target")):
        if not isinstance(model, keras.Model):
            raise InputError(f"transfer_weights: expected the {whose} to be a keras.Model, received {model!r}")
    pairs = _pairs(source, target, towers)
    _check_schemas(schemas, pairs, body)
    moves = [move for given, taken in pairs.items() for move in _tower_moves(source, target, given, taken, schemas)]
    moves += _whole_moves(source, target, schemas) if body else []
    table = pd.DataFrame([row for row, _, _ in moves], columns=["part", "weight", "shape", "moved", "reason"])
    if not table["moved"].any():
        reasons = "; ".join(f"{row.part} {row.weight}: {row.reason}" for row in table.head(3).itertuples())
        raise InputError(
            f"transfer_weights: none of {len(table)} weights could be moved ({reasons or 'there are none'})"
        )
    for (*_, moved, _), weight, values in moves:
        if moved:
            weight.assign(values)
    _remember(source, target, table, origin)
    return table


def _whole_moves(source, target, schemas):
    """`_moves` of shared space and body, as far as the target has them."""
    both = set(part_names(source)) & set(part_names(target)) & set(WHOLE)
    if not both:
        have = ["; ".join(part_names(model)) for model in (source, target)]
        raise InputError(
            "transfer_weights: body=True: expected two models with a body, or two with a shared space (alignment); "
            f"the source has the parts {have[0]}, the target {have[1]}"
        )
    moves = []
    for name in WHOLE:
        if name in part_names(target):
            part = part_of(target, name, "target")
            there = _weights(part_of(source, name, "source")) if name in both else {}
            moves += _moves(part, there, _weights(part), stay=_other_classes(schemas))
    return moves


def _remember(source, target, table, origin):
    """Keep what was moved, and what had been moved into the source before."""
    parts = {part: f"{rows['moved'].sum()} of {len(rows)}" for part, rows in table.groupby("part", sort=False)}
    entry = {"from": str(origin) or source.name, "weights": parts, "before": weight_history(source)}
    HISTORY[target] = [*weight_history(target), entry]


def weight_history(model):
    """Where the weights of a model came from before it was trained.

    It is known in the process of the transfer, and kept by `mk.export`; a `.keras` file has weights alone.

    Args:
        model: `keras.Model`.

    Returns:
        list of dicts, one for each `mk.transfer_weights` into it: "from" (its `origin`), "weights" (dict of part -> how
        many of its weights were moved) and "before" (the history of the source). The card of `mk.export` has them.
    """
    return list(HISTORY.get(model, []))


def _pairs(source, target, towers):
    """Dict of the source's input -> the target's."""
    if isinstance(towers, str):
        raise InputError(f"transfer_weights: expected towers to be a list of inputs, received {towers!r}")
    given = [*towers, *towers.values()] if isinstance(towers, Mapping) else towers or ()
    for name in WHOLE:
        if name in given:
            raise InputError(
                f"transfer_weights: expected towers to be inputs, received {name!r}, which moves with body=True"
            )
    if isinstance(towers, Mapping):
        if len(set(towers.values())) < len(towers):
            raise InputError(f"transfer_weights: expected each input of the target once, received {dict(towers)!r}")
        return dict(towers)
    if towers is None:
        return {name: name for name in part_names(target) if name in part_names(source) and name not in WHOLE}
    return {name: name for name in towers}


def _check_schemas(schemas, pairs, body):
    """Raise an `InputError` unless these are two schemas that have what is to be moved."""
    if schemas is None and not body:
        return
    right = isinstance(schemas, (tuple, list)) and len(schemas) == 2
    if not right or not all(isinstance(schema, Schema) for schema in schemas):
        raise InputError(
            f"transfer_weights: expected schemas to be the source's and the target's Schema, received {schemas!r}"
        )
    for schema, names, whose in zip(schemas, (pairs.keys(), pairs.values()), ("source", "target"), strict=True):
        schema.require_fitted("transfer_weights")
        for name in names:
            if name not in schema.inputs:
                raise unknown("input", name, schema.inputs, where=f"transfer_weights: the {whose}'s schema: ")
    given, taken = map(_fused, schemas)
    if body and (given != taken or any(name != other for name, other in pairs.items())):
        raise InputError(
            "transfer_weights: body=True: expected the same inputs, and targets that read one of them, in the same "
            f"order, as the fusion knows them by name and place; the source has {', '.join(given)}, the target "
            f"{', '.join(taken)}"
        )


def _fused(schema):
    """What the fusion takes: the inputs, and the answers of targets that read one tower."""
    feeding = {name: target.reads for name, target in schema.targets.items() if isinstance(target.reads, str)}
    return [*schema.inputs, *(f"{name} (of {read})" for name, read in feeding.items())]


def _tower_moves(source, target, given, taken, schemas):
    """`_moves` of a tower and its missing token."""
    old, new = part_of(source, given, "source"), part_of(target, taken, "target")
    weights = _weights(new, taken)
    places = _word_places(schemas, given, taken, new, weights)
    moves = _moves(new, _weights(old, given), weights, places)
    for token in missing_token(target, taken):
        before = missing_token(source, given)
        moves += _moves(token, _weights(before[0], given) if before else {}, _weights(token, taken))
    return moves


def _word_places(schemas, given, taken, tower, weights):
    """Dict of the name of a table of words -> what `_common` says of its rows.

    Raises:
        InputError: words without `schemas`, other columns of a `Tabular`, another vocabulary of a model whose table of
            words is not known.
    """
    where = f"transfer_weights: {taken}: "
    if schemas is None:
        tables = [name for name in weights if name.endswith("/embeddings") and not name.startswith(BACKBONE)]
        if tables or (tower.inputs[0].dtype == "int32" and len(tower.inputs[0].shape) == 2):
            raise InputError(
                f"{where}{tables[0] if tables else 'its model'} has a row for each word of a vocabulary: "
                "expected schemas=(the source's Schema, the target's Schema), received None"
            )
        return {}
    features = schemas[0].inputs[given], schemas[1].inputs[taken]
    if all(isinstance(feature, Tabular) for feature in features):
        old, new = ([list(feature.numeric), list(feature.categorical)] for feature in features)
        if old != new:
            raise InputError(f"{where}expected the columns of the source in their order, {old}, received {new}")
    old, new = map(_word_rows, features)
    tables = [name for name in weights if name in old and name in new]
    if old != new and not tables and type(features[0]) is type(features[1]):
        raise InputError(
            f"{where}expected the source's vocabulary, as the rows of a model's own tables belong to its words, "
            "received another"
        )
    return {name: _common(old[name], new[name]) for name in tables}


def _word_rows(feature):
    """Dict of the name of a table of word vectors -> what each of its rows stands for: "" no word, None an unknown one.

    Of the towers for words and for columns of words; empty for other inputs.
    """
    if isinstance(feature, Text):
        return {"embedding/embeddings": ["", None, *feature.vocabulary]}
    if not isinstance(feature, Tabular):
        return {}
    columns = [
        [(column, word) for word in ("", None, *words)]
        for column, words in zip(feature.categorical, feature.vocabularies or (), strict=True)
    ]
    single = {f"embedding{number}/embeddings": rows for number, rows in enumerate(columns)}
    return single | {"words/embeddings": [row for rows in columns for row in rows]}


def _common(old, new):
    """List of (row in the new table, row in the old one) of what both have, and the number of rows of each."""
    places = {key: row for row, key in enumerate(old)}
    return [(row, places[key]) for row, key in enumerate(new) if key in places], len(old), len(new)


def _other_classes(schemas):
    """First part of the path of each weight that belongs to classes which are others in the target."""
    heads = set()
    for name, target in schemas[1].targets.items():
        before = schemas[0].targets.get(name)
        if not isinstance(target, (Category, Labels)):
            continue
        if type(before) is not type(target) or before.classes != target.classes:
            vectors = [*schemas[1].inputs, *schemas[1].targets]  # of which a late fusion decides on each by itself
            heads |= {name, f"{name}_token", *(f"{name}_decision_of_{vector}" for vector in vectors)}
    return heads


def _moves(part, there, weights, places=None, stay=()):
    """What to do with each weight of a part: (row of the report, weight, its new values).

    Args:
        part: of the target.
        there: `_weights` of the source's part.
        weights: those of the target's.
        places: of tables of words, as `_word_places` gives them.
        stay: first parts of paths that do not move.
    """
    moves = []
    for name, weight in weights.items():
        old, values = there.get(name), None
        moved, reason = False, ""
        if old is None:
            reason = "no such weight in the source"
        elif name.split("/")[0] in stay:
            reason = "of other classes in the source"
        elif name in (places or {}):
            moved, reason, values = _words(old, weight, places[name], f"{part.name}: {name}")
        elif tuple(old.shape) != tuple(weight.shape):
            reason = f"of the shape {tuple(old.shape)} in the source"
        else:
            moved, values = True, old
        moves.append(((part.name, name, tuple(weight.shape), moved, reason), weight, values))
    return moves


def _words(old, weight, places, where):
    """Whether a table of words can be moved, how much of it, and its new values."""
    places, *counts = places
    if (old.shape[0], weight.shape[0]) != tuple(counts):
        raise InputError(
            f"transfer_weights: {where}: expected the schemas of the source and of the target, whose tables have "
            f"{old.shape[0]} and {weight.shape[0]} rows, received some of {counts[0]} and {counts[1]}"
        )
    if old.shape[1] != weight.shape[1]:
        return False, f"of the width {old.shape[1]} in the source", None
    given, values = (np.array(keras.ops.convert_to_numpy(table)) for table in (old, weight))
    rows, sources = np.transpose(places)
    values[rows] = given[sources]
    return True, f"{len(rows)} of {len(values)} rows" if len(rows) < len(values) else "", values


def _weights(part, name=""):
    """Dict of a weight's name without that of the input -> weight; what has the same name is counted.

    In a tower, whose own layers bear the name of the input, others are of a model that is part of it.
    """
    layers = getattr(part, "layers", ())
    own = [layer for layer in layers if layer.name.endswith("_fusion")]  # of single targets, alike inside
    inside = {id(weight): f"{layer.name}/" for layer in own for weight in layer.weights}
    seen, found = Counter(), {}
    for weight in part.weights:
        path = inside.get(id(weight), "") + weight.path
        if name:
            path = path.removeprefix(f"{name}_frozen/")
            path = path.removeprefix(f"{name}_") if path.startswith(f"{name}_") else BACKBONE + path
        seen[path] += 1
        found[path if seen[path] == 1 else f"{path} ({seen[path]})"] = weight
    return found
