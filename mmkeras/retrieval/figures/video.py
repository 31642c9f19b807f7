"""Videos on a contact sheet."""

from typing import Any

import numpy as np

from mmkeras.inputs import Video
from mmkeras.retrieval.figures.base import register
from mmkeras.retrieval.figures.image import ImageDrawer


@register(Video)
class VideoDrawer(ImageDrawer):
    """First, middle and last frame, side by side."""

    size = (2.4, 0.9)

    def draw(self, axes: Any, value: np.ndarray, feature: Video) -> None:
        """Draw `(frames, height, width, channels)` uint8."""
        last = len(value) - 1
        frames = np.concatenate([value[place] for place in sorted({0, last // 2, last})], axis=1)
        super().draw(axes, frames, feature)
