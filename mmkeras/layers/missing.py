"""The learned token in the place of a missing modality."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mmkeras.checks import check_share
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class MissingToken(keras.layers.Layer):
    """Puts a learned missing token in the place of a missing modality.

    Called as `layer(values, mask, present)`, by position: values `(batch, tokens, width)`, mask `(batch, tokens)` bool
    or None, present `(batch,)` bool; after them, where there are any, a list of grids `(batch, rows, columns,
    channels)`. Where present is False, the learned token `(width,)` is the row's first token, zeros come after it,
    the mask is True for the first token alone, and grids are zeros. The values of such a row, even NaN, change neither
    the outputs nor any gradient.

    Gives the same as a tower: values, or `[values, mask]`, or either with the grids after it in one list. Without a
    mask, one token stays without; several get one.

    In training a share of the rows is treated as missing although the modality is there (modality dropout, as ModDrop:
    Neverova et al., 2015): the model learns to do without it.

    Args:
        rate: share of the rows without the modality in training, 0 to below 1.
        seed: of the sampled rows, a whole number; None: another one in each process.

    Raises:
        InputError: a rate outside 0 to below 1.
    """

    def __init__(self, rate: float = 0.0, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate, self.seed = check_share(rate, "rate", "MissingToken: "), seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rate else None
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` returns none

    def build(
        self, values_shape: Any, there_shape: Any = None, present_shape: Any = None, grids_shape: Any = ()
    ) -> None:
        """Make the token: normally distributed with standard deviation 0.02."""
        self.token = self.add_weight(
            shape=(values_shape[-1],), initializer=keras.initializers.RandomNormal(stddev=0.02), name="token"
        )

    def call(
        self,
        values: Tensor,
        there: Tensor | None,
        present: Tensor,
        grids: Sequence[Tensor] = (),
        training: bool = False,
    ) -> Tensor | list[Tensor]:
        """The values, or `[values, mask, *grids]`, with the token where present is False; `there` is the mask."""
        if training and self.rate:
            luck = keras.random.uniform(ops.shape(present), dtype="float32", seed=self.seed_generator)
            present = ops.logical_and(present, luck >= self.rate)
        first = ops.equal(ops.arange(values.shape[1]), 0)
        token = ops.where(first[:, None], ops.cast(self.token, values.dtype), ops.zeros((), values.dtype))
        passed = [ops.where(present[:, None, None], values, token)]
        if there is not None or values.shape[1] > 1:
            there = ops.ones_like(values[..., 0], dtype="bool") if there is None else there
            passed.append(ops.where(present[:, None], there, first))
        passed += [ops.where(present[:, None, None, None], grid, ops.zeros_like(grid)) for grid in grids]
        return passed if len(passed) > 1 else passed[0]

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: masks are explicit."""

    def compute_output_shape(
        self, values_shape: Any, there_shape: Any = None, present_shape: Any = None, grids_shape: Any = ()
    ) -> Any:
        """The shape of the values, or a list of those of values, mask and grids."""
        masked = there_shape is not None or values_shape[1] > 1
        shapes = [tuple(values_shape), *([tuple(values_shape[:2])] if masked else []), *map(tuple, grids_shape or ())]
        return shapes if len(shapes) > 1 else shapes[0]

    def compute_output_spec(
        self,
        values: Tensor,
        there: Tensor | None,
        present: Tensor,
        grids: Sequence[Tensor] = (),
        training: bool = False,
    ) -> Any:
        """Values and grids in their own dtype; a mask is bool."""
        masked = there is not None or values.shape[1] > 1
        dtypes = [values.dtype, *(["bool"] if masked else []), *(grid.dtype for grid in grids)]
        shapes = self.compute_output_shape(
            values.shape, None if there is None else there.shape, present.shape, [grid.shape for grid in grids]
        )
        if len(dtypes) == 1:
            return keras.KerasTensor(shapes, dtype=values.dtype)
        return [keras.KerasTensor(shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
