"""Layers that mix modalities with learned weights."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mmkeras.checks import check_whole
from mmkeras.errors import InputError, shown
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class WeightedMean(keras.layers.Layer):
    """The mean of several tensors of one shape, weighted by learned shares: `sum_i a_i x_i`, with `a = softmax(s)`.

    Called on a list of tensors, one for each name. The shares begin equal, are between 0 and 1 and add up to 1; so the
    mean of probabilities is a probability. They are the same for every row. A single tensor has the share 1, without a
    weight. The layer may be called again on tensors of another shape and uses the same shares.

    Args:
        names: of the tensors, in their order, e.g. the modalities.

    Raises:
        InputError: no names, or names that are not distinct strings; another number of tensors than names.
    """

    def __init__(self, names: Sequence[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.names = list(names) if isinstance(names, (list, tuple)) else []
        distinct = len(set(map(str, self.names))) == len(self.names)
        if not self.names or not distinct or not all(isinstance(name, str) for name in self.names):
            raise InputError(f"WeightedMean: expected names to be a list of distinct strings, received {shown(names)}")
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` returns none

    def build(self, shapes: Any) -> None:
        """Make the scores s, zeros: equal shares."""
        if len(shapes) != len(self.names):
            raise InputError(f"WeightedMean: expected {len(self.names)} tensors ({self.names}), received {len(shapes)}")
        self.scores = None
        if len(self.names) > 1:
            self.scores = self.add_weight(shape=(len(self.names),), initializer="zeros", name="scores", autocast=False)

    def call(self, values: list[Tensor]) -> Tensor:
        """List of tensors `(batch, ...)` of one shape -> the same shape. Summed in float32."""
        if self.scores is None:
            return values[0]
        shares = ops.unstack(ops.softmax(ops.cast(self.scores, "float32")), num=len(self.names))
        total = sum(share * ops.cast(x, "float32") for share, x in zip(shares, values, strict=True))
        return ops.cast(total, values[0].dtype)

    def shares(self) -> dict[str, float]:
        """The share of each name, dict of name -> float."""
        if self.scores is None:
            return {self.names[0]: 1.0}
        return dict(zip(self.names, ops.convert_to_numpy(ops.softmax(self.scores)).tolist(), strict=True))

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: masks are explicit."""

    def compute_output_shape(self, shapes: Any) -> Any:
        """The shape of one of the tensors."""
        return tuple(shapes[0])

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "names": self.names}


@keras.saving.register_keras_serializable(package="mmkeras")
class LearnedTokens(keras.layers.Layer):
    """Learned tokens, the same for every row: `(batch, tokens, width)` -> `(batch, count, width)`.

    It uses only the batch size and the width of its input. The tokens begin normally distributed with
    standard deviation 0.02.

    Args:
        count: number of tokens, from 1.

    Raises:
        InputError: a count that is not a whole number above 0.
    """

    def __init__(self, count: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.count = check_whole(count, "count", "LearnedTokens: ")
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` returns none

    def build(self, shape: Any) -> None:
        """Make the tokens."""
        initial = keras.initializers.RandomNormal(stddev=0.02)
        self.tokens = self.add_weight(shape=(self.count, shape[-1]), initializer=initial, name="tokens")

    def call(self, values: Tensor) -> Tensor:
        """`(batch, tokens, width)` -> `(batch, count, width)`, in the values' dtype."""
        tokens = ops.cast(self.tokens, values.dtype)[None]
        return ops.broadcast_to(tokens, (ops.shape(values)[0], *tokens.shape[1:]))

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: masks are explicit."""

    def compute_output_shape(self, shape: Any) -> Any:
        """`(batch, count, width)`."""
        return (shape[0], self.count, shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "count": self.count}
