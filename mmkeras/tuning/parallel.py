"""Parallel coordinates: a line for each trial through its hyperparameters to its score."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras.plotting import GREY, INK, shortened_inside
from mmkeras.tuning.places import is_number, places, score_limits, written

AXES, NOT_USED = 16, -0.13  # most axes; the height of trials without the hyperparameter
BAD_TO_GOOD = ["#c6cfd9", "#8fb4d6", "#2f74b0", "#0b2f57"]


def draw_parallel(axes: Any, done: pd.DataFrame, names: list[str], objective: tuple[str, str], best_color: str) -> None:
    """Draw the completed trials.

    Args:
        axes: matplotlib Axes.
        done: DataFrame of the completed trials, the best first.
        names: columns of hyperparameters, at least one.
        objective: `(name, "max" or "min")`.
        best_color: of the best trial's line.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    varied = [name for name in names if done[name].nunique(dropna=False) > 1]
    shown = _most_telling(done, varied or names)
    low, high, log = score_limits(done["score"], objective[1])
    if low == high:
        low, high = low - 0.05 * (abs(low) or 1), high + 0.05 * (abs(high) or 1)
    norm = (LogNorm if log else Normalize)(low, high, clip=True)
    colors = LinearSegmentedColormap.from_list("score", BAD_TO_GOOD[:: 1 if objective[1] == "max" else -1])
    wide = 0.9 * 72 * axes.figure.get_size_inches()[0] / (len(shown) + 0.4)  # points from axis to axis
    drawn = [_draw_axis(axes, place, done[name], wide) for place, name in enumerate(shown)]
    score = np.asarray(norm(done["score"]), float)
    heights = np.stack([*drawn, 0.04 + 0.92 * score], axis=1)
    for row in range(len(done) - 1, -1, -1):  # the best last, on top
        look = {"color": colors(score[row]), "linewidth": 1.4, "alpha": 0.85, "zorder": 1.5}
        if row == 0:
            look = {"color": best_color, "linewidth": 3, "zorder": 3}
        axes.plot(*_smooth(heights[row]), **look, label=done["trial"].iloc[row])
    box = axes.inset_axes((len(shown), 0.04, 10 / wide, 0.92), transform=axes.transData)
    bar = axes.figure.colorbar(ScalarMappable(norm, colors), cax=box)
    bar.outline.set_visible(False)
    bar.set_label(shortened_inside(objective[0], 34))
    axes.set(xlim=(-0.1, len(shown) + 0.1), ylim=((NOT_USED if heights.min() < 0 else 0) - 0.06, 1), yticks=())
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK, pad=1)
    axes.set_xticks(range(len(shown)), [_broken(name, max(8, int(wide / 5.7))) for name in shown])
    left_out = len(varied) - len(shown)
    title = "Hyperparameters of the completed trials" + (
        f" ({left_out} that say less left out)" if left_out > 0 else ""
    )
    axes.set_title(title, loc="left", fontsize=11, weight="bold", pad=12)
    same = [f"{name} {written(done[name].iloc[0])}" for name in names if name not in varied and name not in shown]
    if same:
        text = "the same in all trials: " + ", ".join(same)
        axes.set_xlabel(text if len(text) <= 190 else text[:189] + "…", loc="left", fontsize=9)
        axes.xaxis.set_label_position("bottom")


def _draw_axis(axes, x, values, wide):
    """One axis with its labels; the heights of the trials on it."""
    heights, ticks, even = places(values)
    better = (
        np.linspace(0.5, -0.5, len(values)) if len(values) > 1 else np.zeros(1)
    )  # lines at a value are side by side
    missing = np.isnan(heights)
    heights = np.where(missing, NOT_USED, heights) + better * np.where(
        missing, 0.05, min(0.5 / len(ticks), 0.16, 0.008 * len(values)) * even
    )
    if missing.any():
        ticks = ticks | {NOT_USED: "not used"}
    axes.plot([x, x], [0, 1], color=GREY, linewidth=1, zorder=2)
    step = -(-len(ticks) // 14)
    box = {"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.82}
    for at, label in list(ticks.items())[::step]:
        color = GREY if label == "not used" else INK
        text = shortened_inside(label, max(6, int((wide - 10) / 5)))
        where = {
            "textcoords": "offset points",
            "va": "center",
            "fontsize": 8.5,
            "color": color,
            "bbox": box,
            "zorder": 4,
        }
        axes.annotate(text, (x, at), (4, 0), **where)
    return heights


def _smooth(heights):
    """A line through the heights at 0, 1, 2, ... that is level at each."""
    part = np.linspace(0, 1, 25)[:-1]
    bend = part * part * (3 - 2 * part)
    y = heights[:-1, None] + np.diff(heights)[:, None] * bend
    x = np.arange(len(heights) - 1)[:, None] + part
    return np.append(x, len(heights) - 1), np.append(y, heights[-1])


def _most_telling(done, names):
    """The names, or those that separate the scores' ranks most, in their order."""
    if len(names) <= AXES:
        return names
    ranks = done["score"].rank()

    def share(name):
        values = done[name]
        told = ranks.groupby(values.astype(str)).transform("mean")
        if is_number(values) and values.notna().all():
            told = values.rank()
        return abs(np.nan_to_num(np.corrcoef(told, ranks)[0, 1])) if told.nunique() > 1 else 0

    kept = sorted(names, key=share, reverse=True)[:AXES]
    return [name for name in names if name in kept]


def _broken(name, most):
    """A name on lines of about `most` characters, broken after underscores."""
    lines = [""]
    for word in name.replace("_", "_\n").split("\n"):
        if lines[-1] and len(lines[-1] + word) > most:
            lines.append("")
        lines[-1] += shortened_inside(word, most)
    return "\n".join(lines[:3] if len(lines) < 4 else [*lines[:2], "…" + lines[-1]])
