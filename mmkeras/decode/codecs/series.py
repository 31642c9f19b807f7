"""The codec of traces."""

import numpy as np

from mmkeras.decode.base import register
from mmkeras.decode.numbers import NumbersCodec
from mmkeras.decode.series import read_series
from mmkeras.inputs import Series


@register(Series)
class SeriesCodec(NumbersCodec):
    """.npy files, and text with one row of numbers a step."""

    format = "a series"

    def read(self, feature: Series, path: str) -> np.ndarray:
        """The steps kept of a .npy or text file."""
        return read_series(path, feature)

    def sample(self, feature: Series, rows: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps in the sensors' units."""
        values, lengths = super().sample(feature, rows, random)
        there = np.arange(feature.length) < lengths[:, None]
        values = there[..., None] * (values * feature.std + feature.means)
        return values.astype("float32"), lengths

    def made_up(self, feature: Series) -> np.ndarray:
        """The mean at every step."""
        return np.tile(np.float32(feature.means), (feature.length, 1))
