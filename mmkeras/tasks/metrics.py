"""The metrics of heads that Keras does not have in this form."""

import keras
from keras import ops

from mmkeras.tasks.losses import pair, saved


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
        truth, answer = pair(y_true, y_pred, self.dtype)
        return super().update_state(ops.abs(truth - answer), sample_weight=sample_weight)


@saved
class R2(keras.metrics.R2Score):
    """Coefficient of determination of `(batch,)` each: 1 all is explained, 0 no better than the mean of these rows.

    Reckoned in standard deviations from the mean, where float32 loses nothing to large numbers (years, prices), and 0
    where
    there is nothing to explain: no row, or equal ones.

    Args:
        mean, std: of the training rows, in the unit.
        name, dtype: as in `keras.metrics.Metric`.
    """

    def __init__(self, mean=0.0, std=1.0, name="r2", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.mean, self.std = mean, std

    def update_state(self, y_true, y_pred, sample_weight=None):
        """`(batch,)` and `(batch,)`, in the unit; weights `(batch,)`."""
        columns = [(y[:, None] - self.mean) / self.std for y in pair(y_true, y_pred, self.dtype)]
        return super().update_state(*columns, sample_weight=sample_weight)

    def result(self):
        """The score, a scalar."""
        score = super().result()
        return ops.where(ops.isnan(score), ops.zeros_like(score), score)

    def get_config(self):
        """The metric's arguments."""
        return {"name": self.name, "dtype": self.dtype, "mean": self.mean, "std": self.std}
