"""One of several classes that exclude each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.layers import Fused
from mmkeras.targets import Category
from mmkeras.tasks.base import Served, Task, Words, dropped
from mmkeras.tasks.losses import Crossentropy

TOP, LISTED, TINY = 5, 20, 1e-7  # most labels of an output; most in a card; added to a probability, as in Keras


class Softmax(Task):
    """Probabilities of a `Category`'s classes, learned by crossentropy, with the metric "accuracy".

    Decoded output: `label` `(rows,)`, `score` `(rows,)` its probability, `probabilities` `(rows, classes)`, and the
    most probable five (or all, if fewer): `top_labels`, `top_scores` `(rows, k)`.
    """

    serves = (Category,)

    def output(self, fused: Fused, target: Category, *, name: str, dropout: float = 0.0) -> Any:
        """Probabilities `(batch, classes)`, float32.

        Args:
            fused: its `vector` `(batch, width)` is read.
            target: fitted.
            name: of the target.
            dropout: share of the values dropped in training before the last layer.
        """
        x = dropped(fused.vector, dropout, name)
        return keras.layers.Dense(len(target.classes), activation="softmax", dtype="float32", name=name)(x)

    def output_shape(self, target: Category) -> tuple[int, ...]:
        """`(classes,)`."""
        return (len(target.classes),)

    def loss(self, target: Category, *, label_smoothing: float = 0.0, focal: float = 0.0) -> keras.losses.Loss:
        """Crossentropy.

        Args:
            target: fitted.
            label_smoothing: share of the truth that is spread evenly over the classes, 0 to below 1 (Szegedy et al.,
                2016).
            focal: exponent of the focal loss, 0 (none) or more (Lin et al., 2017): rows predicted well count less.
        """
        if not label_smoothing and not focal:
            return keras.losses.SparseCategoricalCrossentropy()
        return Crossentropy(label_smoothing, focal)

    def metrics(self, target: Category) -> list[keras.metrics.Metric]:
        """The share of the rows whose most probable class is the right one."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def answer(self, outputs: Any, target: Category) -> dict[str, Any]:
        """Numbers of classes (int32) and probabilities, see the class."""
        scores, best = ops.top_k(outputs, min(TOP, len(target.classes)))
        top = {"probabilities": outputs, "top_labels": best, "top_scores": scores}
        return {"label": best[:, 0], "score": scores[:, 0], **top}

    def words(self, target: Category) -> dict[str, Words]:
        """The classes."""
        return dict.fromkeys(("label", "top_labels"), Words(target.classes))

    def columns(self, answers: Mapping[str, np.ndarray], target: Category) -> dict[str, np.ndarray]:
        """The label, "score", and "probability_<class>" of every class."""
        columns = {"": answers["label"], "score": answers["score"]}
        return columns | of_each_class(answers["probabilities"], target.classes)

    def distance(self, target: Category, teacher: Any, student: Any, temperature: float) -> Any:
        """`T^2 KL(teacher || student)` of the probabilities at temperature T (Hinton, Vinyals and Dean, 2015)."""
        return divergence(teacher, student, temperature)

    def served(self, target: Category) -> Served:
        """By the Classify API."""
        return Served("classify", {"classes": "top_labels", "scores": "top_scores"})

    def card(self, target: Category) -> dict[str, str]:
        """The classes."""
        return {"label": f"one of {listed(target.classes)}", "probabilities": ""}

    def limits(self, target: Category) -> list[str]:
        """There is no "none of them"."""
        return ["the model always predicts one of the classes listed, whatever it is shown."]


def of_each_class(probabilities: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Probabilities `(rows, classes)` as one column a class: "probability_<class>"."""
    return {f"probability_{label}": probabilities[:, place] for place, label in enumerate(classes)}


def listed(classes: Sequence[str]) -> str:
    """The number of the classes and the first of them, for a model card."""
    return f"{len(classes)} ({', '.join(classes[:LISTED])}{', ...' if len(classes) > LISTED else ''})"


def divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """`T^2 KL(teacher || student)` of probabilities `(batch, ..., classes)` at temperature T; a scalar, the mean."""
    p, q = (ops.log_softmax(ops.log(part + TINY) / temperature, axis=-1) for part in (teacher, student))
    return temperature**2 * ops.mean(ops.sum(ops.exp(p) * (p - q), axis=-1))
