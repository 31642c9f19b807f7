"""Heads: the fused vector in, one named output out, with the loss and the metrics that belong to it.

Every metric gives the rows the weights that they have in the loss, so a missing target counts in neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from mmkeras.checks import is_number
from mmkeras.errors import InputError, unknown
from mmkeras.layers import LossWeight, WeightedMean
from mmkeras.registry import Catalogue, check_option, choose, own_options
from mmkeras.schema import Category, Labels, Number
from mmkeras.tasks.losses import Crossentropy, StandardizedSquaredError, WeightedLoss
from mmkeras.tasks.metrics import R2, AbsoluteError


@dataclass(frozen=True)
class Task:
    """What a target needs.

    Attributes:
        output: function `(x, *, target, name) -> (batch, ...)` of the fused vector `(batch, width)`; its last layer
            bears the target's name and is float32. It may have options of its own.
        loss: function `(target) -> keras.losses.Loss`. It may have options of its own.
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

    A dense layer answers in standard deviations from the mean, the last layer turns that into the unit; so an untrained
    model answers about the mean, whatever the unit.

    Args:
        x: `(batch, width)`.
        target: fitted `Number`.
        name: of the target.
        dropout: share of the values dropped in training before the dense layer.
    """
    x = keras.layers.Dense(1, dtype="float32", name=f"{name}_standardized")(_dropped(x, dropout, name))
    x = keras.layers.Reshape((), dtype="float32", name=f"{name}_flat")(x)
    return keras.layers.Rescaling(target.std, target.mean, dtype="float32", name=name)(x)


def _dropped(x, dropout, name):
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def softmax_loss(target, *, label_smoothing=0.0, focal=0.0):
    """Crossentropy.

    Args:
        target: `Category`.
        label_smoothing: share of the truth that is spread evenly over the classes, 0 to below 1 (Szegedy et al., 2016).
        focal: exponent of the focal loss, 0 (none) or more (Lin et al., 2017): rows answered well count less.
    """
    if not label_smoothing and not focal:
        return keras.losses.SparseCategoricalCrossentropy()
    return Crossentropy(label_smoothing, focal)


def sigmoid_loss(target, *, label_smoothing=0.0, focal=0.0):
    """Binary crossentropy, the mean over the classes.

    `-mean_c (1 - r_c)^focal (q_c log p_c + (1 - q_c) log(1 - p_c))` with `q = (1 - label_smoothing) truth +
    label_smoothing / 2` and `r = q p + (1 - q) (1 - p)`; without the focal loss's alpha, so that focal=0 is plain.

    Args:
        target: `Labels`.
        label_smoothing: 0 to below 1: truths become half of it and 1 less half of it.
        focal: exponent of the focal loss, 0 (none) or more (Lin et al., 2017): classes answered well count less.
    """
    if not focal:
        return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    return keras.losses.BinaryFocalCrossentropy(gamma=focal, label_smoothing=label_smoothing)


def linear_loss(target):
    """Squared error in standard deviations."""
    return StandardizedSquaredError(target.std)


def _labels_metrics(target):
    return [
        keras.metrics.F1Score(average="macro", threshold=0.5, name="f1"),
        keras.metrics.AUC(multi_label=True, num_labels=len(target.classes), name="auc"),
    ]


SOFTMAX = Task(
    output=softmax_output,
    loss=softmax_loss,
    metrics=lambda target: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
)
SIGMOID = Task(
    output=sigmoid_output,
    loss=sigmoid_loss,
    metrics=_labels_metrics,
    kinds=(Labels,),
)
LINEAR = Task(
    output=linear_output,
    loss=linear_loss,
    metrics=lambda target: [AbsoluteError(), R2(target.mean, target.std)],
    kinds=(Number,),
)

TASKS = Catalogue(
    "task",
    {"softmax": SOFTMAX, "sigmoid": SIGMOID, "linear": LINEAR},
    __name__,
    lambda part: isinstance(part, Task),
    "a Task",
)
DEFAULTS = {Category: "softmax", Labels: "sigmoid", Number: "linear"}

register = TASKS.register


@dataclass(frozen=True)
class Choice:
    """The head that was chosen for one target.

    Attributes:
        part: the `Task`.
        output: options of its output.
        loss: options of its loss.
        weight: of its loss beside those of other targets: a number above 0, or "learned".
    """

    part: Task
    output: dict
    loss: dict
    weight: float | str


def _choose(target, choice, name):
    where = f"{name!r}: "
    kind, part, options = choose(TASKS, choice or DEFAULTS[type(target)], where)
    if not isinstance(target, part.kinds):
        serves = ", ".join(serving.__name__ for serving in part.kinds)
        fitting = ", ".join(sorted(other for other, head in TASKS.items() if isinstance(target, head.kinds)))
        raise InputError(
            f"{where}expected a task for {type(target).__name__} ({fitting}), received {kind!r}, which is for {serves}"
        )
    weight = options.pop("weight", 1.0)
    if weight != "learned" and not is_number(weight, least=0, above=True):
        raise InputError(f"{where}expected weight to be a number above 0 or 'learned', received {weight!r}")
    own, of_loss = own_options(part.output, ("target", "name")), own_options(part.loss, ())
    for option, value in options.items():
        if option not in (*own, *of_loss):
            raise unknown(f"option of task {kind!r}:", option, [*own, *of_loss, "weight"], where)
        if option == "focal" and not is_number(value, least=0):
            raise InputError(f"{where}expected focal to be a number from 0, received {value!r}")
        check_option(option, value, where)
    taken = [{option: options[option] for option in known if option in options} for known in (own, of_loss)]
    return Choice(part, *taken, weight if weight == "learned" else float(weight))


def head(x, target, choice, *, name):
    """The output of one target by the head that `choice` (a name, a dict of "kind" and options, or None) names."""
    chosen = _choose(target, choice, name)
    output = chosen.part.output(x, target=target, name=name, **chosen.output)
    if tuple(output.shape[1:]) != target.answer_shape:
        shape = ", ".join(["batch", *map(str, target.answer_shape)])
        raise InputError(f"{name!r}: expected its head to answer ({shape}), received {tuple(output.shape)}")
    return output


def answer(vectors, target, choice, *, name):
    """The output of one target, named after it.

    Args:
        vectors: the fused vector `(batch, width)`; or a dict of modality -> vector: each is answered from by itself,
            and the answers are averaged with learned weights.
        target: the schema's entry.
        choice: of the head.
        name: of the target.

    Returns:
        `(batch, ...)` float32.
    """
    if isinstance(vectors, dict):
        answers = [head(x, target, choice, name=f"{name}_decision_of_{modality}") for modality, x in vectors.items()]
        output = WeightedMean(list(vectors), dtype="float32", name=name)(answers)
    else:
        output = head(vectors, target, choice, name=name)
    if _choose(target, choice, name).weight == "learned":
        output = LossWeight(dtype="float32", name=loss_weight_name(name))(output)
    return output


def loss_weight_name(target):
    """Name of the layer in "body" that learns how much the target's loss weighs."""
    return f"{target}_loss_weight"


def compile_args(schema, tasks=None, model=None):
    """Keyword arguments for `model.compile`: loss, loss weight and weighted metrics of every head.

    - `Category`: crossentropy; "accuracy".
    - `Labels`: binary crossentropy, the mean over the classes; "f1", the mean over the classes of the F1 score at the
      threshold 0.5, in which a rare label counts as much as a frequent one and "none" everywhere earns nothing; "auc",
      the mean over the classes of the area under the ROC curve, which needs no threshold. A class that no row has
      counts as 0 in both.
    - `Number`: squared error in standard deviations; "mae", the mean absolute error in the unit; "r2", the share of the
      variance that is explained.

    A target's first metric is the one to judge by. A head's option "weight" is the weight of its loss beside those of
    other targets; "learned": by the uncertainty of each task (Kendall et al., 2018), see `mmkeras.layers.LossWeight`.

    Args:
        schema: fitted `Schema`.
        tasks: dict of target -> task, as in `ModelSpec`, where it is not the default.
        model: `keras.Model` that `build` made with these heads; needed where a weight is "learned".

    Returns:
        dict of "loss" and "weighted_metrics" (metrics that honour sample weights), and of "loss_weights" where a weight
        is not 1; for several targets each is a dict by target.

    Raises:
        InputError: targets that are not fitted; an unknown task or option; a weight to be learned without a model that
            learns it.

    >>> from mmkeras.schema import Schema, Text
    >>> schema = Schema({"review": Text(8, vocabulary=["good"])}, {"price": Number(mean=20, std=5, unit="EUR")})
    >>> [metric.name for metric in compile_args(schema)["weighted_metrics"]]
    ['mae', 'r2']
    """
    if not schema.targets:
        raise InputError("compile_args: expected targets in the schema, received none: compile without a loss")
    for name in tasks or {}:
        if name not in schema.targets:
            raise unknown("target", name, schema.targets, where="compile_args: ")
    if set(schema.unfitted) & set(schema.targets):
        schema.require_fitted("compile_args")
    loss, metrics, weights = {}, {}, {}
    for name, target in schema.targets.items():
        chosen = _choose(target, (tasks or {}).get(name), name)
        loss[name], metrics[name] = chosen.part.loss(target, **chosen.loss), chosen.part.metrics(target)
        weights[name] = chosen.weight
        if chosen.weight == "learned":
            half = isinstance(target, Number)
            loss[name], weights[name] = WeightedLoss(loss[name], _log_variance(model, name), half), 1.0
    found = {"loss": loss, "weighted_metrics": metrics}
    if set(weights.values()) != {1.0}:
        found["loss_weights"] = weights
    return found if len(loss) > 1 else {key: value[name] for key, value in found.items()}


def learn_loss_weights(model):
    """Have a model that was compiled from its config learn its loss weights again: there they are numbers."""
    losses = model.loss if isinstance(model.loss, dict) else dict.fromkeys(model.output_names, model.loss)
    for name, loss in losses.items():
        if isinstance(loss, WeightedLoss):
            loss.log_variance = _log_variance(model, name)


def _log_variance(model, name):
    """What the model's layer `LossWeight` of a target learns."""
    layers = {} if model is None else {layer.name: layer for layer in model.get_layer("body").layers}
    layer = layers.get(loss_weight_name(name))
    if layer is None:
        raise InputError(
            f"compile_args: {name!r} has weight='learned', so expected model= a model that build made with the same "
            f"heads, received {'none' if model is None else f'one without the layer {loss_weight_name(name)!r}'}"
        )
    return layer.log_variance
