"""The objective of a search: a metric of the tasks in the space."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import keras_tuner

from mmkeras.checks import check_choice
from mmkeras.errors import InputError, shown, unknown
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema
from mmkeras.tasks import choose_task, direction


def objective_of(schema: Schema, given: Any = None, space: Any = None) -> tuple[str, str]:
    """The objective: `(name, "max" or "min")`.

    Args:
        schema: `Schema`.
        given: name of a metric with "val_" before it, as `fit` reports it, or a pair of that and "max" or "min"; None:
            the first metric of the first target on the validation rows.
        space: of `tune`. Its tasks define the metrics: with several tasks for a target, the metrics that all of them
            have; with a function, those of the tasks in its first `ModelSpec`.

    Raises:
        InputError: a metric that the models do not have, or that does not say which way it is better.
    """
    known = dict(_known(schema, space))
    if given is None:
        given = next((name for name, metric in known.items() if metric is not None), None)
        if given is None:
            raise InputError("tune: expected an objective, as the tasks of the space have no metric in common")
    pair = (given, None) if isinstance(given, str) else given
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(
            f'tune: expected objective to be the name of a metric, or a pair as ("{next(iter(known))}", "min"), '
            f"received {shown(given)}"
        )
    name, better = pair
    if name not in known:
        raise unknown("objective", name, known)
    if better is not None:
        return name, check_choice(better, "the objective's direction", ("max", "min"), "tune: ")
    return name, "min" if known[name] is None else direction(known[name])


def _known(schema: Schema, space: Any) -> Iterator[tuple[str, keras.metrics.Metric | None]]:
    """The values that `fit` reports for the validation rows: name and metric, or None for a loss."""
    several, choices = len(schema.targets) > 1, _choices(schema, space)
    yield "val_loss", None
    for name, target in schema.targets.items():
        tasks = [choose_task(target, choice, name).part for choice in choices[name]]
        found = [{metric.name: metric for metric in task.metrics(target)} for task in tasks]
        for key, metric in found[0].items():
            if all(key in other for other in found):
                yield f"val_{name}_{key}" if several else f"val_{key}", metric
        if several:
            yield f"val_{name}_loss", None


def _choices(schema: Schema, space: Any) -> dict[str, list]:
    """The tasks that a space has for every target; None: the default."""
    given = space or {}
    if callable(space):
        spec = space(keras_tuner.HyperParameters())
        given = spec.tasks if isinstance(spec, ModelSpec) else {}
    asked = {name: given.get(name) if isinstance(given, Mapping) else None for name in schema.targets}
    return {name: choice if isinstance(choice, list) else [choice] for name, choice in asked.items()}
