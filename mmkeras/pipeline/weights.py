"""Targets as numbers, and the weight of each row."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmkeras.checks import check_number
from mmkeras.errors import InputError, shown, unknown
from mmkeras.pipeline.decoded import truths
from mmkeras.records import Records
from mmkeras.schema import Schema

# "balanced", or weights by label, or either by target
ClassWeight = str | Mapping[str, Any] | None


def labels(records: Records) -> dict[str, np.ndarray]:
    """Every target of `readable(records, targets=True)` as numbers, all in memory: dict of name -> `(rows, ...)`.

    `(rows,)` int32 class numbers for `Category`, `(rows, classes)` float32 ones and zeros for `Labels`, `(rows,)`
    float32 in the unit for `Number`, for others as `target.truth` says. A missing optional target has a valid value,
    and `row_weights` gives it the weight 0. Large truths come from `batches`.
    """
    return {name: truths(records)[name].array() for name in records.schema.targets}


def class_numbers(records: Records) -> dict[str, np.ndarray]:
    """`labels` of the targets whose classes can have weights."""
    wanted = [name for name, target in records.schema.targets.items() if target.class_weights]
    return {name: truths(records)[name].array() for name in wanted}


def there(records: Records) -> dict[str, np.ndarray]:
    """Whether each row has each target: dict of name -> `(rows,)` bool."""
    return {name: records.there(name) for name in records.schema.targets}


def weighs(schema: Schema, class_weight: ClassWeight = None) -> bool:
    """Whether rows have sample weights: where a target is optional, or class weights are asked for."""
    return class_weight is not None or any(target.optional for target in schema.targets.values())


def row_weights(
    records: Records, numbers: Mapping[str, np.ndarray], class_weight: ClassWeight = None
) -> dict[str, np.ndarray]:
    """Sample weights: dict of target -> `(rows,)` float32; empty where no target is optional and none are asked for.

    Args:
        records: `Records` all of whose rows are readable.
        numbers: of the same records, from `labels` or `class_numbers`.
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


def class_counts(
    schema: Schema, numbers: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The rows of every class: dict of target whose classes can have weights -> `(classes,)` int."""
    return {
        name: np.bincount(numbers[name][present[name]], minlength=len(target.classes))
        for name, target in schema.targets.items()
        if target.class_weights
    }


def class_weights(schema: Schema, class_weight: ClassWeight, counts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weight of every class of the targets with class weights: dict of target -> `(classes,)` float32.

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
    """The class_weight of `batches`, as a dict of target -> "balanced" or dict of label -> weight."""
    where = "batches: class_weight: "
    weighed = [name for name, target in targets.items() if target.class_weights]
    if class_weight is None:
        return {}
    if isinstance(class_weight, str) and class_weight == "balanced":
        if not weighed:
            raise InputError(
                f"{where}expected a target whose classes can have weights, as a Category, received {', '.join(targets)}"
            )
        return dict.fromkeys(weighed, "balanced")
    if not isinstance(class_weight, Mapping):
        raise InputError(f"{where}expected 'balanced' or a dict, received {shown(class_weight)}")
    if len(targets) == 1 and not all(isinstance(weights, Mapping | str) for weights in class_weight.values()):
        class_weight = {next(iter(targets)): class_weight}
    return {name: _of_labels(targets, name, weights, where) for name, weights in class_weight.items()}


def _of_labels(targets, name, weights, where):
    if name not in targets:
        raise unknown("target", name, targets, where)
    if not targets[name].class_weights:
        kind = type(targets[name]).__name__
        raise InputError(f"{where}{name!r}: expected a target whose classes can have weights, received a {kind}")
    if isinstance(weights, str) and weights == "balanced":
        return weights
    if not isinstance(weights, Mapping):
        raise InputError(
            f"{where}{name!r}: expected 'balanced' or a dict of label -> weight, received {shown(weights)}"
        )
    for label, weight in weights.items():
        if not targets[name].values_of(str(label)) <= {*targets[name].classes}:
            raise unknown(f"label of {name!r}:", str(label), targets[name].classes, where)
        check_number(weight, f"the weight of {label!r}", f"{where}{name!r}: ", least=0)
    return {one: float(weight) for label, weight in weights.items() for one in targets[name].values_of(str(label))}
