"""The metrics of tasks that Keras does not have in this form, and the better direction of a metric."""

from typing import Any

import keras
from keras import ops

from mmkeras.errors import InputError, shown
from mmkeras.tasks.losses import pair, saved

KERAS = {"up": "max", "down": "min"}  # the directions of Keras' own metrics


def direction(metric: keras.metrics.Metric) -> str:
    """The better direction of a metric, "max" or "min": its attribute `direction`, or that of a Keras metric.

    Raises:
        InputError: a metric that does not say so; set `metric.direction`.

    >>> direction(keras.metrics.MeanAbsoluteError()), direction(keras.metrics.AUC())
    ('min', 'max')
    """
    found = getattr(metric, "direction", None) or KERAS.get(getattr(metric, "_direction", None))
    if found not in ("max", "min"):
        raise InputError(
            f"metric {metric.name!r}: expected its attribute direction to be 'max' or 'min', received {shown(found)}"
        )
    return found


@saved
class AbsoluteError(keras.metrics.Mean):
    """Weighted mean of `|truth - output|`, of `(batch,)` each, in the unit.

    Keras' own `MeanAbsoluteError` averages over the last axis first, which here is the rows: it would ignore weights.
    """

    direction = "min"

    def __init__(self, name: str = "mae", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "down"  # for KerasTuner

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """`(batch,)` and `(batch,)`, in the unit; weights `(batch,)`."""
        truth, output = pair(y_true, y_pred, self.dtype)
        super().update_state(ops.abs(truth - output), sample_weight=sample_weight)


@saved
class R2(keras.metrics.R2Score):
    """Coefficient of determination of `(batch,)` each: 1 is perfect, 0 no better than the mean of these rows.

    It is computed in standard deviations from the mean, so that float32 stays exact for large numbers (years, prices).
    It is 0 if there is no variance: no row, or equal ones.

    Args:
        mean, std: of the training rows, in the unit.
        name, dtype: as in `keras.metrics.Metric`.
    """

    direction = "max"

    def __init__(self, mean: float = 0.0, std: float = 1.0, name: str = "r2", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.mean, self.std = mean, std

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """`(batch,)` and `(batch,)`, in the unit; weights `(batch,)`."""
        columns = [(y[:, None] - self.mean) / self.std for y in pair(y_true, y_pred, self.dtype)]
        super().update_state(*columns, sample_weight=sample_weight)

    def result(self) -> Any:
        """The score, a scalar."""
        score = super().result()
        return ops.where(ops.isnan(score), ops.zeros_like(score), score)

    def get_config(self) -> dict[str, Any]:
        """The metric's arguments."""
        return {"name": self.name, "dtype": self.dtype, "mean": self.mean, "std": self.std}
