"""Positions of tokens, added to their values."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class SinePositions(keras.layers.Layer):
    """Adds the position of each token, as sines and cosines (Vaswani et al., 2017), to tokens `(batch, tokens, width)`.

    With a grid, half of the width encodes the row and half the column (as Beyer et al., Better plain ViT baselines,
    2022). It has no weights, so a longer input needs none.

    Args:
        grid: `(rows, columns)` if the tokens are the places of a grid, row by row; None: a sequence.
    """

    def __init__(self, grid: Sequence[int] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.grid = None if grid is None else tuple(grid)
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` returns none

    def call(self, x: Tensor) -> Tensor:
        """`(batch, tokens, width)` -> the same."""
        tokens, width = x.shape[1:]
        if self.grid is None:
            table = _sines(np.arange(tokens), width)
        else:
            rows, columns = np.divmod(np.arange(tokens), self.grid[1])
            table = np.concatenate([_sines(rows, width - width // 2), _sines(columns, width // 2)], axis=1)
        return x + ops.cast(table, x.dtype)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: masks are explicit."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the tokens."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "grid": self.grid}


def _sines(places: np.ndarray, width: int) -> np.ndarray:
    """`(len(places), width)` float32: sines, then cosines, of wavelengths from 2 pi to 20,000 pi places."""
    half = width - width // 2
    angles = places[:, None] * 10_000.0 ** (-np.arange(half) / max(half, 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width].astype("float32")
