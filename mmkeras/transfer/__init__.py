"""Transfer learning: move weights from one model into another, and freeze parts.

Three kinds of transfer, by what the two models have in common:

- task-level: the same inputs, another target: move the towers (`transfer_weights(..., towers=[...])`);
- data-level: the same inputs and targets, other rows: move all (`transfer_weights(..., body=True, schemas=...)`), train
  on;
- model-level: a tower that was trained alone, with other towers or on another modality becomes one of several
  (`transfer_weights(..., towers={"image": "left"})`, `mk.towers.from_model`); or the student learns the outputs instead
  of taking the weights (`mk.distiller`).

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

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import pandas as pd

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.fine_tuning import WHOLE, missing_token, part_names, part_of
from mmkeras.schema import Schema
from mmkeras.transfer.moves import Move, moves, of_other_classes, weights_of
from mmkeras.transfer.words import word_places

__all__ = ["transfer_weights", "weight_history"]

HISTORY: WeakKeyDictionary[keras.Model, list[dict]] = WeakKeyDictionary()  # model -> its transfers


@checked_keywords
def transfer_weights(
    source: keras.Model,
    target: keras.Model,
    towers: Iterable[str] | Mapping[str, str] | None = None,
    *,
    body: bool = False,
    schemas: Sequence[Schema] | None = None,
    origin: str = "",
) -> pd.DataFrame:
    """Move the weights of towers from one model into another, by their names and shapes.

    A weight moves if the same tower of the source has one of the same name and shape; the others stay unchanged, and
    the table says why. The missing token of an optional input moves with its tower. The rows of a table of word vectors
    belong to the words of a vocabulary: each moves to the same word of the target, and words that the source does not
    know keep their vectors. Heads with other classes, or in another order, stay. Without `schemas` the columns of two
    inputs without words are assumed to be the same.

    Means and standard deviations (of `Series`, `Tabular` and `Number`) are no weights: the target keeps those of its
    own schema. Where they differ, the same row is standardised differently and gets another output; to continue exactly
    where the source was, build the target from the source's schema.

    Args:
        source, target: `keras.Model`s of `mk.build`. The target's weights change, unless there is an error.
        towers: names of inputs that both models have; or a dict of the source's input -> the target's; None: all inputs
            that both have.
        body: whether shared space, fusion and heads move, too; those that only one of the models has stay unchanged.
        schemas: the source's and the target's fitted `Schema`, needed if the body moves, or a tower that reads words.
        origin: a description of the source and its training data, for `mk.weight_history(target)` and the model card of
            an export.

    Returns:
        DataFrame with a row for each weight of the target's parts: "part", "weight" (its name), "shape", "moved" (bool)
        and "reason" (why it was not moved, or how much of a table of words was moved; else "").

    Raises:
        InputError: an unknown input, a model without such parts, words or a body without `schemas`, a pre-trained model
            of another vocabulary, tables of other columns, a body of other inputs, schemas that are not those of the
            models, two towers into one, no weight that could be moved.
    """
    if source is target:
        raise InputError("transfer_weights: expected two models, received one as source and target")
    pairs = _pairs(source, target, towers)
    _check_schemas(schemas, pairs, body)
    found = [move for given, taken in pairs.items() for move in _tower_moves(source, target, given, taken, schemas)]
    found += _whole_moves(source, target, schemas) if body else []
    table = pd.DataFrame([move.row for move in found], columns=["part", "weight", "shape", "moved", "reason"])
    if not table["moved"].any():
        reasons = "; ".join(f"{row.part} {row.weight}: {row.reason}" for row in table.head(3).itertuples())
        raise InputError(
            f"transfer_weights: none of {len(table)} weights could be moved ({reasons or 'there are none'})"
        )
    for (*_, moved, _), weight, values in found:
        if moved:
            weight.assign(values)
    _remember(source, target, table, origin)
    return table


def _whole_moves(source: keras.Model, target: keras.Model, schemas: Sequence[Schema]) -> list[Move]:
    """`moves` of shared space and body, as far as the target has them."""
    both = set(part_names(source)) & set(part_names(target)) & set(WHOLE)
    if not both:
        have = ["; ".join(part_names(model)) for model in (source, target)]
        raise InputError(
            "transfer_weights: body=True: expected two models with a body, or two with a shared space (alignment); "
            f"the source has the parts {have[0]}, the target {have[1]}"
        )
    found = []
    for name in WHOLE:
        if name in part_names(target):
            part = part_of(target, name, "target")
            there = weights_of(part_of(source, name, "source")) if name in both else {}
            found += moves(part, there, weights_of(part), stay=of_other_classes(schemas))
    return found


def _remember(source: keras.Model, target: keras.Model, table: pd.DataFrame, origin: str) -> None:
    """Keep the history: this transfer, and the transfers into the source before."""
    parts = {part: f"{rows['moved'].sum()} of {len(rows)}" for part, rows in table.groupby("part", sort=False)}
    entry = {"from": str(origin) or source.name, "weights": parts, "before": weight_history(source)}
    HISTORY[target] = [*weight_history(target), entry]


@checked_keywords
def weight_history(model: keras.Model) -> list[dict[str, Any]]:
    """The sources of a model's transferred weights.

    The history is known in the process of the transfer, and kept by `mk.export`; a `.keras` file has only the weights.

    Args:
        model: `keras.Model`.

    Returns:
        list of dicts, one for each `mk.transfer_weights` into it: "from" (its `origin`), "weights" (dict of part -> how
        many of its weights were moved) and "before" (the history of the source). The card of `mk.export` shows them.
    """
    return list(HISTORY.get(model, []))


def _pairs(
    source: keras.Model, target: keras.Model, towers: Iterable[str] | Mapping[str, str] | None
) -> dict[str, str]:
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


def _check_schemas(schemas: Any, pairs: Mapping[str, str], body: bool) -> None:
    """Raise an `InputError` unless these are two schemas with the parts to be moved."""
    if schemas is None and not body:
        return
    right = isinstance(schemas, (tuple, list)) and len(schemas) == 2
    if not right or not all(isinstance(schema, Schema) for schema in schemas):
        raise InputError(
            f"transfer_weights: expected schemas to be the source's and the target's Schema, received {shown(schemas)}"
        )
    for schema, names, whose in zip(schemas, (list(pairs), list(pairs.values())), ("source", "target"), strict=True):
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


def _fused(schema: Schema) -> list[str]:
    """The inputs of the fusion: the model's inputs, and the outputs of targets that read one tower."""
    feeding = {name: target.reads for name, target in schema.targets.items() if isinstance(target.reads, str)}
    return [*schema.inputs, *(f"{name} (of {read})" for name, read in feeding.items())]


def _tower_moves(
    source: keras.Model, target: keras.Model, given: str, taken: str, schemas: Sequence[Schema] | None
) -> list[Move]:
    """`moves` of a tower and its missing token."""
    old, new = part_of(source, given, "source"), part_of(target, taken, "target")
    weights = weights_of(new, taken)
    places = word_places(schemas, given, taken, new, weights)
    found = moves(new, weights_of(old, given), weights, places)
    for token in missing_token(target, taken):
        before = missing_token(source, given)
        found += moves(token, weights_of(before[0], given) if before else {}, weights_of(token, taken))
    return found
