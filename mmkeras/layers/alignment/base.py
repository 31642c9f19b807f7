"""The base class of alignments, and its helpers."""

from itertools import combinations
from typing import Any

import keras
from keras import ops

from mmkeras.checks import check_number
from mmkeras.layers.tokens import Tensor


class Alignment(keras.layers.Layer):
    """Base of all alignments, a float32 layer with a loss.

    Your own alignment defines `pair`, or `loss` of all modalities at once, and is registered by its name:
    `@mk.alignment.register("mine")`.

    Args:
        weight: of the loss, a number above 0.
    """

    private = False  # whether it needs a private vector of each modality next to the shared one

    def __init__(self, *, weight: float = 1.0, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weight = check_number(weight, "weight", f"{type(self).__name__}: ", least=0, above=True)

    def call(self, vectors: list[Tensor], present: list[Tensor]) -> list[Tensor]:
        """Lists of `(batch, dim)` and `(batch,)` bool -> the vectors as they are."""
        self.add_loss(self.weight * self.loss(vectors, [ops.cast(there, "float32") for there in present]))
        return vectors

    def loss(self, vectors: list[Tensor], there: list[Tensor]) -> Tensor:
        """The mean over all pairs of modalities; `there` is `(batch,)` float32, 1 or 0."""
        pairs = list(combinations(range(len(vectors)), 2))
        return sum(self.pair(vectors[i], vectors[j], there[i] * there[j]) for i, j in pairs) / len(pairs)

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities: vectors `(batch, dim)` twice, and `(batch,)` float32, whether a row has both."""
        raise NotImplementedError(f"{type(self).__name__} has to give the loss of a pair")

    def compute_output_shape(self, vectors_shape: Any, present_shape: Any) -> Any:
        """The shapes of the vectors."""
        return vectors_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable(package="mmkeras")
class UnitLength(keras.layers.Layer):
    """Vectors `(batch, width)` at unit length, float32; zeros stay zeros.

    A tower gives zeros for a missing modality; there Keras' UnitNormalization has a NaN gradient on JAX.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, x: Tensor) -> Tensor:
        """`(batch, width)` -> the same."""
        return x / length_of(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the vectors."""
        return input_shape


def rows_there(there: Tensor) -> Tensor:
    """How many rows there are, at least 1."""
    return ops.maximum(ops.sum(there), 1.0)


def mean_there(values: Tensor, there: Tensor) -> Tensor:
    """The mean of `(batch,)` over the rows that are there; 0 where none is."""
    return ops.sum(values * there) / rows_there(there)


def length_of(x: Tensor) -> Tensor:
    """Length of vectors along the last axis; its gradient at zero is zero."""
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)
