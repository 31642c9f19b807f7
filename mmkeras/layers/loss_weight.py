"""The learned weight of one target's loss."""

from typing import Any

import keras

from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class LossWeight(keras.layers.Layer):
    """Learns the weight of its target's loss, by the uncertainty of the task (Kendall, Gal and Cipolla, 2018).

    The outputs `(batch, ...)` pass as they are. The model's loss is the sum over such targets of `exp(-s) L + s / 2`,
    with a learned s, the logarithm of the task's variance, which is 0 at first; for squared errors half of L. The loss
    itself, `mmkeras.tasks.losses.WeightedLoss`, is made by `mk.compile_args`.

    A loaded compiled model uses the learned weights as constants; compile it again to go on learning them.
    """

    def build(self, input_shape: Any) -> None:
        """Make s, a scalar."""
        self.log_variance = self.add_weight(shape=(), initializer="zeros", dtype="float32", name="log_variance")

    def call(self, outputs: Tensor) -> Tensor:
        """The outputs."""
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the outputs."""
        return input_shape
