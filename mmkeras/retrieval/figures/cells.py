"""Sentences and cells of tables on a contact sheet."""

import textwrap
from typing import Any

from mmkeras.inputs import Tabular, Text
from mmkeras.retrieval.figures.base import Drawer, register


@register(Text, Tabular)
class CellDrawer(Drawer):
    """The content of the table's cell."""

    cells = True

    def draw(self, axes: Any, value: str, feature: Any) -> None:
        """Write the cell, at most five lines of it."""
        lines = textwrap.wrap(value, 19)
        lines = [*lines[:4], "…"] if len(lines) > 5 else lines
        axes.set_facecolor("#f7f8f9")
        axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=9.5, transform=axes.transAxes)
