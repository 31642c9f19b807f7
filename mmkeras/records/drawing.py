"""The panels of a description's figure."""

import numpy as np

from mmkeras.plotting import GREY, PALE, shortened, shortened_inside

SHOWN = 12  # classes and columns in the text and in the figure
NAME = 24  # characters of their names
BLUE, ORANGE = "#3b6fa0", "#c96f12"


def columns_shown(table):
    """The columns of a table of columns that are shown: all, or those with the most holes, in their order."""
    return table.loc[sorted(table["holes"].sort_values(ascending=False, kind="stable").index[:SHOWN])]


def draw_classes(axes, part, table):
    """Bars of the classes' rows. Returns the title."""
    rows, shares = table["rows"][:SHOWN].tolist(), table["share"][:SHOWN].tolist()
    names = [shortened(label, NAME) for label in table["label"][:SHOWN]]
    colors = [BLUE] * len(rows)
    if len(table) > SHOWN:
        rows.append(int(table["rows"][SHOWN:].sum()))
        shares.append(table["share"][SHOWN:].sum())
        names.append(f"{len(table) - SHOWN:,} others")
        colors.append("#b4bac2")
    bars = axes.barh(range(len(rows)), rows, color=colors, height=0.72)
    labels = [f"{count:,}  ({share:.1%})" for count, share in zip(rows, shares, strict=True)]
    axes.bar_label(bars, labels, padding=4, fontsize=9, color=GREY)
    axes.set_yticks(range(len(rows)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max([*rows, 1]))
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0, labelbottom=False)
    return "rows of each class"


def draw_texts(axes, part, table):
    """Histogram of the texts' words. Returns the title."""
    _histogram(axes, table["words"], "words", "texts", part.length + 0.5, f"length={part.length}")
    return "words in a text"


def draw_recordings(axes, part, table):
    """Histogram of the recordings' durations. Returns the title."""
    _histogram(axes, table["seconds"].dropna(), "seconds", "files", part.seconds, f"seconds={part.seconds:g}")
    return "length of recordings"


def draw_series(axes, part, table):
    """Histogram of the series' steps. Returns the title."""
    _histogram(axes, table["steps"].dropna(), "steps", "files", part.length + 0.5, f"length={part.length}")
    return "steps of series"


def draw_videos(axes, part, table):
    """Histogram of the videos' frames. Returns the title."""
    _histogram(axes, table["frames"].dropna(), "frames", "files", part.frames + 0.5, f"frames={part.frames}")
    return "frames of videos"


def draw_columns(axes, part, table):
    """Bars of what the cells of each column hold. Returns the title."""
    shown = columns_shown(table)
    total = shown["rows"].clip(lower=1)
    filled, holes = 1 - shown["holes"] / total, shown["holes"] / total
    strange = (shown["not_numbers"] / total).where(shown["kind"] == "numeric", shown["outside"].fillna(0) * filled)
    parts = (filled - strange, BLUE, "known"), (strange, ORANGE, "no number, or unknown word"), (holes, PALE, "holes")
    start = np.zeros(len(shown))
    for shares, color, label in parts:
        axes.barh(range(len(shown)), shares, left=start, color=color, height=0.72, label=label)
        start = start + shares.to_numpy(dtype=float)
    for place, one in enumerate(shown.itertuples()):
        axes.annotate(
            _of_column(one), (1, place), (5, 0), textcoords="offset points", va="center", fontsize=9, color=GREY
        )
    axes.set_yticks(range(len(shown)), [shortened_inside(column, NAME) for column in shown["column"]])
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
    axes.set_xlim(0, 1.75)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0, labelbottom=False)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=3, frameon=False, fontsize=9, handlelength=0.9)
    return "cells of each column" if len(table) <= SHOWN else f"cells of {SHOWN} of {len(table):,} columns"


def _of_column(one):
    holes = f"{one.holes / max(one.rows, 1):.1%} holes" if one.holes else "no holes"
    if one.kind == "categorical":
        return f"{holes}, {one.distinct:,} words"
    if one.least == one.most:
        return f"{holes}, always {one.least:.4g}"
    return holes + (f", {one.least:.4g} to {one.most:.4g}" if one.least < one.most else "")


def draw_numbers(axes, part, table):
    """Histogram of the values. Returns the title."""
    _histogram(axes, table["value"].dropna(), part.unit or "value", "rows")
    return "values"


def _histogram(axes, values, unit, what, limit=None, label=""):
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    if unit in ("words", "steps", "frames"):  # whole numbers, as many in each bin, which is wide enough to be seen
        span = high - low + 1
        wide = max(1 if span <= 60 else -(-span // 30), round(0.01 * max(high, limit)))
        count = -(-span // wide)
        bins = low - 0.5 - (count * wide - span) // 2 + wide * np.arange(count + 1)
    else:  # a narrow one around values that are all the same
        bins = 30 if high - low > 1e-9 * abs(high) else low + np.array([-0.02, 0.02]) * (abs(low) or 1)
    _, edges, _ = axes.hist(values, bins=bins, color=BLUE, edgecolor="white", linewidth=0.8)
    axes.grid(axis="y", color=PALE)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.12)
    axes.set(xlabel=unit, ylabel=what)
    if not len(values):
        axes.set(ylim=(0, 1), yticks=())
        axes.annotate("none", (0.5, 0.5), xycoords="axes fraction", color=GREY, ha="center", va="center")
    if limit is not None:
        axes.set_xlim(0, 1.06 * max(limit, edges[-1]))
        axes.axvline(limit, color=ORANGE, linestyle="--", linewidth=1.5)
        side, shift = ("right", -5) if limit > 0.35 * axes.get_xlim()[1] else ("left", 5)
        place = {"textcoords": "offset points", "ha": side, "va": "top"}
        box = {"fc": "white", "ec": "none", "pad": 1}
        axes.annotate(label, (limit, 1), (shift, -3), ("data", "axes fraction"), color=ORANGE, bbox=box, **place)


def draw_pictures(axes, part, table):
    """The pictures' sizes, by their number. Returns the title."""
    sizes = table.dropna().value_counts(["width", "height"]).reset_index()
    area = 24 + 400 * sizes["count"] / max(sizes["count"].sum(), 1)
    axes.scatter(sizes["width"], sizes["height"], area, color=BLUE, alpha=0.6, edgecolor="white")
    axes.scatter([part.width], [part.height], 90, color=ORANGE, marker="+", linewidth=2)
    right, top = (1.15 * max([*sizes[side], getattr(part, side)]) for side in ("width", "height"))
    notes = [(part.width, part.height, "the model's", ORANGE)]
    if len(sizes) <= 3:
        notes += [(width, height, f"{count:,} files", GREY) for width, height, count in sizes.itertuples(index=False)]
    for width, height, label, color in notes:
        side, shift = ("right", (-14, 0)) if width > 0.6 * right else ("left", (14, 0))
        style = {"textcoords": "offset points", "color": color, "fontsize": 9, "ha": side, "va": "center"}
        axes.annotate(f"{height:.0f} x {width:.0f}, {label}", (width, height), shift, **style)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.grid(color=PALE)
    axes.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, right), ylim=(0, top))
    return "height x width of pictures"
