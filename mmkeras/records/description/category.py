"""How classes are described: one of several, or any number of them."""

from typing import Any

import numpy as np
import pandas as pd

from mmkeras import spelling
from mmkeras.plotting import GREY, OTHERS, shortened
from mmkeras.records.description.base import Describer, register, twins_said
from mmkeras.records.description.drawing import BLUE, NAME, SHOWN
from mmkeras.targets import Category, Labels


@register(Category, Labels)
class ClassDescriber(Describer):
    """Its table: label, rows, share, written (the label's spellings), the most frequent first.

    Also the schema's classes that no row has.
    """

    title = "rows of each class"

    def table(self, part: Any, distinct: np.ndarray, number: np.ndarray) -> pd.DataFrame:
        """Count the rows of each class."""
        counts: dict[str, int] = dict.fromkeys(self.classes(part), 0)
        written: dict[str, dict[str, None]] = {}
        names = self.names(part, distinct)
        for cell, rows in zip(distinct, np.bincount(number, minlength=len(distinct)).tolist(), strict=True):
            for label in sorted({names[label] for label in part.values_of(cell)}):
                counts[label] = counts.get(label, 0) + rows
            for raw in part.written(cell):
                for label in part.values_of(raw):
                    written.setdefault(names[label], {})[raw] = None
        table = pd.DataFrame({"label": list(counts), "rows": list(counts.values())})
        table["share"] = table["rows"] / max(len(number), 1)
        table["written"] = [tuple(written.get(label, ())) for label in counts]
        return table.sort_values("rows", ascending=False, kind="stable", ignore_index=True)

    def classes(self, part: Any) -> tuple[str, ...]:
        """The classes of the schema; none if they are not known."""
        return part.classes or ()

    def names(self, part: Any, distinct: np.ndarray) -> dict[str, str]:
        """The one spelling of each label in these cells."""
        labels = {label for cell in distinct for label in part.values_of(cell)}
        if part.fitted:
            return {label: label for label in labels}
        return spelling.names(labels, getattr(part, "spelling", None) or spelling.spelling_of(labels))

    def lines(self, part: Any, table: pd.DataFrame, distinct: int) -> list[str]:
        """The most frequent classes with their shares as bars, and the classes to look after."""
        single, strange = table["label"][table["rows"] < 2].tolist(), []
        if known := self.classes(part):
            strange = sorted(set(table["label"]) - set(known))
        most = f"most frequent {table['label'][0]!r}, {table['share'][0]:.1%}" if len(table) else "no rows"
        said = [f"{len(table):,} classes; {most}; fewer than 2 rows: {_some(single)}"]
        said += [f"outside the schema's classes: {_some(strange)}"] * bool(strange)
        said += [f"near twins (= is one class): {_twins(table)}"] * bool(_twins(table))
        return said + _bars(table[:SHOWN]) + ([f"... and {len(table) - SHOWN:,} more"] if len(table) > SHOWN else [])

    def draw(self, axes: Any, part: Any, table: pd.DataFrame) -> str:
        """Bars of the classes' rows. Returns the title."""
        rows, shares = table["rows"][:SHOWN].tolist(), table["share"][:SHOWN].tolist()
        names = [shortened(label, NAME) for label in table["label"][:SHOWN]]
        colors = [BLUE] * len(rows)
        if len(table) > SHOWN:
            rows.append(int(table["rows"][SHOWN:].sum()))
            shares.append(table["share"][SHOWN:].sum())
            names.append(f"{len(table) - SHOWN:,} others")
            colors.append(OTHERS)
        bars = axes.barh(range(len(rows)), rows, color=colors, height=0.72)
        labels = [f"{count:,}  ({share:.1%})" for count, share in zip(rows, shares, strict=True)]
        axes.bar_label(bars, labels, padding=4, fontsize=9, color=GREY)
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.3 * max([*rows, 1]))
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0, labelbottom=False)
        return self.title


def _bars(table):
    """A line for each class: its rows, their share, and a bar of its length."""
    names = [repr(label) for label in table["label"]]
    width, digits = max(map(len, names), default=0), len(f"{table['rows'].max():,}")
    longest = max([*table["share"][:1], 1e-9])
    return [
        f"{name:{width}}  {rows:{digits},}  {share:6.1%}  {'█' * round(24 * share / longest)}"
        for name, rows, share in zip(names, table["rows"], table["share"], strict=True)
    ]


def _twins(table):
    """Labels that differ in blanks, case, zeros behind the point or Unicode's form alone."""
    names = {raw: label for label, written in zip(table["label"], table["written"], strict=True) for raw in written}
    return twins_said({label: label for label in table["label"] if label not in names} | names)


def _some(labels):
    shown = ", ".join(map(repr, labels[:8]))
    return f"{shown}{', ...' if len(labels) > 8 else ''} ({len(labels)})" if labels else "none"
