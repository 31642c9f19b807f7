"""Helpers of the panels of a description's figure."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras.plotting import GREY, PALE

SHOWN = 12  # classes and columns in the text and in the figure
NAME = 24  # characters of their names
BLUE, ORANGE = "#3b6fa0", "#c96f12"


def histogram(
    axes: Any,
    values: pd.Series,
    unit: str,
    counted: str,
    *,
    whole: bool = False,
    limit: tuple[float, str] | None = None,
) -> None:
    """A histogram of numbers.

    Args:
        axes: matplotlib axes.
        values: the numbers, none of them NaN; perhaps there are none.
        unit: label of the axis of values.
        counted: label of the axis of counts.
        whole: whether they are whole numbers: each bar then covers equally many of them.
        limit: the most that the model receives, and its name: a dashed line.
    """
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    if whole:
        bins = _whole_bins(low, high, max(high, limit[0] if limit else 0))
    else:  # a narrow one around values that are all the same
        bins = 30 if high - low > 1e-9 * abs(high) else low + np.array([-0.02, 0.02]) * (abs(low) or 1)
    _, edges, _ = axes.hist(values, bins=bins, color=BLUE, edgecolor="white", linewidth=0.8)
    axes.grid(axis="y", color=PALE)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.12)
    axes.set(xlabel=unit, ylabel=counted)
    if not len(values):
        axes.set(ylim=(0, 1), yticks=())
        axes.annotate("none", (0.5, 0.5), xycoords="axes fraction", color=GREY, ha="center", va="center")
    if limit is not None:
        most, label = limit
        _mark(axes, most + 0.5 * whole, label, edges[-1])


def _whole_bins(low, high, most):
    """Edges of bins of whole numbers from `low` to `high`, wide enough to be seen on an axis that reaches to `most`."""
    span = high - low + 1
    wide = max(1 if span <= 60 else -(-span // 30), round(0.01 * most))
    count = -(-span // wide)
    return low - 0.5 - (count * wide - span) // 2 + wide * np.arange(count + 1)


def _mark(axes, most, label, last):
    """A dashed line with its label, on axes that reach from 0 beyond it and the last bar."""
    axes.set_xlim(0, 1.06 * max(most, last))
    axes.axvline(most, color=ORANGE, linestyle="--", linewidth=1.5)
    side, shift = ("right", -5) if most > 0.35 * axes.get_xlim()[1] else ("left", 5)
    place = {"textcoords": "offset points", "ha": side, "va": "top"}
    box = {"fc": "white", "ec": "none", "pad": 1}
    axes.annotate(label, (most, 1), (shift, -3), ("data", "axes fraction"), color=ORANGE, bbox=box, **place)
