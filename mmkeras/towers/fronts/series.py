"""Traces of sensors: standardised steps."""

import keras
import numpy as np
from keras import KerasTensor

from mmkeras.inputs import Series
from mmkeras.layers import Tokens, hide_padding
from mmkeras.towers.fronts.base import Front


class SeriesFront(Front):
    """A trace in standard deviations of its channels, float32."""

    def steps(self, x: KerasTensor, mask: KerasTensor | None, feature: Series, name: str) -> KerasTensor:
        """`(batch, length, channels)`; zeros, which are the means, where the mask is False."""
        means, variances = list(feature.means), np.square(feature.std).tolist()
        label = f"{name}_standardised"
        normalise = keras.layers.Normalization(mean=means, variance=variances, dtype="float32", name=label)
        return hide_padding(Tokens(normalise(x), mask)).values
