"""The space in two dimensions: a point for each item."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from mmkeras.errors import InputError, unknown
from mmkeras.plotting import COLORS, FRAMED, GREY, OTHERS, PALE, pyplot, shortened
from mmkeras.retrieval.items import Items, labels_of

MARKERS = ["o", "^", "s", "D", "v", "P", "X"]
SEVERAL, OTHER, NONE = "several values", "others", "no value"


def draw_map(
    items: Mapping[str, Items],
    places: Mapping[str, np.ndarray],
    vectors: Mapping[str, np.ndarray],
    color: str,
    method: str,
    seed: int,
) -> Any:
    """The figure of `Retrieval.map`.

    Args:
        items: dict of input name -> `Items`.
        places: dict of input name -> `(n,)` int, which items are drawn.
        vectors: dict of input name -> `(n, dim)`, their vectors.
        color, method, seed: as there.

    Returns:
        matplotlib Figure.
    """
    plt, every = pyplot(), np.concatenate(list(vectors.values()))
    if not isinstance(method, str) or method not in _METHODS:
        raise unknown("method", method, _METHODS, where="map: ")
    if min(len(every) - 1, every.shape[1]) < 2:
        raise InputError(f"map: expected at least 3 items in a space of 2 or more, received {every.shape}")
    kinds, shown = _kinds(items, places, color)
    colors = dict(zip(shown, COLORS, strict=False)) | dict.fromkeys((SEVERAL, NONE, OTHER), OTHERS)
    points, x, y, title = _METHODS[method](every, seed)
    markers = dict(zip(items, MARKERS * len(items), strict=False))
    with plt.rc_context(FRAMED | {"axes.labelcolor": GREY}):
        figure, (axes, beside) = plt.subplots(1, 2, figsize=(8.8, 6.2), width_ratios=[5, 1], layout="constrained")
        size, start = float(np.clip(14000 / len(every), 9, 48)), 0
        for name, marker in markers.items():
            order = np.random.default_rng(0).permutation(len(places[name]))  # no kind is on top of the others
            drawn = [colors[kinds[name][place]] for place in order]
            axes.scatter(
                *points[start + order].T, size, drawn, marker=marker, alpha=0.75, edgecolor="white", linewidth=0.3
            )
            start += len(order)
        axes.set(xticks=(), yticks=(), xlabel=x, ylabel=y)
        axes.spines[:].set_color(PALE)
        axes.set_title(title, loc="left", fontsize=12, weight="bold", pad=10)
        _legends(beside, markers, {kind: colors[kind] for kind in shown}, color)
    plt.close(figure)  # else a notebook shows it twice
    return figure


def _kinds(items, places, color):
    """The label of each item's colour: dict of name -> list; and the different labels, in the legend's order."""
    kinds = {}
    for name, own in items.items():
        labels, words = labels_of(own, color, "map: color: ")
        found = [labels[place] for place in places[name]]
        kinds[name] = [one[0] if len(one) == 1 else SEVERAL if one else NONE for one in found]
    counts = Counter(kind for found in kinds.values() for kind in found)
    most = {word for word, _ in Counter({word: counts[word] for word in words}).most_common(len(COLORS))}
    named = [word for word in words if word in most and counts[word]]
    kinds = {
        name: [OTHER if kind in words and kind not in most else kind for kind in found] for name, found in kinds.items()
    }
    grey = [kind for kind in (OTHER, SEVERAL, NONE) if any(kind in found for found in kinds.values())]
    return kinds, [*named, *grey]


def _legends(axes, markers, colors, color):
    """The modalities' markers, and below them the colours' values, in axes of their own."""
    from matplotlib.lines import Line2D

    def legend(names, looks, height, **options):
        dots = [Line2D([], [], linestyle="none", markersize=7, **look) for look in looks]
        place = {"loc": "upper left", "bbox_to_anchor": (-0.1, height), "borderaxespad": 0, "frameon": False}
        names = [shortened(name, 18) for name in names]
        return axes.legend(dots, names, **place, **options, alignment="left", handletextpad=0.2)

    axes.axis("off")
    axes.add_artist(legend(markers, ({"marker": marker, "color": GREY} for marker in markers.values()), 1))
    looks = ({"marker": "o", "color": one} for one in colors.values())
    legend(colors, looks, 0.95 - 0.045 * len(markers), title=shortened(color, 18))


def _pca(vectors, seed):
    pca = PCA(2)
    points = pca.fit_transform(vectors)
    names = [
        f"component {place + 1}: {share:.0%} of the variance"
        for place, share in enumerate(pca.explained_variance_ratio_)
    ]
    return points, *names, "Shared space, its two principal components"


def _tsne(vectors, seed):
    near = min(30, (len(vectors) - 1) / 3)
    # Barnes and Hut's approximation, scikit-learn's default, is faster with many points only
    how = {"metric": "cosine", "method": "exact" if len(vectors) < 500 else "barnes_hut"}
    points = TSNE(perplexity=near, random_state=seed, **how).fit_transform(vectors)
    return points, "", "", "Shared space, t-SNE"


_METHODS = {"pca": _pca, "tsne": _tsne}
