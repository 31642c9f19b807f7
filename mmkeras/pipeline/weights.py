"""Targets as numbers, and what each row weighs."""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from mmkeras.errors import InputError, unknown
from mmkeras.schema import Category


def labels(records):
    """Every target of `readable(records, targets=True)` as numbers: dict of name -> array.

    `(rows,)` int32 class numbers for `Category`, `(rows, classes)` float32 ones and zeros for `Labels`, `(rows,)`
    float32 in the unit for `Number`; where an optional target is missing a valid value, to which `row_weights` gives 0.
    """
    return {name: target.encode(records.values(name))[0] for name, target in records.schema.targets.items()}


def there(records):
    """Whether each row has each target: dict of name -> `(rows,)` bool."""
    return {name: records.there(name) for name in records.schema.targets}


def weighs(schema, class_weight=None):
    """Whether rows have sample weights: where a target is optional, or class weights are asked for."""
    return class_weight is not None or any(target.optional for target in schema.targets.values())


def row_weights(records, numbers, class_weight=None):
    """Sample weights: dict of target -> `(rows,)` float32; empty where no target is optional and none are asked for.

    Args:
        records: `Records` all of whose rows are readable.
        numbers: of the same records, from `labels`.
        class_weight: as in `batches`.
    """
    if not weighs(records.schema, class_weight):
        return {}
    present = there(records)
    asked = class_weights(records.schema, class_weight, class_counts(records.schema, numbers, present))
    return {
        name: (rows * asked[name][numbers[name]] if name in asked else rows).astype(np.float32)
        for name, rows in present.items()
    }


def class_counts(schema, numbers, present):
    """The rows of every class: dict of `Category` target -> `(classes,)` int."""
    return {
        name: np.bincount(numbers[name][present[name]], minlength=len(target.classes))
        for name, target in schema.targets.items()
        if isinstance(target, Category)
    }


def class_weights(schema, class_weight, counts):
    """The weight of every class of the targets that are weighed: dict of target -> `(classes,)` float32.

    Args:
        schema: `Schema`.
        class_weight: as in `batches`.
        counts: from `class_counts`.
    """
    weights = {}
    for name, asked in _asked_weights(schema.targets, class_weight).items():
        if asked == "balanced":
            count = counts[name]
            found = count.sum() / (np.count_nonzero(count) * np.maximum(count, 1))
        else:
            found = [asked.get(label, 1.0) for label in schema.targets[name].classes]
        weights[name] = np.asarray(found, np.float32)
    return weights


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
