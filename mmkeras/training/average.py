"""The moving average of the weights, in the place of the weights while they are validated and kept."""

from typing import Any

import keras
import numpy as np
from keras import ops


class Average(keras.callbacks.Callback):
    """Puts the optimizer's moving average into the model from each validation to the end of the epoch.

    Callbacks after this one see the averaged weights at the end of an epoch, as `keras.callbacks.SwapEMAWeights` does
    with `swap_on_epoch=True`; but the weights themselves come back bit by bit.

    Attributes:
        weights: the trained weights, while the averages stand in their place; None otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[np.ndarray] | None = None

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """The averages are put into the model."""
        if self.weights is None:
            variables = self.model.trainable_variables
            self.weights = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
            averages = self.model.optimizer._model_variables_moving_average  # as SwapEMAWeights reads them
            for variable, average in zip(variables, averages, strict=True):
                variable.assign(average)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """The averages are put into the model, where nothing was validated."""
        self.on_test_begin()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """The trained weights are put back."""
        if self.weights is not None:
            for variable, value in zip(self.model.trainable_variables, self.weights, strict=True):
                variable.assign(value)
            self.weights = None
