"""The base class of drawers, which draw one value of a kind of input on a contact sheet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkeras.registry import Kinds


class Drawer:
    """Base of all drawers.

    A new kind derives from it and registers an object: `@mmkeras.retrieval.figures.register(PointCloud)`. Where the
    table's cell says enough, use `register(PointCloud)(CellDrawer())`.

    In all methods, `feature` is the input of the schema.

    Attributes:
        size: width and height of one value on the sheet, inches.
        cells: whether the table's cell is drawn instead of the decoded value.
    """

    size: tuple[float, float] = (1.6, 0.95)
    cells = False

    def prepare(self, values: np.ndarray, lengths: np.ndarray | None, feature: Any) -> Sequence[Any]:
        """The part of each value to draw: by default all of it without padding.

        Args:
            values: `(n, ...)`, as the model receives them.
            lengths: `(n,)` int, the length of each without padding along the first axis; None: all.
            feature: the input.
        """
        if lengths is None:
            return list(values)
        return [value[: max(length, 1)] for value, length in zip(values, lengths, strict=True)]

    def draw(self, axes: Any, value: Any, feature: Any) -> None:
        """Draw one value, of those that `prepare` gave (or one cell), into matplotlib axes without ticks."""
        raise NotImplementedError(f"{type(self).__name__} has to draw a value")


DRAWERS = Kinds("drawer", Drawer, "mmkeras.retrieval.figures")

register = DRAWERS.register
