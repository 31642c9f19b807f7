"""The figures of a retrieval: the items found for each query.

Each kind of input has an object that draws one value, a `Drawer`, in a file of its own; your own kind joins by
`register`:

    @mmkeras.retrieval.figures.register(PointCloud)
    class PointCloudDrawer(Drawer):
        def draw(self, axes, value, feature):
            axes.scatter(value[:, 0], value[:, 1], 1)
"""

from mmkeras.retrieval.figures import audio, cells, image, series, video
from mmkeras.retrieval.figures.base import DRAWERS, Drawer, register
from mmkeras.retrieval.figures.cells import CellDrawer
from mmkeras.retrieval.figures.sheet import sheet, some_items

__all__ = [
    "DRAWERS",
    "CellDrawer",
    "Drawer",
    "audio",
    "cells",
    "image",
    "register",
    "series",
    "sheet",
    "some_items",
    "video",
]
