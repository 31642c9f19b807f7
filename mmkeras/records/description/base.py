"""The base class of describers, which describe and draw the cells of one kind of input or target."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmkeras import spelling
from mmkeras.decode.access import Access
from mmkeras.errors import shown
from mmkeras.records.description.drawing import histogram
from mmkeras.registry import Kinds


class Seen(NamedTuple):
    """The facts found about one input or target.

    Attributes:
        table: DataFrame, as the describer documents it.
        distinct: how many different values there are.
        looked_at: how many of them were looked at.
    """

    table: pd.DataFrame
    distinct: int
    looked_at: int


class Describer:
    """Base of all describers.

    A new kind derives from the describer that fits it, and registers an object:
    `@mmkeras.records.description.register(PointCloud)`.

    - `FileDescriber`: the cells are paths of files, some of which are opened.
    - this class for all others. By default it reads the cells as numbers, tells their spread and draws their histogram.

    In all methods, `part` is the input or target of the schema.

    Attributes:
        measure: the column of its table whose spread is told and drawn, and its name for people.
        whole: whether the measure is a whole number.
        form: format of a value of the measure.
        counted: the things that have a value of the measure, for the figure: "rows".
        title: of the panel in the figure.
        beyond: words for more than `limit`.
    """

    measure = "value"
    whole = False
    form = "{:,.6g}"
    counted = "rows"
    title = "values"
    beyond = "longer than"

    def unit(self, part: Any) -> str:
        """The name of the measure for people."""
        return self.measure

    def limit(self, part: Any) -> tuple[float, str] | None:
        """The largest measure that the model receives, and its text; None: there is no such limit."""
        return None

    def look(self, part: Any, cells: np.ndarray, most: int, access: Access) -> Seen:
        """Look at the cells of all rows.

        Args:
            part: the input or target.
            cells: `(rows, columns)` of str, "" where a value is missing.
            most: files that are opened, at most.
            access: which files may be.
        """
        number, distinct = pd.factorize(cells[cells != ""])
        return Seen(self.table(part, distinct, number), len(distinct), len(distinct))

    def table(self, part: Any, distinct: np.ndarray, number: np.ndarray) -> pd.DataFrame:
        """The content of the cells.

        Args:
            part: the input or target.
            distinct: `(values,)` of str, the different cells, in the order of the table.
            number: `(cells,)` int, the value of each cell that is not empty, as a place in `distinct`.
        """
        values = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").to_numpy()
        return pd.DataFrame({self.measure: values[number]})

    def lines(self, part: Any, table: pd.DataFrame, distinct: int) -> list[str]:
        """The lines about its table; `distinct` is the number of different values."""
        return [self.spread(part, table)]

    def spread(self, part: Any, table: pd.DataFrame) -> str:
        """The measure's least, median and most, and the share of values above the limit."""
        values, limit = table[self.measure].dropna(), self.limit(part)
        said = spread(values, self.unit(part), self.form)
        if limit is None or not len(values):
            return said
        # a clip of 5.001 s is one of 5 s, cut at the end of a frame or a sample
        most = limit[0] if self.whole else 1.01 * limit[0]
        return f"{said}; {self.beyond} {limit[1]}: {np.mean(values > most):.1%}"

    def draw(self, axes: Any, part: Any, table: pd.DataFrame) -> str:
        """Draw its table into matplotlib axes. Returns the title."""
        values = table[self.measure].dropna()
        histogram(axes, values, self.unit(part), self.counted, whole=self.whole, limit=self.limit(part))
        return self.title


def spread(values: pd.Series, what: str, form: str, more: tuple[tuple[str, float], ...] = ()) -> str:
    """Least, median and most of values, in one line.

    Args:
        values: numbers.
        what: their name.
        form: format of one value.
        more: further quantiles, name and share.

    >>> spread(pd.Series([1, 2, 6]), "words", "{:.0f}")
    'words: 1 least, 2 median, 6 most'
    """
    if not len(values):
        return f"{what}: none"
    points = (("least", 0), ("median", 0.5), *more, ("most", 1))
    return f"{what}: " + ", ".join(f"{form.format(values.quantile(at))} {name}" for name, at in points)


def twins_said(names: Mapping[str, str]) -> str:
    """Words that differ in blanks, case, zeros behind the point or Unicode's form alone.

    "=" stands between those that are one.

    Args:
        names: dict of a word as it is written -> its one spelling.

    >>> twins_said({"cat": "cat", " cat": "cat", "Cat": "Cat", "dog": "dog"})
    "'cat' = ' cat', 'Cat'"
    """
    groups = []
    for twins in spelling.twins(names):
        by_name: dict[str, list[str]] = {}
        for word in twins:
            by_name.setdefault(names[word], []).append(shown(word, 40))
        groups.append(", ".join(" = ".join(words) for words in by_name.values()))
    return "; ".join(groups[:4]) + ("; ..." if groups[4:] else "")


DESCRIBERS = Kinds("describer", Describer, "mmkeras.records.description")

register = DESCRIBERS.register
