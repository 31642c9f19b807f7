"""Spectrograms with bands hidden in training."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mmkeras.checks import is_number, is_whole
from mmkeras.errors import InputError, shown
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class SpecAugment(keras.layers.Layer):
    """Hides random bands of a spectrogram in training: Park et al., SpecAugment, 2019, without the time warping.

    `(batch, mels, frames)` float -> the same shape and dtype. In each spectrogram every band has a width from 0 to the
    given share of its axis and a place, both uniform. It is filled with the mean of that spectrogram: the zero of the
    paper's normalised spectrograms. At inference the layer does nothing.

    Args:
        frequency: greatest width of a band of mels, 0 to 1 of their number, rounded down.
        time: greatest width of a band of frames, 0 to 1 of their number, rounded down.
        masks: number of bands along frequency and along time; they may overlap.
        seed: whole number; None: another one in each process.

    Raises:
        InputError: a share outside 0 to 1, numbers of bands that are not two whole numbers from 0.
    """

    def __init__(
        self,
        frequency: float = 0.2,
        time: float = 0.2,
        masks: Sequence[int] = (1, 1),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for option, share in (("frequency", frequency), ("time", time)):
            if not is_number(share, 0, most=1):
                raise InputError(f"SpecAugment: expected {option} to be from 0 to 1, received {shown(share)}")
        counts = tuple(masks) if isinstance(masks, (list, tuple)) else ()
        if len(counts) != 2 or not all(is_whole(count, 0) for count in counts):
            raise InputError(f"SpecAugment: expected masks to be two whole numbers from 0, received {shown(masks)}")
        self.frequency, self.time, self.masks, self.seed = frequency, time, tuple(map(int, counts)), seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """`(batch, mels, frames)` -> the same, with bands hidden in training."""
        if not training:
            return x
        mels = self._bands(x, 1, self.frequency, self.masks[0])
        frames = self._bands(x, 2, self.time, self.masks[1])
        return ops.where(mels[:, :, None] | frames[:, None, :], ops.mean(x, axis=(1, 2), keepdims=True), x)

    def _bands(self, x: Tensor, axis: int, share: float, count: int) -> Tensor:
        """The places of a band along the axis: `(batch, places)` bool."""
        batch, places = ops.shape(x)[0], x.shape[axis]
        luck = keras.random.uniform((2, batch, count, 1), dtype="float32", seed=self.seed_generator)
        width = ops.floor(luck[0] * (int(share * places) + 1))
        start = ops.floor(luck[1] * (places - width + 1))
        place = ops.arange(places, dtype="float32")
        return ops.any((place >= start) & (place < start + width), axis=1)

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        own = {"frequency": self.frequency, "time": self.time, "masks": self.masks, "seed": self.seed}
        return {**super().get_config(), **own}
