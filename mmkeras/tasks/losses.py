"""The losses of tasks that Keras does not have in this form.

A saved model that was compiled with one is loaded after `import mmkeras`; without mmkeras with `compile=False`.
"""

from typing import Any

import keras
from keras import ops

from mmkeras.errors import InputError

saved = keras.saving.register_keras_serializable(package="mmkeras")


def pair(y_true: Any, y_pred: Any, dtype: str) -> list[Any]:
    """Truth and output as `(batch,)` each: (batch, 1) minus (batch,) would be every truth minus every output."""
    return [ops.reshape(ops.convert_to_tensor(y, dtype=dtype), (-1,)) for y in (y_true, y_pred)]


@saved
class StandardizedSquaredError(keras.losses.Loss):
    """Squared error of a number in standard deviations: `((truth - output) / std)^2`, of `(batch,)` each.

    It is about 1 for a model that predicts the mean of all rows, in any unit, so that tasks have similar weights.

    Args:
        std: of the training rows, in the unit.
        reduction, name, dtype: as in `keras.losses.Loss`.
    """

    def __init__(
        self,
        std: float,
        reduction: str | None = "sum_over_batch_size",
        name: str = "standardized_squared_error",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.std = std

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """`(batch,)` and `(batch,)`, in the unit -> `(batch,)`."""
        truth, output = pair(y_true, y_pred, self.dtype)
        return ops.square((truth - output) / self.std)

    def get_config(self) -> dict[str, Any]:
        """The loss's arguments."""
        return {**super().get_config(), "std": self.std}


@saved
class Crossentropy(keras.losses.Loss):
    """Crossentropy of class numbers `(batch,)` and probabilities `(batch, classes)`, smoothed or focal.

    `-sum_c q_c (1 - p_c)^focal log p_c` with `q = (1 - label_smoothing) one_hot + label_smoothing / classes`
    (label smoothing: Szegedy et al., Rethinking the Inception architecture, 2016; focal loss: Lin et al., 2017).

    Args:
        label_smoothing: 0 to below 1.
        focal: exponent, 0 or more: the higher, the less a row counts that is already predicted well.
        reduction, name, dtype: as in `keras.losses.Loss`.
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "crossentropy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing, self.focal = label_smoothing, focal

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """`(batch,)` and `(batch, classes)` -> `(batch,)`; NaN where the truth is not the number of a class."""
        classes = y_pred.shape[-1]
        if len(y_true.shape) > 1 and y_true.shape[-1] != 1:
            raise InputError(f"Crossentropy: expected class numbers (batch,), received {tuple(y_true.shape)}")
        truth = ops.reshape(y_true, (-1,))
        known = ops.cast(ops.logical_and(truth >= 0, truth < classes), y_pred.dtype)
        one_hot = ops.one_hot(ops.cast(truth, "int32"), classes, dtype=y_pred.dtype)
        one_hot = one_hot / known[:, None]  # 0 / 0: a row of an unknown class must give NaN, not 0
        options = {"alpha": 1.0, "gamma": self.focal, "label_smoothing": self.label_smoothing}
        return keras.losses.categorical_focal_crossentropy(one_hot, y_pred, **options)

    def get_config(self) -> dict[str, Any]:
        """The loss's arguments."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "focal": self.focal}


@saved
class WeightedLoss(keras.losses.Loss):
    """A loss with the weight that a `mmkeras.layers.LossWeight` learns: `exp(-s) L + s / 2`.

    Args:
        loss: `keras.losses.Loss`.
        log_variance: the layer's weight s, or a number.
        half: whether to halve the loss: for squared errors, as the paper does.
        reduction, name, dtype: as in `keras.losses.Loss`.
    """

    def __init__(
        self, loss, log_variance, half=False, reduction="sum_over_batch_size", name="weighted_loss", dtype=None
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.loss, self.log_variance, self.half = loss, log_variance, half

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As the loss's own `call`, times `exp(-s)`, plus `s / 2`."""
        s = ops.convert_to_tensor(self.log_variance, "float32")
        weight = ops.exp(-s)
        return self.loss.call(y_true, y_pred) * (weight / 2 if self.half else weight) + s / 2

    def get_config(self) -> dict[str, Any]:
        """The loss's arguments, s as a number."""
        own = {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "log_variance": float(self.log_variance),
            "half": self.half,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WeightedLoss":
        """The loss of `get_config`."""
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
