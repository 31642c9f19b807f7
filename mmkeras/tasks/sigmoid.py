"""Any number of several classes at once."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.layers import Fused
from mmkeras.targets import Labels
from mmkeras.tasks.base import Served, Task, Words, dropped
from mmkeras.tasks.softmax import TOP, divergence, listed, of_each_class

THRESHOLD = 0.5  # a label with a higher probability is predicted


class Sigmoid(Task):
    """The probability of each of the classes of `Labels` by itself, learned by binary crossentropy.

    Metrics: "f1", the mean over the classes of the F1 score at the threshold 0.5: a rare label counts as much as a
    frequent one, and predicting no label for all rows scores 0; "auc", the mean over the classes of the area under the
    ROC curve, which needs no threshold. A class that no row has counts as 0 in both.

    Decoded output: `label` `(rows, classes)` bool, the labels above 0.5 (joined by the target's separator where it is
    one string, the separator alone for none), `probabilities` `(rows, classes)`, and the most probable five (or all, if
    fewer): `top_labels`, `top_scores` `(rows, k)`.
    """

    serves = (Labels,)

    def output(self, fused: Fused, target: Labels, *, name: str, dropout: float = 0.0) -> Any:
        """Probabilities `(batch, classes)`, float32, which do not add up to 1.

        Args:
            fused: its `vector` `(batch, width)` is read.
            target: fitted.
            name: of the target.
            dropout: share of the values dropped in training before the last layer.
        """
        x = dropped(fused.vector, dropout, name)
        return keras.layers.Dense(len(target.classes), activation="sigmoid", dtype="float32", name=name)(x)

    def loss(self, target: Labels, *, label_smoothing: float = 0.0, focal: float = 0.0) -> keras.losses.Loss:
        """Binary crossentropy, the mean over the classes.

        `-mean_c (1 - r_c)^focal (q_c log p_c + (1 - q_c) log(1 - p_c))` with `q = (1 - label_smoothing) truth +
        label_smoothing / 2` and `r = q p + (1 - q) (1 - p)`; without the focal loss's alpha, so that focal=0 is plain.

        Args:
            target: fitted.
            label_smoothing: 0 to below 1: truths become half of it, and 1 minus half of it.
            focal: exponent of the focal loss, 0 (none) or more (Lin et al., 2017): classes predicted well count less.
        """
        if not focal:
            return keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
        return keras.losses.BinaryFocalCrossentropy(gamma=focal, label_smoothing=label_smoothing)

    def metrics(self, target: Labels) -> list[keras.metrics.Metric]:
        """F1 and area under the ROC curve, see the class."""
        return [
            keras.metrics.F1Score(average="macro", threshold=THRESHOLD, name="f1"),
            keras.metrics.AUC(multi_label=True, num_labels=len(target.classes), name="auc"),
        ]

    def answer(self, outputs: Any, target: Labels) -> dict[str, Any]:
        """The predicted labels (bool), numbers of classes (int32) and probabilities, see the class."""
        scores, best = ops.top_k(outputs, min(TOP, len(target.classes)))
        return {"label": outputs > THRESHOLD, "probabilities": outputs, "top_labels": best, "top_scores": scores}

    def words(self, target: Labels) -> dict[str, Words]:
        """The classes."""
        return dict.fromkeys(("label", "top_labels"), Words(target.classes, target.separator))

    def columns(self, answers: Mapping[str, np.ndarray], target: Labels) -> dict[str, np.ndarray]:
        """The tuple of labels, and "probability_<class>" of every class."""
        return {"": answers["label"], **of_each_class(answers["probabilities"], target.classes)}

    def distance(self, target: Labels, teacher: Any, student: Any, temperature: float) -> Any:
        """`T^2 KL(teacher || student)` of each class by itself at temperature T, the mean over rows and classes."""
        teacher, student = (ops.stack([part, 1 - part], axis=-1) for part in (teacher, student))
        return divergence(teacher, student, temperature)

    def served(self, target: Labels) -> Served:
        """By the Classify API."""
        return Served("classify", {"classes": "top_labels", "scores": "top_scores"})

    def card(self, target: Labels) -> dict[str, str]:
        """The classes."""
        return {"label": f"any of {listed(target.classes)}", "probabilities": ""}

    def limits(self, target: Labels) -> list[str]:
        """Only these labels."""
        return ["the model knows no label but those listed."]
