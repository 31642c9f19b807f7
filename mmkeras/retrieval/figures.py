"""What was found for each query, as a contact sheet."""

import textwrap

import keras
import numpy as np

from mmkeras.errors import InputError
from mmkeras.pipeline import columns
from mmkeras.plotting import GREY, INK, PALE, pyplot, shortened
from mmkeras.retrieval.items import labels_of, shares
from mmkeras.schema import Audio, Image, Series, Video

RIGHT, WRONG = "#0a8a5f", "#d2412a"
# Twelve that are told apart, the first six of them after Okabe and Ito (2008)
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#3d4148", "#b3a100"]
COLORS += ["#6a51a3", "#8c564b", "#66a61e", "#e7298a"]
STYLE = {"font.size": 10, "text.color": INK, "axes.edgecolor": GREY}
STYLE |= {f"axes.spines.{side}": True for side in ("left", "right", "top", "bottom")}  # a frame has four sides


def some_items(items, relevant):
    """Some queries `(n,)`: the first item of each value of `relevant`, ten at most; else six."""
    if relevant is None:
        return np.linspace(0, len(items) - 1, min(len(items), 6)).round().astype(int)
    labels, words = labels_of(items, relevant, "figure: relevant: ")
    first = {words[0]: item for item, words in reversed(list(enumerate(labels))) if words}
    return np.array([first[word] for word in words if word in first][:10], int)


def sheet(asked, given, queries, pairs, relevant):
    """The contact sheet of `Retrieval.figure`.

    Args:
        asked, given: `Items` of the queries and of what was found.
        queries: `(n,)` int, items.
        pairs: the number of the query, the item found and the similarity of each pair, `(pairs,)` each, in order.
        relevant: name of a target or column, or None.

    Returns:
        matplotlib Figure with axes for every cell, row by row, the query's first.
    """
    plt, (number, found, similarity) = pyplot(), pairs
    if not len(found):
        raise InputError(f"figure: expected items of {given.name!r} beside the query, found none")
    labels = [labels_of(items, relevant, "figure: relevant: ")[0] if relevant else None for items in (asked, given)]
    looks = _looks(asked, given, queries[number], found, relevant)
    drawable = _drawable(asked, queries), _drawable(given, found)
    lines = np.split(np.arange(len(found)), np.flatnonzero(np.diff(number)) + 1)
    with plt.rc_context(STYLE):
        figure, grid = _grid(plt, asked, given, len(lines), max(map(len, lines)))
        for line, places in enumerate(lines):
            axes, item = figure.add_subplot(grid[line, 0]), queries[line]
            _draw(axes, asked, drawable[0][item])
            _caption(axes, _joined(labels[0][item]) if relevant else "", INK)
            for column, place in enumerate(places, 2):
                axes, item = figure.add_subplot(grid[line, column]), found[place]
                _draw(axes, given, drawable[1][item])
                _judge(axes, looks[place], labels[1][item] if relevant else [], similarity[place])
        left, right = (axes.get_position().x0 for axes in figure.axes[:2])
        look = {"y": 1 - 0.24 / figure.get_figheight(), "fontsize": 12, "weight": "bold", "va": "center"}
        figure.text(left, s=shortened(asked.name, 30), **look)
        figure.text(right, s=f"most similar: {shortened(given.name, 30)}", **look)
    plt.close(figure)  # else a notebook shows it twice
    return figure


def _grid(plt, asked, given, lines, most):
    """A figure and its grid: column 0 for the queries, a gap, and from column 2 on what was found."""
    sizes = [_SIZES.get(type(items.feature), (1.6, 0.95)) for items in (asked, given)]
    ratios, height, caption = [sizes[0][0], 0.28, *[sizes[1][0]] * most], max(size[1] for size in sizes), 0.26
    inches = 1.09 * sum(ratios) + 0.2, (height + caption + 0.12) * lines + 0.55
    edges = {"left": 0.1 / inches[0], "right": 1 - 0.1 / inches[0], "top": 1 - 0.42 / inches[1]}
    edges |= {"bottom": (caption + 0.05) / inches[1], "wspace": 0.09, "hspace": (caption + 0.12) / height}
    figure = plt.figure(figsize=inches)
    return figure, figure.add_gridspec(lines, len(ratios), width_ratios=ratios, **edges)


def _looks(asked, given, queries, found, relevant):
    """Colour and mark of each pair: right, wrong, or neither where nothing is said of it."""
    neither = GREY, ""
    if relevant is None and asked is given:
        return [neither] * len(found)
    mine, theirs = (shares(items, relevant, "figure: relevant: ") for items in (asked, given))
    right = np.asarray(mine[queries].multiply(theirs[found]).sum(axis=1)).ravel() > 0
    wrong = neither if relevant is None else (WRONG, "\N{MULTIPLICATION X} ")
    return [(RIGHT, "\N{CHECK MARK} ") if one else wrong for one in right]


def _judge(axes, look, labels, similarity):
    """A frame, and below it the mark, the labels and the similarity."""
    color, mark = look
    if mark:
        for spine in axes.spines.values():
            spine.set(color=color, linewidth=2.2)
    number = f"{similarity:.2f}".replace("-", "\N{MINUS SIGN}")
    _caption(axes, f"{mark}{_joined(labels)}{'  ' * bool(labels)}{number}", color)


def _caption(axes, text, color):
    axes.annotate(
        text, (0.5, 0), (0, -4), "axes fraction", "offset points", color=color, ha="center", va="top", fontsize=9
    )


def _joined(words):
    return shortened(", ".join(words), 16)


def _drawable(items, wanted):
    """What is drawn of each item wanted: dict of item -> value as the model receives it, of text and tables the cell.

    Recordings and what else is padded come without their padding, recordings as log-mel spectrograms.
    """
    feature, wanted = items.feature, np.unique(wanted)
    if type(feature) not in _DRAWERS:
        return dict(zip(wanted, items.value(wanted), strict=True))
    decoded, rows = columns(items.records), items.first[wanted]
    values = decoded[items.name].take(rows).array()
    if f"{items.name}_length" not in decoded:
        return dict(zip(wanted, values, strict=True))
    lengths = decoded[f"{items.name}_length"].take(rows).array()
    if isinstance(feature, Audio):
        values, lengths = _spectrograms(values[:, : feature.samples], lengths, feature.sampling_rate)
    return {item: value[: max(length, 1)] for item, value, length in zip(wanted, values, lengths, strict=True)}


def _spectrograms(waves, lengths, rate):
    """Log-mel spectrograms `(n, frames, mels)` of recordings `(n, samples)`, and how many frames are not padding."""
    window = 1 << (round(rate * 0.032) - 1).bit_length()
    mel = keras.layers.MelSpectrogram(window, window // 4, sampling_rate=rate, num_mel_bins=48, top_db=1000.0)
    found = keras.ops.convert_to_numpy(mel(waves.astype("float32")))
    return found.swapaxes(1, 2), 1 + np.maximum(lengths - window // 2, 0) // (window // 4)


def _draw(axes, items, value):
    axes.set(xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set(color=PALE, linewidth=0.8)
    _DRAWERS.get(type(items.feature), _draw_text)(axes, value, items.feature)


def _draw_text(axes, text, feature):
    lines = textwrap.wrap(text, 19)
    lines = [*lines[:4], "…"] if len(lines) > 5 else lines
    axes.set_facecolor("#f7f8f9")
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=9.5, transform=axes.transAxes)


def _draw_picture(axes, value, feature):
    axes.imshow(value if feature.channels == 3 else value[..., 0], cmap="gray", vmin=0, vmax=255)


def _draw_recording(axes, value, feature):
    """A spectrogram, down to 60 decibels below its loudest."""
    axes.imshow(value.T, cmap="magma", origin="lower", aspect="auto", vmin=value.max() - 60, interpolation="nearest")


def _draw_series(axes, value, feature):
    for channel in range(min(feature.channels, len(COLORS))):
        axes.plot(value[:, channel], color=COLORS[channel], linewidth=1)
    axes.margins(x=0.02, y=0.12)


def _draw_video(axes, value, feature):
    """First, middle and last frame, side by side."""
    last = len(value) - 1
    frames = np.concatenate([value[place] for place in sorted({0, last // 2, last})], axis=1)
    _draw_picture(axes, frames, feature)


_DRAWERS = {Image: _draw_picture, Audio: _draw_recording, Series: _draw_series, Video: _draw_video}
_SIZES = {Image: (0.95, 0.95), Audio: (1.25, 0.95), Series: (1.5, 0.9), Video: (2.4, 0.9)}
