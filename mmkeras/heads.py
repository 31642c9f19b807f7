"""Heads: the fused vector in, one named output out, with the loss and the metrics that belong to it.

Every metric gives the rows the weights that they have in the loss, so an absent target counts in neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.registry import arguments, choose, registrar
from mmkeras.schema import Category, Labels, Number

saved = keras.saving.register_keras_serializable(package="mmkeras")


@dataclass(frozen=True)
class Head:
    """What a target needs.

    Attributes:
        output: function `(x, *, target, name) -> (batch, ...)` of the fused vector `(batch, width)`; its last layer
            bears the target's name and is float32. It may have options of its own.
        loss: function of the target -> `keras.losses.Loss`.
        metrics: function of the target -> list of `keras.metrics.Metric`, the one to judge by first.
        kinds: the kinds of target that it serves.
    """

    output: Callable
    loss: Callable
    metrics: Callable
    kinds: tuple[type, ...] = (Category,)


def softmax_output(x, *, target, name, dropout=0.0):
    """Probabilities of the target's classes, which exclude each other: `(batch, classes)`, float32.

    Args:
        x: `(batch, width)`.
        target: fitted `Category`.
        name: of the target.
        dropout: share of the values dropped in training before the last layer.
    """
    x = _dropped(x, dropout, name)
    return keras.layers.Dense(len(target.classes), activation="softmax", dtype="float32", name=name)(x)


def sigmoid_output(x, *, target, name, dropout=0.0):
    """The probability of each of the target's classes by itself: `(batch, classes)`, float32.

    Args:
        x: `(batch, width)`.
        target: fitted `Labels`.
        name: of the target.
        dropout: share of the values dropped in training before the last layer.
    """
    x = _dropped(x, dropout, name)
    return keras.layers.Dense(len(target.classes), activation="sigmoid", dtype="float32", name=name)(x)


def linear_output(x, *, target, name, dropout=0.0):
    """A number in the target's unit: `(batch,)`, float32.

    A dense layer answers in deviations from the mean, the last layer turns that into the unit; so an untrained model
    answers about the mean, whatever the unit.

    Args:
        x: `(batch, width)`.
        target: fitted `Number`.
        name: of the target.
        dropout: share of the values dropped in training before the dense layer.
    """
    x = keras.layers.Dense(1, dtype="float32", name=f"{name}_deviations")(_dropped(x, dropout, name))
    x = keras.layers.Reshape((), dtype="float32", name=f"{name}_flat")(x)
    return keras.layers.Rescaling(target.deviation, target.mean, dtype="float32", name=name)(x)


def _dropped(x, dropout, name):
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def _pair(y_true, y_pred, dtype):
    """Truth and answer as `(batch,)` each: (batch, 1) less (batch,) would be every truth less every answer."""
    return [ops.reshape(ops.convert_to_tensor(y, dtype=dtype), (-1,)) for y in (y_true, y_pred)]


@saved
class SquaredDeviations(keras.losses.Loss):
    """Squared error of a number in deviations: `((truth - answer) / deviation)^2`, of `(batch,)` each.

    About 1 for a model that answers the mean of all rows, whatever the unit, so that heads weigh alike.

    A compiled model that holds it is no longer made of stock Keras alone: `import mmkeras.heads` before
    `keras.models.load_model`, or load with `compile=False`.

    Args:
        deviation: of the training rows, in the unit.
        reduction, name, dtype: as in `keras.losses.Loss`.
    """

    def __init__(self, deviation, reduction="sum_over_batch_size", name="squared_deviations", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.deviation = deviation

    def call(self, y_true, y_pred):
        """`(batch,)` and `(batch,)`, in the unit -> `(batch,)`."""
        truth, answer = _pair(y_true, y_pred, self.dtype)
        return ops.square((truth - answer) / self.deviation)

    def get_config(self):
        """The loss's arguments."""
        return {**super().get_config(), "deviation": self.deviation}


@saved
class AbsoluteError(keras.metrics.Mean):
    """Weighted mean of `|truth - answer|`, of `(batch,)` each, in the unit.

    Keras' own `MeanAbsoluteError` averages over the last axis first, which here is the rows: it would ignore weights.
    """

    def __init__(self, name="mae", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "down"  # for tuners

    def update_state(self, y_true, y_pred, sample_weight=None):
        """`(batch,)` and `(batch,)`, in the unit; weights `(batch,)`."""
        truth, answer = _pair(y_true, y_pred, self.dtype)
        return super().update_state(ops.abs(truth - answer), sample_weight=sample_weight)


@saved
class R2(keras.metrics.R2Score):
    """Coefficient of determination of `(batch,)` each: 1 all is explained, 0 no better than the mean of these rows.

    Reckoned in deviations from the mean, where float32 loses nothing to large numbers (years, prices), and 0 where
    there is nothing to explain: no row, or equal ones.

    Args:
        mean, deviation: of the training rows, in the unit.
        name, dtype: as in `keras.metrics.Metric`.
    """

    def __init__(self, mean=0.0, deviation=1.0, name="r2", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.mean, self.deviation = mean, deviation

    def update_state(self, y_true, y_pred, sample_weight=None):
        """`(batch,)` and `(batch,)`, in the unit; weights `(batch,)`."""
        pair = [(y[:, None] - self.mean) / self.deviation for y in _pair(y_true, y_pred, self.dtype)]
        return super().update_state(*pair, sample_weight=sample_weight)

    def result(self):
        """The score, a scalar."""
        score = super().result()
        return ops.where(ops.isnan(score), ops.zeros_like(score), score)

    def get_config(self):
        """The metric's arguments."""
        return {"name": self.name, "dtype": self.dtype, "mean": self.mean, "deviation": self.deviation}


def _labels_metrics(target):
    return [
        keras.metrics.F1Score(average="macro", threshold=0.5, name="f1"),
        keras.metrics.AUC(multi_label=True, num_labels=len(target.classes), name="auc"),
    ]


SOFTMAX = Head(
    output=softmax_output,
    loss=lambda target: keras.losses.SparseCategoricalCrossentropy(),
    metrics=lambda target: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)
SIGMOID = Head(
    output=sigmoid_output,
    loss=lambda target: keras.losses.BinaryCrossentropy(),
    metrics=_labels_metrics,
    kinds=(Labels,),
)
LINEAR = Head(
    output=linear_output,
    loss=lambda target: SquaredDeviations(target.deviation),
    metrics=lambda target: [AbsoluteError(), R2(target.mean, target.deviation)],
    kinds=(Number,),
)

HEADS = {"softmax": SOFTMAX, "sigmoid": SIGMOID, "linear": LINEAR}
DEFAULTS = {Category: "softmax", Labels: "sigmoid", Number: "linear"}

register = registrar("head", HEADS)


def _choose(target, choice, name):
    """The head of one target: its name, the `Head`, its options, and the beginning of messages."""
    where = f"{name!r}: "
    kind, part, options = choose("head", HEADS, choice or DEFAULTS[type(target)], where)
    if not isinstance(target, part.kinds):
        serves = ", ".join(serving.__name__ for serving in part.kinds)
        fitting = ", ".join(sorted(other for other, head in HEADS.items() if isinstance(target, head.kinds)))
        raise InputError(
            f"{where}expected a head for {type(target).__name__} ({fitting}), received {kind!r}, which is for {serves}"
        )
    return kind, part, options, where


def head(x, target, choice, *, name):
    """The output of one target by the head that `choice` (a name, a dict of "kind" and options, or None) names."""
    kind, part, options, where = _choose(target, choice, name)
    return part.output(x, **arguments("head", kind, part.output, options, {"target": target, "name": name}, where))


def compile_args(schema, heads=None):
    """Keyword arguments for `model.compile`: loss and weighted metrics of every head, the one to judge by first.

    - `Category`: crossentropy; "accuracy".
    - `Labels`: binary crossentropy, the mean over the classes; "f1", the mean over the classes of the F1 score at the
      threshold 0.5, in which a rare label counts as much as a frequent one and "none" everywhere earns nothing; "auc",
      the mean over the classes of the area under the ROC curve, which needs no threshold. A class that no row has
      counts as 0 in both.
    - `Number`: squared error in deviations; "mae", the mean absolute error in the unit; "r2", the share of the variance
      that is explained.

    Args:
        schema: fitted `Schema`.
        heads: dict of target -> head, as in `ModelSpec`, where it is not the default.

    Returns:
        dict of "loss" and "weighted_metrics" (metrics that honour sample weights); for several targets each is a dict
        by target.

    >>> from mmkeras.schema import Schema, Text
    >>> schema = Schema({"review": Text(8, vocabulary=["good"])}, {"price": Number(mean=20, deviation=5, unit="EUR")})
    >>> [metric.name for metric in compile_args(schema)["weighted_metrics"]]
    ['mae', 'r2']
    """
    loss, metrics = {}, {}
    for name, target in schema.targets.items():
        _, part, _, _ = _choose(target, (heads or {}).get(name), name)
        loss[name], metrics[name] = part.loss(target), part.metrics(target)
    if len(loss) == 1:
        return {"loss": next(iter(loss.values())), "weighted_metrics": next(iter(metrics.values()))}
    return {"loss": loss, "weighted_metrics": metrics}
