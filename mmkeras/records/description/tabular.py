"""How columns of numbers and of words are described."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras import spelling
from mmkeras.decode.access import Access
from mmkeras.inputs import Tabular
from mmkeras.plotting import GREY, PALE, shortened, shortened_inside
from mmkeras.records.description.base import Describer, Seen, register, twins_said
from mmkeras.records.description.drawing import BLUE, NAME, ORANGE, SHOWN
from mmkeras.targets import Number

COLUMNS = ("column", "kind", "rows", "holes", "not_numbers", "least", "mean", "most", "distinct", "frequent", "share")


@register(Tabular)
class TabularDescriber(Describer):
    """Its table has a row for each column.

    It holds column, kind, rows, holes, not_numbers, least, mean, most, distinct, frequent (the most frequent word),
    share (of it), outside (share outside the vocabulary, if fitted), twins (words that differ in blanks, case, zeros
    behind the point or Unicode's form alone).
    """

    def look(self, part: Tabular, cells: np.ndarray, most: int, access: Access) -> Seen:
        """Look at each column by itself; different values are different rows."""
        count = len(part.numeric)
        rows = [_of_numbers(*one) for one in zip(part.numeric, cells.T, strict=False)]
        none = [None] * len(part.categorical)
        columns = zip(part.categorical, cells.T[count:], part.vocabularies or none, part.spellings or none, strict=True)
        rows += [_of_words(*one) for one in columns]
        filled = pd.DataFrame(cells[(cells != "").any(axis=1)])
        distinct = len(filled.drop_duplicates())
        return Seen(pd.DataFrame(rows, columns=[*COLUMNS, "outside", "twins"]), distinct, distinct)

    def lines(self, part: Tabular, table: pd.DataFrame, distinct: int) -> list[str]:
        """A line for each column, at most `SHOWN`."""
        holes = table["holes"].sum() / max(table["rows"].sum(), 1)
        said = [f"columns: {len(part.numeric):,} of numbers, {len(part.categorical):,} of words; holes: {holes:.1%}"]
        shown = _shown(table)
        names = [shortened_inside(column, NAME) for column in shown["column"]]
        for name, one in zip(names, shown.itertuples(), strict=True):
            start = f"{name:{max(map(len, names))}}  {one.holes / max(one.rows, 1):6.1%} holes"
            said.append(f"{start}  {_numbers_said(one) if one.kind == 'numeric' else _words_said(one)}")
        return said + ([f"... and {len(table) - SHOWN:,} more, with no more holes"] if len(table) > SHOWN else [])

    def draw(self, axes: Any, part: Tabular, table: pd.DataFrame) -> str:
        """Bars of the content of each column's cells. Returns the title."""
        shown = _shown(table)
        total = shown["rows"].clip(lower=1)
        filled, holes = 1 - shown["holes"] / total, shown["holes"] / total
        strange = (shown["not_numbers"] / total).where(shown["kind"] == "numeric", shown["outside"].fillna(0) * filled)
        parts = (
            (filled - strange, BLUE, "known"),
            (strange, ORANGE, "no number, or unknown word"),
            (holes, PALE, "holes"),
        )
        start = np.zeros(len(shown))
        for shares, color, label in parts:
            axes.barh(range(len(shown)), shares, left=start, color=color, height=0.72, label=label)
            start = start + shares.to_numpy(dtype=float)
        note = {"textcoords": "offset points", "va": "center", "fontsize": 9, "color": GREY}
        for place, one in enumerate(shown.itertuples()):
            axes.annotate(_note(one), (1, place), (5, 0), **note)
        axes.set_yticks(range(len(shown)), [shortened_inside(column, NAME) for column in shown["column"]])
        axes.set_ylim(max(len(shown), 4) - 0.5, -0.5)
        axes.set_xlim(0, 1.75)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelbottom=False)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=3, frameon=False, fontsize=9, handlelength=0.9)
        return "cells of each column" if len(table) <= SHOWN else f"cells of {SHOWN} of {len(table):,} columns"


def _of_numbers(column, cells):
    filled = cells[cells != ""]
    good = Number().encode(filled)[1]
    numbers = filled[good].astype(float) if good.any() else np.array([np.nan])
    row = {"column": column, "kind": "numeric", "rows": len(cells), "holes": len(cells) - len(filled)}
    row |= {"not_numbers": int((~good).sum()), "least": numbers.min(), "mean": numbers.mean()}
    return row | {"most": numbers.max(), "distinct": len(set(filled))}


def _of_words(column, cells, vocabulary, spelled):
    filled = cells[cells != ""]
    written = pd.Series(filled, dtype=object)
    names = spelling.names(set(filled), spelled or spelling.spelling_of(set(filled)))
    counts = written.map(names).value_counts()
    row = {"column": column, "kind": "categorical", "rows": len(cells), "holes": len(cells) - len(filled)}
    row |= {"not_numbers": 0, "distinct": len(counts)}
    if len(counts):
        row |= {"frequent": counts.index[0], "share": counts.iloc[0] / len(filled)}
    if vocabulary is not None:
        known = {spelling.key(word, spelled) for word in vocabulary}
        row["outside"] = np.mean([spelling.key(word, spelled) not in known for word in filled]) if len(filled) else 0.0
    return row | {"twins": twins_said({word: names[word] for word in dict.fromkeys(filled)})}


def _shown(table):
    """The columns that are shown: all, or those with the most holes, in their order."""
    return table.loc[sorted(table["holes"].sort_values(ascending=False, kind="stable").index[:SHOWN])]


def _numbers_said(one):
    known = one.mean == one.mean
    said = f"{one.least:,.6g} least, {one.mean:,.4g} mean, {one.most:,.6g} most" if known else "none"
    return said + (f"; not numbers: {one.not_numbers:,}" if one.not_numbers else "")


def _words_said(one):
    outside = f"; outside the vocabulary: {one.outside:.1%}" if one.outside == one.outside else ""
    most = f"; most frequent {shortened(one.frequent, NAME)!r}, {one.share:.1%}" if one.distinct else ""
    twins = f"; near twins (= is one word): {one.twins}" if one.twins else ""
    return f"{one.distinct:,} different words{most}{outside}{twins}"


def _note(one):
    """The text next to a column's bar."""
    holes = f"{one.holes / max(one.rows, 1):.1%} holes" if one.holes else "no holes"
    if one.kind == "categorical":
        return f"{holes}, {one.distinct:,} words"
    if one.least == one.most:
        return f"{holes}, always {one.least:.4g}"
    return holes + (f", {one.least:.4g} to {one.most:.4g}" if one.least < one.most else "")
