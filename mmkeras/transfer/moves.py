"""Plans for the weights of a part: which of them move, and why the others stay."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from mmkeras.errors import InputError
from mmkeras.schema import Schema
from mmkeras.transfer.words import Places

BACKBONE = "backbone/"  # before the name of a weight of `mk.towers.from_model`


class Move(NamedTuple):
    """One weight of the target: its row of the report (part, weight, shape, moved, reason), itself, its new values."""

    row: tuple[str, str, tuple[int, ...], bool, str]
    weight: keras.Variable
    values: Any


def moves(
    part: keras.layers.Layer,
    there: Mapping[str, keras.Variable],
    weights: Mapping[str, keras.Variable],
    places: Mapping[str, Places] | None = None,
    stay: Collection[str] = (),
) -> list[Move]:
    """Plan the move of each weight of a part.

    Args:
        part: of the target.
        there: `weights_of` the source's part.
        weights: those of the target's.
        places: of tables of words, as `mmkeras.transfer.words.word_places` gives them.
        stay: first parts of paths that do not move.
    """
    found = []
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
        found.append(Move((part.name, name, tuple(weight.shape), moved, reason), weight, values))
    return found


def _words(
    old: keras.Variable, weight: keras.Variable, places: Places, where: str
) -> tuple[bool, str, np.ndarray | None]:
    """Whether a table of words can be moved, how much of it, and its new values."""
    common, *counts = places
    if (old.shape[0], weight.shape[0]) != tuple(counts):
        raise InputError(
            f"transfer_weights: {where}: expected the schemas of the source and of the target, whose tables have "
            f"{old.shape[0]} and {weight.shape[0]} rows, received some of {counts[0]} and {counts[1]}"
        )
    if old.shape[1] != weight.shape[1]:
        return False, f"of the width {old.shape[1]} in the source", None
    given, values = (np.array(keras.ops.convert_to_numpy(table)) for table in (old, weight))
    rows, sources = np.transpose(common)
    values[rows] = given[sources]
    return True, f"{len(rows)} of {len(values)} rows" if len(rows) < len(values) else "", values


def weights_of(part: keras.layers.Layer, name: str = "") -> dict[str, keras.Variable]:
    """Dict of a weight's name without the input's name -> weight; equal names are numbered.

    A tower's own layers have the name of the input in theirs; others belong to a model that is part of the tower.
    """
    layers = getattr(part, "layers", ())
    own = [layer for layer in layers if layer.name.endswith("_fusion")]  # of single targets, alike inside
    inside = {id(weight): f"{layer.name}/" for layer in own for weight in layer.weights}
    seen: Counter[str] = Counter()
    found = {}
    for weight in part.weights:
        path = inside.get(id(weight), "") + weight.path
        if name:
            path = path.removeprefix(f"{name}_frozen/")
            path = path.removeprefix(f"{name}_") if path.startswith(f"{name}_") else BACKBONE + path
        seen[path] += 1
        found[path if seen[path] == 1 else f"{path} ({seen[path]})"] = weight
    return found


def of_other_classes(schemas: Sequence[Schema]) -> set[str]:
    """First part of the path of each weight that belongs to classes that differ in the target."""
    found = set()
    for name, target in schemas[1].targets.items():
        before, classes = schemas[0].targets.get(name), target.classes
        if classes is not None and (type(before) is not type(target) or before.classes != classes):
            vectors = [*schemas[1].inputs, *schemas[1].targets]  # a late fusion predicts from each by itself
            found |= {name, f"{name}_token", *(f"{name}_decision_of_{vector}" for vector in vectors)}
    return found
