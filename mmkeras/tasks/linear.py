"""A number in the user's own unit."""

from typing import Any

import keras

from mmkeras.layers import Fused, Tokens
from mmkeras.targets import Number
from mmkeras.tasks.base import Served, Task, dropped
from mmkeras.tasks.losses import StandardizedSquaredError
from mmkeras.tasks.metrics import R2, AbsoluteError


class Linear(Task):
    """A number in the target's unit, learned by the squared error in standard deviations.

    Metrics: "mae", the mean absolute error in the unit, and "r2", the explained share of the variance.
    Decoded output: `value` `(rows,)`, in the unit.
    """

    serves = (Number,)
    squared = True

    def output(self, fused: Fused, target: Number, *, name: str, dropout: float = 0.0) -> Any:
        """A number in the target's unit: `(batch,)`, float32.

        A dense layer gives standard deviations from the mean, and the last layer converts them to the unit; so an
        untrained model predicts about the mean in any unit.

        Args:
            fused: its `vector` `(batch, width)` is read.
            target: fitted.
            name: of the target.
            dropout: share of the values dropped in training before the dense layer.
        """
        x = dropped(fused.vector, dropout, name)
        x = keras.layers.Dense(1, dtype="float32", name=f"{name}_standardized")(x)
        x = keras.layers.Reshape((), dtype="float32", name=f"{name}_flat")(x)
        return keras.layers.Rescaling(target.std, target.mean, dtype="float32", name=name)(x)

    def loss(self, target: Number) -> keras.losses.Loss:
        """Squared error in standard deviations."""
        return StandardizedSquaredError(target.std)

    def metrics(self, target: Number) -> list[keras.metrics.Metric]:
        """Mean absolute error and explained share of the variance."""
        return [AbsoluteError(), R2(target.mean, target.std)]

    def unit(self, target: Number) -> str:
        """The target's unit."""
        return target.unit

    def token(self, outputs: Any, target: Number, width: int, *, name: str) -> Tokens:
        """Standard deviations from the mean, through a dense layer, as one token."""
        column = keras.layers.Reshape((1,), dtype="float32", name=f"{name}_column")(outputs)
        return super().token((column - target.mean) / target.std, target, width, name=name)

    def served(self, target: Number) -> Served:
        """By the Regress API."""
        return Served("regress", {"outputs": "value"})

    def card(self, target: Number) -> dict[str, str]:
        """The unit."""
        return {"value": "a number" + (f" in {target.unit}" if target.unit else "")}
