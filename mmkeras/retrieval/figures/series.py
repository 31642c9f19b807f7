"""Traces of sensors on a contact sheet."""

from typing import Any

import numpy as np

from mmkeras.inputs import Series
from mmkeras.plotting import COLORS
from mmkeras.retrieval.figures.base import Drawer, register


@register(Series)
class SeriesDrawer(Drawer):
    """A line for each channel, as many as there are colours."""

    size = (1.5, 0.9)

    def draw(self, axes: Any, value: np.ndarray, feature: Series) -> None:
        """Draw `(steps, channels)`."""
        for channel, color in zip(value.T, COLORS, strict=False):
            axes.plot(channel, color=color, linewidth=1)
        axes.margins(x=0.02, y=0.12)
