"""Loss, loss weight and metrics of every target, for `model.compile`."""

from collections.abc import Mapping
from typing import Any

import keras

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.layers import LossWeight
from mmkeras.schema import Schema
from mmkeras.tasks.choosing import choices_of, choose_task, loss_weight_name
from mmkeras.tasks.losses import WeightedLoss


@checked_keywords
def compile_args(
    schema: Schema, tasks: Mapping[str, Any] | None = None, model: keras.Model | None = None
) -> dict[str, Any]:
    """Keyword arguments for `model.compile`: loss, loss weight and weighted metrics of every target.

    - `Category`: crossentropy; "accuracy".
    - `Labels`: binary crossentropy, the mean over the classes; "f1", the mean over the classes of the F1 score at the
      threshold 0.5: a rare label counts as much as a frequent one, and predicting no label for all rows scores 0;
      "auc", the mean over the classes of the area under the ROC curve, which needs no threshold. A class that no row
      has counts as 0 in both.
    - `Number`: squared error in standard deviations; "mae", the mean absolute error in the unit; "r2", the explained
      share of the variance.

    A target's first metric is its main one. A task's option "weight" is the weight of its loss, relative to other
    targets; "learned": by the uncertainty of each task (Kendall et al., 2018), see `mmkeras.layers.LossWeight`.

    Args:
        schema: fitted `Schema`.
        tasks: dict of target -> task, as in `ModelSpec`, where it is not the default.
        model: `keras.Model` that `build` made; needed where a weight is "learned". A target that `tasks` leaves out has
            the model's task, with the options of its loss and its weight.

    Returns:
        dict of "loss" and "weighted_metrics" (metrics that use sample weights), and of "loss_weights" where a weight is
        not 1; for several targets each is a dict by target.

    Raises:
        InputError: targets that are not fitted; an unknown task or option; another task than the model's; a weight to
            be learned without a model that learns it.

    >>> from mmkeras.schema import Number, Schema, Text
    >>> schema = Schema({"review": Text(8, vocabulary=["good"])}, {"price": Number(mean=20, std=5, unit="EUR")})
    >>> [metric.name for metric in compile_args(schema)["weighted_metrics"]]
    ['mae', 'r2']
    """
    if not schema.targets:
        raise InputError("compile_args: expected targets in the schema, received none: compile without a loss")
    if tasks is not None and not isinstance(tasks, Mapping):
        hint = ": the model is the third argument, model=..." if isinstance(tasks, keras.Model) else ""
        raise InputError(f"compile_args: expected tasks to be a dict of target -> task, received {shown(tasks)}{hint}")
    for name in tasks or {}:
        if name not in schema.targets:
            raise unknown("target", name, schema.targets, where="compile_args: ")
    if set(schema.unfitted) & set(schema.targets):
        schema.require_fitted("compile_args")
    own = {} if model is None else choices_of(model, schema)
    loss, metrics, weights = {}, {}, {}
    for name, target in schema.targets.items():
        chosen = choose_task(target, (tasks or {}).get(name, own.get(name)), name)
        if own and chosen.part is not own[name]["kind"]:
            raise InputError(
                f"compile_args: {name!r}: expected the task that the model was built with, {own[name]['kind']!r}, "
                f"received {chosen.name!r}"
            )
        loss[name], metrics[name] = chosen.part.loss(target, **chosen.loss), chosen.part.metrics(target)
        weights[name] = chosen.weight
        if own and chosen.weight != "learned" and _learned(model, name) is not None:
            raise InputError(
                f"compile_args: {name!r}: the model learns the weight of its loss: expected the tasks that it was "
                f"built with, received tasks={shown(tasks)}"
            )
        if chosen.weight == "learned":
            learned = _log_variance(model, name)
            loss[name], weights[name] = WeightedLoss(loss[name], learned, chosen.part.squared), 1.0
    found = {"loss": schema.fold(loss), "weighted_metrics": schema.fold(metrics)}
    if set(weights.values()) != {1.0}:
        found["loss_weights"] = schema.fold(weights)
    return found


def learn_loss_weights(model: keras.Model) -> None:
    """Let a model that was compiled from its config learn its loss weights again; in the config they are numbers."""
    losses = model.loss if isinstance(model.loss, dict) else dict.fromkeys(model.output_names, model.loss)
    for name, loss in losses.items():
        if isinstance(loss, WeightedLoss):
            loss.log_variance = _log_variance(model, name)


def _learned(model, name):
    """The layer that learns the weight of a target's loss; None if there is none."""
    body = next((layer for layer in getattr(model, "layers", ()) if layer.name == "body"), None)
    found = (layer for layer in getattr(body, "layers", ()) if layer.name == loss_weight_name(name))
    return next((layer for layer in found if isinstance(layer, LossWeight)), None)


def _log_variance(model, name):
    """The learned weight in the model's layer `LossWeight` of a target."""
    layer = _learned(model, name)
    if layer is None:
        raise InputError(
            f"compile_args: {name!r} has weight='learned', so expected model= a model that build made with the same "
            f"tasks, received {'none' if model is None else f'one without the layer {loss_weight_name(name)!r}'}"
        )
    return layer.log_variance
