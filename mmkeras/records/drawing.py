"""The panels of a description's figure."""

import numpy as np

SHOWN = 12  # classes in the text and in the figure
BLUE, ORANGE, GREY, PALE = "#3b6fa0", "#c96f12", "#5f6670", "#e6e8eb"


def draw_classes(axes, part, table):
    """Bars of the classes' rows. Returns the title."""
    rows, shares = table["rows"][:SHOWN].tolist(), table["share"][:SHOWN].tolist()
    names = [label if len(label) <= 24 else label[:23] + "…" for label in table["label"][:SHOWN]]
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


def draw_numbers(axes, part, table):
    """Histogram of the values. Returns the title."""
    _histogram(axes, table["value"].dropna(), part.unit or "value", "rows")
    return "values"


def _histogram(axes, values, unit, what, limit=None, label=""):
    low, high = (values.min(), values.max()) if len(values) else (0, 1)
    if unit == "words" and high - low < 60:
        bins = np.arange(low, high + 2) - 0.5
    else:  # a narrow one around values that are all the same
        bins = 30 if high - low > 1e-9 * abs(high) else low + np.array([-0.02, 0.02]) * (abs(low) or 1)
    _, edges, _ = axes.hist(values, bins=bins, color=BLUE, edgecolor="white", linewidth=0.8)
    axes.grid(axis="y", color=PALE)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.12)
    axes.set(xlabel=unit, ylabel=what)
    if limit is not None:
        axes.set_xlim(0, 1.06 * max(limit, edges[-1]))
        axes.axvline(limit, color=ORANGE, linestyle="--", linewidth=1.5)
        place, box = (
            {"textcoords": "offset points", "ha": "right", "va": "top"},
            {"fc": "white", "ec": "none", "pad": 1},
        )
        axes.annotate(label, (limit, 1), (-5, -3), ("data", "axes fraction"), color=ORANGE, bbox=box, **place)


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
