"""Spectrograms with bands hidden in training."""

from numbers import Real

import keras
from keras import ops

from mmkeras.errors import InputError


@keras.saving.register_keras_serializable(package="mmkeras")
class SpecAugment(keras.layers.Layer):
    """Hides random bands of a spectrogram in training: Park et al., SpecAugment, 2019, without the time warping.

    `(batch, mels, frames)` float -> the same shape and dtype. In each spectrogram every band has a width from 0 to the
    given share of its axis, then a place, both uniform; it is filled with the mean of that spectrogram, which is the
    paper's zero of normalised spectrograms. At inference the layer does nothing.

    Args:
        frequency: greatest width of a band of mels, 0 to 1 of their number, rounded down.
        time: greatest width of a band of frames, 0 to 1 of their number, rounded down.
        masks: number of bands along frequency and along time; they may overlap.
        seed: whole number; None: another one in each process.

    Raises:
        InputError: a share outside 0 to 1, numbers of bands that are not two whole numbers from 0.
    """

    def __init__(self, frequency=0.2, time=0.2, masks=(1, 1), seed=None, **kwargs):
        super().__init__(**kwargs)
        for option, share in (("frequency", frequency), ("time", time)):
            if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
                raise InputError(f"SpecAugment: expected {option} to be from 0 to 1, received {share!r}")
        counts = tuple(masks) if isinstance(masks, (list, tuple)) else ()
        if len(counts) != 2 or not all(type(count) is int and count >= 0 for count in counts):
            raise InputError(f"SpecAugment: expected masks to be two whole numbers from 0, received {masks!r}")
        self.frequency, self.time, self.masks, self.seed = frequency, time, counts, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        """`(batch, mels, frames)` -> the same, with bands hidden in training."""
        if not training:
            return x
        mels = self._bands(x, 1, self.frequency, self.masks[0])
        frames = self._bands(x, 2, self.time, self.masks[1])
        return ops.where(mels[:, :, None] | frames[:, None, :], ops.mean(x, axis=(1, 2), keepdims=True), x)

    def _bands(self, x, axis, share, count):
        """Where along the axis a band lies: `(batch, places)` bool."""
        batch, places = ops.shape(x)[0], x.shape[axis]
        luck = keras.random.uniform((2, batch, count, 1), dtype="float32", seed=self.seed_generator)
        width = ops.floor(luck[0] * (int(share * places) + 1))
        start = ops.floor(luck[1] * (places - width + 1))
        place = ops.arange(places, dtype="float32")
        return ops.any((place >= start) & (place < start + width), axis=1)

    def get_config(self):
        """The layer's arguments."""
        own = {"frequency": self.frequency, "time": self.time, "masks": self.masks, "seed": self.seed}
        return {**super().get_config(), **own}
