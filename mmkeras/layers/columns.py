"""A token for each number of a table."""

from typing import Any

import keras
from keras import ops

from mmkeras.checks import check_whole
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class NumberTokens(keras.layers.Layer):
    """Numbers as tokens, each `x * w + b` with weights of its own (Gorishniy et al., 2021); a hole has a vector too.

    Called as `layer(x, flags)`: x `(batch, columns)` float, flags the same shape, above 0 where there is a number. The
    value of x at a hole, even NaN, changes neither the tokens nor any gradient. Gives `(batch, columns, width)`.

    Args:
        width: width of the tokens.

    Raises:
        InputError: a width that is no whole number above 0.
    """

    def __init__(self, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = check_whole(width, "width", "NumberTokens: ")

    def build(self, x_shape: Any, flags_shape: Any = None) -> None:
        """Make slopes, offsets and holes, each `(columns, width)`, uniform within 1 / sqrt(width) as in the paper."""
        columns, limit = x_shape[-1], self.width**-0.5
        self.slope, self.offset, self.hole = (
            self.add_weight(
                shape=(columns, self.width), initializer=keras.initializers.RandomUniform(-limit, limit), name=name
            )
            for name in ("slope", "offset", "hole")
        )

    def call(self, x: Tensor, flags: Tensor) -> Tensor:
        """`(batch, columns)` twice -> `(batch, columns, width)`."""
        there = ops.greater(flags, 0)
        x = ops.cast(ops.where(there, x, ops.zeros_like(x)), self.compute_dtype)[..., None]
        slope, offset, hole = (ops.cast(weight, x.dtype) for weight in (self.slope, self.offset, self.hole))
        return ops.where(there[..., None], x * slope + offset, hole)

    def compute_output_shape(self, x_shape: Any, flags_shape: Any = None) -> Any:
        """`(batch, columns, width)`."""
        return (*x_shape, self.width)

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "width": self.width}
