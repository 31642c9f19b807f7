"""Losses of the vectors of one row: its own pair is brought together, or told apart from the others of the batch."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.checks import check_number
from mmkeras.layers.alignment.base import Alignment, mean_there, rows_there
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class Contrastive(Alignment):
    """A row's own pair against all pairs of the batch (InfoNCE: van den Oord et al., 2018; CLIP: Radford et al., 2021).

    `(CE(t A B') + CE(t B A')) / 2`, where row i's right class is i, with unit vectors A and B and a learned t. It grows
    with the size of the batch. Rows with the same value are each other's negatives: use batches of distinct values,
    without `group_by`.

    Args:
        temperature: 1 / t at first, from 0.01; t is limited to 100, as in the paper.
        weight: of the loss.
    """

    def __init__(self, *, temperature: float = 0.07, **kwargs: Any):
        super().__init__(**kwargs)
        self.temperature = check_number(temperature, "temperature", "Contrastive: ", least=0.01)

    def build(self, vectors_shape: Any, present_shape: Any) -> None:
        """Make the logarithm of t, a scalar."""
        first, most = keras.initializers.Constant(np.log(1 / self.temperature)), float(np.log(100.0))
        self.log_scale = self.add_weight(
            shape=(), initializer=first, constraint=lambda s: ops.minimum(s, most), dtype="float32", name="log_scale"
        )

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        logits = ops.exp(self.log_scale) * ops.matmul(a, ops.transpose(b))
        return (_own_column(logits, there) + _own_column(ops.transpose(logits), there)) / 2

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="mmkeras")
class SigLIP(Alignment):
    """Every pair of the batch by itself: does it belong together (Zhai et al., Sigmoid loss, 2023)?

    `-1 / rows sum_ij log sigmoid(z_ij (t a_i b_j' + c))`, z is 1 where i = j, else -1, with learned t = exp(s) and c.
    As for `Contrastive`, use batches of distinct values.

    Args:
        weight: of the loss.
    """

    def build(self, vectors_shape: Any, present_shape: Any) -> None:
        """Make s, log 10 at first, and c, -10 at first, as in the paper."""
        for name, first in (("log_scale", float(np.log(10.0))), ("bias", -10.0)):
            initializer = keras.initializers.Constant(first)
            setattr(self, name, self.add_weight(shape=(), initializer=initializer, dtype="float32", name=name))

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        logits = ops.exp(self.log_scale) * ops.matmul(a, ops.transpose(b)) + self.bias
        right = 2 * ops.eye(ops.shape(a)[0], dtype="float32") - 1
        losses = ops.softplus(-right * logits) * there[:, None] * there[None, :]
        return ops.sum(losses) / rows_there(there)


@keras.saving.register_keras_serializable(package="mmkeras")
class MeanSquared(Alignment):
    """The squared distance of a row's vectors, `|a - b|^2`.

    It is smallest if all rows have the same vector: use it with `"through": True` and a task, or freeze one tower and
    its projection.

    Args:
        weight: of the loss.
    """

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        return mean_there(ops.sum(ops.square(a - b), axis=-1), there)


@keras.saving.register_keras_serializable(package="mmkeras")
class Divergence(Alignment):
    """The divergence of a row's vectors as distributions, `(KL(p || q) + KL(q || p)) / 2`.

    `p = softmax(a / temperature)`, and q is the same of b (Kullback and Leibler, 1951, in the symmetrical form). As
    `MeanSquared`, it is smallest if all rows have the same vector.

    Args:
        temperature: above 0; small for unit vectors, otherwise p and q are nearly uniform.
        weight: of the loss.
    """

    def __init__(self, *, temperature: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.temperature = check_number(temperature, "temperature", "Divergence: ", least=0, above=True)

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        p, q = ops.log_softmax(a / self.temperature), ops.log_softmax(b / self.temperature)
        return mean_there(ops.sum((ops.exp(p) - ops.exp(q)) * (p - q), axis=-1) / 2, there)

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


def _own_column(logits: Tensor, there: Tensor) -> Tensor:
    """Crossentropy of each row, whose right class is the column of its own number, over the columns that are there."""
    logits = ops.where(there[None, :] > 0, logits, -1e9)
    return mean_there(ops.logsumexp(logits, axis=-1) - ops.diagonal(logits), there)
