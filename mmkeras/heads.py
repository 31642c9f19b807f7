"""Heads: the fused vector in, one named output out, with the loss and the metrics that belong to it."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from mmkeras.registry import arguments, choose, registrar
from mmkeras.schema import Category


@dataclass(frozen=True)
class Head:
    """The three things that a target needs.

    Attributes:
        output: function `(x, *, target, name) -> (batch, ...)` of the fused vector `(batch, width)`; its last layer
            bears the target's name and is float32. It may have options of its own.
        loss: function of the target -> `keras.losses.Loss`.
        metrics: function of the target -> list of `keras.metrics.Metric`, the one to judge by first.
    """

    output: Callable
    loss: Callable
    metrics: Callable


def softmax_output(x, *, target, name, dropout=0.0):
    """Probabilities of the target's classes: `(batch, classes)`, float32.

    Args:
        x: `(batch, width)`.
        target: fitted `Category`.
        name: of the target.
        dropout: share of the values dropped in training before the last layer.
    """
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(len(target.classes), activation="softmax", dtype="float32", name=name)(x)


SOFTMAX = Head(
    output=softmax_output,
    loss=lambda target: keras.losses.SparseCategoricalCrossentropy(),
    metrics=lambda target: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)

HEADS = {"softmax": SOFTMAX}
DEFAULTS = {Category: "softmax"}

register = registrar("head", HEADS)


def head(x, target, choice, *, name):
    """The output of one target by the head that `choice` (a name, a dict of "kind" and options, or None) names."""
    where = f"{name!r}: "
    kind, part, options = choose("head", HEADS, choice or DEFAULTS[type(target)], where)
    return part.output(x, **arguments("head", kind, part.output, options, {"target": target, "name": name}, where))


def compile_args(schema, heads=None):
    """Keyword arguments for `model.compile`: the loss and the weighted metrics of every head.

    Args:
        schema: fitted `Schema`.
        heads: dict of target -> head, as in `ModelSpec`, where it is not the default.

    Returns:
        dict of "loss" and "weighted_metrics" (metrics that honour sample weights); for several targets each is a dict
        by target.

    >>> from mmkeras.schema import Schema, Text
    >>> schema = Schema({"review": Text(8, vocabulary=["good"])}, {"liked": Category(classes=["no", "yes"])})
    >>> sorted(compile_args(schema))
    ['loss', 'weighted_metrics']
    """
    loss, metrics = {}, {}
    for name, target in schema.targets.items():
        _, part, _ = choose("head", HEADS, (heads or {}).get(name) or DEFAULTS[type(target)], f"{name!r}: ")
        loss[name], metrics[name] = part.loss(target), part.metrics(target)
    if len(loss) == 1:
        return {"loss": next(iter(loss.values())), "weighted_metrics": next(iter(metrics.values()))}
    return {"loss": loss, "weighted_metrics": metrics}
