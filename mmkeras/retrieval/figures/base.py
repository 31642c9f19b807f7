"""What a drawer is: the one object for each kind of input that draws one of its values on a contact sheet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmkeras.registry import Kinds


class Drawer:
    """Base of all drawers.

    A new kind derives from it and registers an object: `@mmkeras.retrieval.figures.register(PointCloud)`. Where the
    table's cell says enough, `register(PointCloud)(CellDrawer())` does.

    `feature` is in all methods the input of the schema.

    Attributes:
        size: width and height of one value on the sheet, inches.
        cells: whether the table's cell is drawn, and not the decoded value.
    """

    size: tuple[float, float] = (1.6, 0.95)
    cells = False

    def prepare(self, values: np.ndarray, lengths: np.ndarray | None, feature: Any) -> Sequence[Any]:
        """What is drawn of each value: as it is, without its padding.

        Args:
            values: `(n, ...)`, as the model receives them.
            lengths: `(n,)` int, how much of each is its own along the first axis; None: all.
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
