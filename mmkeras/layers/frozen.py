"""A model that is used as it is."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="mmkeras")
class Frozen(keras.layers.Wrapper):
    """A model, or layer, that always behaves as at inference, and whose weights are not trained.

    In a functional model that is called with training=True, Keras ignores `model(x, training=False)`: dropout would be
    active in `fit`.

    Args:
        layer: the model.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        super().__init__(layer, **kwargs)
        self.trainable = False

    def call(self, inputs: Any) -> Any:
        """The model's outputs at inference."""
        return self.layer(inputs, training=False)
