"""Targets as numbers, and what each row weighs."""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from mmkeras.errors import InputError, unknown
from mmkeras.schema import Category


def labels(records):
    """Every target of `readable(records, targets=True)` as numbers: dict of name -> array.

    `(rows,)` int32 class numbers for `Category`, `(rows, classes)` float32 ones and zeros for `Labels`, `(rows,)`
    float32 in the unit for `Number`; where an optional target is absent a valid value, to which `row_weights` gives 0.
    """
    return {name: target.encode(records.values(name))[0] for name, target in records.schema.targets.items()}


def _there(records, name):
    """Whether each row has the target: `(rows,)` bool."""
    return (records.values(name) != "") | (not records.schema.targets[name].optional)


def row_weights(records, numbers, class_weight=None):
    """Sample weights: dict of target -> `(rows,)` float32; empty where no target is optional and none are asked for.

    Args:
        records: `Records`.
        numbers: of the same records, from `labels`.
        class_weight: as in `batches`.
    """
    targets = records.schema.targets
    if class_weight is None and not any(target.optional for target in targets.values()):
        return {}
    asked = _asked_weights(targets, class_weight)
    return {name: _row_weights(records, name, numbers[name], asked.get(name, {})) for name in targets}


def _row_weights(records, name, numbers, asked):
    there = _there(records, name)
    if not asked:
        return there.astype(np.float32)
    classes = records.schema.targets[name].classes
    if asked == "balanced":
        count = np.bincount(numbers[there], minlength=len(classes))
        weights = there.sum() / (np.count_nonzero(count) * np.maximum(count, 1))
    else:
        weights = np.array([asked.get(label, 1.0) for label in classes])
    return np.where(there, weights[numbers], 0).astype(np.float32)


def _asked_weights(targets, class_weight):
    """What `batches` takes as class_weight, as a dict of target -> "balanced" or dict of label -> weight."""
    where = "batches: class_weight: "
    categories = [name for name, target in targets.items() if isinstance(target, Category)]
    if class_weight is None:
        return {}
    if isinstance(class_weight, str) and class_weight == "balanced":
        if not categories:
            raise InputError(f"{where}expected a Category among the targets, received {', '.join(targets)}")
        return dict.fromkeys(categories, "balanced")
    if not isinstance(class_weight, Mapping):
        raise InputError(f"{where}expected 'balanced' or a dict, received {class_weight!r}")
    if len(targets) == 1 and not all(isinstance(weights, Mapping | str) for weights in class_weight.values()):
        class_weight = {next(iter(targets)): class_weight}
    return {name: _of_labels(targets, name, weights, where) for name, weights in class_weight.items()}


def _of_labels(targets, name, weights, where):
    if name not in targets:
        raise unknown("target", name, targets, where)
    if not isinstance(targets[name], Category):
        raise InputError(f"{where}{name!r}: only a Category has class weights, not {type(targets[name]).__name__}")
    if isinstance(weights, str) and weights == "balanced":
        return weights
    if not isinstance(weights, Mapping):
        raise InputError(f"{where}{name!r}: expected 'balanced' or a dict of label -> weight, received {weights!r}")
    for label, weight in weights.items():
        if str(label) not in targets[name].classes:
            raise unknown(f"label of {name!r}:", str(label), targets[name].classes, where)
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= weight < float("inf"):
            raise InputError(f"{where}{name!r}: expected a number from 0 for {label!r}, received {weight!r}")
    return {str(label): float(weight) for label, weight in weights.items()}
