"""The items found for each query, as a contact sheet."""

from typing import Any

import numpy as np

from mmkeras.errors import InputError
from mmkeras.plotting import FRAMED, GREY, INK, PALE, pyplot, shortened
from mmkeras.retrieval.figures.base import DRAWERS
from mmkeras.retrieval.items import Items, labels_of, shares

RIGHT, WRONG = "#0a8a5f", "#d2412a"


def some_items(items: Items, relevant: str | None) -> np.ndarray:
    """Some queries `(n,)`: the first item of each value of `relevant`, ten at most; else six."""
    if relevant is None:
        return np.linspace(0, len(items) - 1, min(len(items), 6)).round().astype(int)
    labels, words = labels_of(items, relevant, "figure: relevant: ")
    first = {words[0]: item for item, words in reversed(list(enumerate(labels))) if words}
    return np.array([first[word] for word in words if word in first][:10], int)


def sheet(
    asked: Items,
    given: Items,
    queries: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    relevant: str | None,
) -> Any:
    """The contact sheet of `Retrieval.figure`.

    Args:
        asked, given: `Items` of the queries and of the results.
        queries: `(n,)` int, items.
        pairs: the number of the query, the item found and the similarity of each pair, `(pairs,)` each, in order.
        relevant: name of a target or column, or None.

    Returns:
        matplotlib Figure with axes for every cell, row by row, the query's first.
    """
    plt, (number, found, similarity) = pyplot(), pairs
    if not len(found):
        raise InputError(f"figure: expected items of {given.name!r} other than the query, found none")
    labels = [_labels(items, relevant) for items in (asked, given)]
    looks = _looks(asked, given, queries[number], found, relevant)
    drawable = _drawable(asked, queries), _drawable(given, found)
    lines = np.split(np.arange(len(found)), np.flatnonzero(np.diff(number)) + 1)
    with plt.rc_context(FRAMED):
        figure, grid = _grid(plt, asked, given, len(lines), max(map(len, lines)))
        for line, places in enumerate(lines):
            axes, item = figure.add_subplot(grid[line, 0]), queries[line]
            _draw(axes, asked, drawable[0][item])
            _caption(axes, _joined(labels[0][item]), INK)
            for column, place in enumerate(places, 2):
                axes, item = figure.add_subplot(grid[line, column]), found[place]
                _draw(axes, given, drawable[1][item])
                _judge(axes, looks[place], labels[1][item], similarity[place])
        left, right = (axes.get_position().x0 for axes in figure.axes[:2])
        look = {"y": 1 - 0.24 / figure.get_figheight(), "fontsize": 12, "weight": "bold", "va": "center"}
        figure.text(left, s=shortened(asked.name, 30), **look)
        figure.text(right, s=f"most similar: {shortened(given.name, 30)}", **look)
    plt.close(figure)  # else a notebook shows it twice
    return figure


def _labels(items, relevant):
    """The labels of each item: list of lists, empty ones without `relevant`."""
    return labels_of(items, relevant, "figure: relevant: ")[0] if relevant else [[]] * len(items)


def _grid(plt, asked, given, lines, most):
    """A figure and its grid: column 0 for the queries, a gap, and from column 2 on what was found."""
    sizes = [DRAWERS.of(items.feature).size for items in (asked, given)]
    ratios, height, caption = [sizes[0][0], 0.28, *[sizes[1][0]] * most], max(size[1] for size in sizes), 0.26
    inches = 1.09 * sum(ratios) + 0.2, (height + caption + 0.12) * lines + 0.55
    edges = {"left": 0.1 / inches[0], "right": 1 - 0.1 / inches[0], "top": 1 - 0.42 / inches[1]}
    edges |= {"bottom": (caption + 0.05) / inches[1], "wspace": 0.09, "hspace": (caption + 0.12) / height}
    figure = plt.figure(figsize=inches)
    return figure, figure.add_gridspec(lines, len(ratios), width_ratios=ratios, **edges)


def _looks(asked, given, queries, found, relevant):
    """Colour and mark of each pair: right, wrong, or neither where that is not known."""
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
    """The values to draw: dict of item -> the value that its drawer prepared."""
    drawer, wanted = DRAWERS.of(items.feature), np.unique(wanted)
    drawn = items.value(wanted) if drawer.cells else drawer.prepare(*items.decoded(wanted), items.feature.single)
    return dict(zip(wanted, drawn, strict=True))


def _draw(axes, items, value):
    axes.set(xticks=(), yticks=())
    for spine in axes.spines.values():
        spine.set(color=PALE, linewidth=0.8)
    DRAWERS.of(items.feature).draw(axes, value, items.feature.single)
