"""Pictures on a contact sheet."""

from typing import Any

import numpy as np

from mmkeras.inputs import Image
from mmkeras.retrieval.figures.base import Drawer, register


@register(Image)
class ImageDrawer(Drawer):
    """The picture as the model receives it."""

    size = (0.95, 0.95)

    def draw(self, axes: Any, value: np.ndarray, feature: Any) -> None:
        """Draw `(height, width, channels)` uint8, of one channel in grey."""
        axes.imshow(value if feature.channels == 3 else value[..., 0], cmap="gray", vmin=0, vmax=255)
