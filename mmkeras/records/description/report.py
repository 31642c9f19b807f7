"""The description of a table of samples, to print or to draw."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mmkeras.plotting import CHART, pyplot
from mmkeras.records.description.base import DESCRIBERS
from mmkeras.schema import Schema


@dataclass(frozen=True, eq=False, repr=False)
class Description:
    """A description of the rows of a table. Print it, or draw it with `figure`.

    Attributes:
        name: the table's name.
        schema: the `Schema`.
        overview: DataFrame with a row for each input and target: kind, column, rows, missing (rows without it),
            distinct values, and how many of them were looked at.
        tables: dict of input or target -> DataFrame. A category: label, rows, share, written (its spellings), most
            frequent first. Text: a row for each text: words, with a fitted schema outside (how many of them are outside
            its vocabulary), left_out (symbols that no word holds), one_word (whether a phrase is one word). Image: a
            row for each file looked at: file, format, height, width, orientation (EXIF). Audio: file, kind, rate,
            channels, seconds. Series: file, kind, steps, channels. Video: file, kind, frames, height, width. Number:
            value. Tabular: a row for each column: column, kind, rows, holes, not_numbers, least, mean, most, distinct,
            frequent (the most frequent word), share (of it), outside (share outside the vocabulary, if fitted),
            twins (words that differ in blanks or case alone, and the like).
        notes: sentences about files of the same content and rows of the same inputs, in these rows and in other splits.
    """

    name: str
    schema: Schema
    overview: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = int(self.overview["rows"].iloc[0])
        lines = [f"{self.name}: {rows:,} rows", ""]
        lines += _aligned(self.overview.drop(columns=["rows", "looked_at"]))
        lines += ["", *self.notes] if self.notes else []
        width = max(map(len, self.tables))
        for name, table in self.tables.items():
            part, row = self.schema.parts[name], self.overview.loc[name]
            said = DESCRIBERS.of(part).lines(part, table, int(row.distinct))
            if part.optional:
                said.append(f"optional: missing in {row.missing / max(rows, 1):.1%} of the rows")
            lines += ["", *(f"{'' if number else name:{width}}  {line}" for number, line in enumerate(said))]
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__

    def figure(self) -> Any:
        """A matplotlib Figure with a panel for each input and target; `savefig` writes it, a notebook shows it."""
        plt = pyplot()
        columns = min(2, len(self.tables))
        lines = -(-len(self.tables) // columns)  # rounded up
        with plt.rc_context(CHART):
            size = (5.6 * columns, 3.4 * lines + 0.5)
            figure, grid = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
            figure.suptitle(f"{self.name}: {int(self.overview['rows'].iloc[0]):,} rows", fontsize=14, weight="bold")
            figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
            for axes, name in zip(grid.flat, self.tables, strict=False):
                self._draw(axes, name)
            for axes in list(grid.flat)[len(self.tables) :]:
                axes.remove()
        plt.close(figure)  # else a notebook shows it twice
        return figure

    def _draw(self, axes, name):
        part, row = self.schema.parts[name], self.overview.loc[name]
        title = DESCRIBERS.of(part).draw(axes, part, self.tables[name])
        sample = f", {row.looked_at:,} of {row.distinct:,} files" if row.looked_at < row.distinct else ""
        axes.set_title(f"{name}: {title}{sample}", loc="left", fontsize=11, pad=10)


def _aligned(table):
    rows = [["", *table.columns], *([name, *cells] for name, *cells in table.itertuples())]
    columns = []
    for column in zip(*rows, strict=True):
        text = [cell if isinstance(cell, str) else f"{cell:,}" for cell in column]
        width, place = max(map(len, text)), ">" if not isinstance(column[-1], str) else "<"
        columns.append([f"{cell:{place}{width}}" for cell in text])
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]
