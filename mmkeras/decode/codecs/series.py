"""The codec of traces."""

import numpy as np

from mmkeras.decode.numbers import NumbersCodec
from mmkeras.decode.series import read_series
from mmkeras.decode.table import register
from mmkeras.files import npy_bytes
from mmkeras.inputs import Series


@register(Series)
class SeriesCodec(NumbersCodec):
    """.npy files, and text with one row of numbers a step."""

    format = "a series"

    def read(self, feature: Series, path: str) -> np.ndarray:
        """The steps kept of a .npy or text file."""
        return read_series(path, feature)

    def sample(self, feature: Series, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Steps in the sensors' units."""
        found = super().sample(feature, rows, random)
        there = np.arange(feature.length) < found["_length"][:, None]
        values = there[..., None] * (found[""] * feature.std + feature.means)
        return {**found, "": values.astype("float32")}

    def made_up(self, feature: Series) -> bytes:
        """The mean at every step."""
        return npy_bytes(np.tile(np.asarray(feature.means, np.float32), (feature.length, 1)))
