"""The describer of kinds whose cells are paths of files: facts from their headers, without decoding them."""

import os
import struct
from typing import Any

import numpy as np
import pandas as pd

from mmkeras.decode import codec_of
from mmkeras.decode.access import Access
from mmkeras.records.description.base import Describer, Seen

# The exceptions of a broken file while its header is read; the last is soundfile's
BROKEN = (OSError, ValueError, LookupError, struct.error, ZeroDivisionError, RuntimeError)


class FileDescriber(Describer):
    """Base of the describers of files. Its table has a row for each file looked at: "file", then `columns`.

    Attributes:
        columns: names of the results of `header`; the first is the file's format.
    """

    columns: tuple[str, ...] = ("kind",)
    counted = "files"
    form = "{:,.0f}"

    def header(self, path: str) -> tuple[Any, ...]:
        """The facts in a file's header, named by `columns`. May raise any of `BROKEN`: the file is unreadable."""
        raise NotImplementedError(f"{type(self).__name__} has to read a file's header")

    def look(self, part: Any, cells: np.ndarray, most: int, access: Access) -> Seen:
        """Read the headers of the different files, at most `most`, at even distances."""
        distinct = pd.unique(cells[cells != ""])
        places = np.linspace(0, len(distinct) - 1, min(len(distinct), most)).round().astype(int)
        allowed = access.only(codec_of(part), distinct[places])
        rows = [(path, *self._header(one)) for path, one in zip(distinct[places], allowed, strict=True)]
        return Seen(pd.DataFrame(rows, columns=["file", *self.columns]), len(distinct), len(places))

    def _header(self, path):
        try:
            if path:
                return self.header(path)
        except BROKEN:
            pass
        return "unreadable", *[np.nan] * (len(self.columns) - 1)

    def lines(self, part: Any, table: pd.DataFrame, distinct: int) -> list[str]:
        """How many files there are of each format, the spread of the measure, and `more`."""
        readable = table.dropna()
        more = self.more(part, readable) if len(readable) else []
        return [self.formats(table, distinct), self.spread(part, readable), *more]

    def more(self, part: Any, readable: pd.DataFrame) -> list[str]:
        """Further lines about its table without the unreadable files; it has at least one row."""
        return []

    def formats(self, table: pd.DataFrame, distinct: int) -> str:
        """How many files there are of each format, in one line."""
        counts = ", ".join(f"{name} {count:,}" for name, count in table[self.columns[0]].value_counts().items())
        sample = f" of {distinct:,}, evenly spaced" if len(table) < distinct else ""
        return f"{len(table):,} files{sample}: {counts or 'none'}"


def counts(values: pd.Series, unit: str) -> str:
    """The different whole numbers with their counts, the most frequent first, in one line.

    >>> counts(pd.Series([1.0, 2.0, 2.0]), "channels")
    'channels: 2 (2), 1 (1)'
    """
    found = values.astype(int).value_counts()
    more = f", ... ({len(found)})" if len(found) > 8 else ""
    return f"{unit}: " + ", ".join(f"{value} ({count:,})" for value, count in found[:8].items()) + more


def sizes(part: Any, readable: pd.DataFrame) -> str:
    """The smallest, median and largest height and width of pictures, and the model's, in one line."""
    ordered = readable.iloc[np.argsort(readable["height"] * readable["width"], kind="stable")]
    found = [f"{ordered['height'].iloc[at]:.0f} x {ordered['width'].iloc[at]:.0f}" for at in (0, len(ordered) // 2, -1)]
    said = "height x width: {} smallest, {} median, {} largest".format(*found)
    return f"{said}; the model receives {part.height} x {part.width}"


def suffix(path: str) -> str:
    """The end of a file's name as a format.

    >>> suffix("film.mp4")
    'MP4'
    """
    return os.path.splitext(path)[1][1:].upper() or "no name"
