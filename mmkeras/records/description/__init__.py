"""The content of a table of samples: the spread of its classes, sentences, files and columns.

`describe` gives a `Description` to print or to draw. Each kind of input and target has an object that looks at its
cells, a `Describer`, in a file of its own; your own kind joins by `register`. A few lines are enough:

>>> class PointCloud:  # really a kind of input with this attribute
...     points = 1000
>>> @register(PointCloud)
... class PointCloudDescriber(FileDescriber):
...     columns = ("kind", "points")  # the results of `header`
...     measure = "points"  # the column whose spread is told, and drawn as a histogram
...     whole = True
...     title = "points of clouds"
...
...     def header(self, path):
...         return "NPY", len(np.load(path, mmap_mode="r"))
...
...     def limit(self, part):
...         return part.points, f"points={part.points}"
>>> table = pd.DataFrame({"file": ["a.npy", "b.npy"], "kind": ["NPY", "NPY"], "points": [200, 3000]})
>>> DESCRIBERS.of(PointCloud).lines(PointCloud, table, distinct=2)[1]
'points: 200 least, 1,600 median, 3,000 most; longer than points=1000: 50.0%'
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmkeras.checks import check_whole
from mmkeras.records.description import audio, category, image, number, series, tabular, text, video
from mmkeras.records.description.base import DESCRIBERS, Describer, Seen, register
from mmkeras.records.description.files import FileDescriber
from mmkeras.records.description.report import Description
from mmkeras.records.manifest import cells
from mmkeras.records.twins import within

if TYPE_CHECKING:
    from mmkeras.records import Records

__all__ = [
    "DESCRIBERS",
    "Describer",
    "Description",
    "FileDescriber",
    "Seen",
    "audio",
    "category",
    "describe",
    "image",
    "number",
    "register",
    "series",
    "tabular",
    "text",
    "video",
]


def describe(records: "Records", *, limit: int = 1000) -> Description:
    """Describe records.

    Args:
        records: `Records`.
        limit: most distinct files of a column whose headers are read; if there are more, this many at even distances.
            Files of the same content are looked for among all.

    Returns:
        `Description`.

    Raises:
        InputError: a limit that is no whole number above 0, an input or target of a kind without a describer.
    """
    check_whole(limit, "limit", "describe: ")
    overview, tables = {}, {}
    for name, part in records.schema.parts.items():
        columns = list(records.schema.columns(name))
        if not set(columns) <= set(records.frame):
            continue  # a table to predict on
        values = np.stack([cells(records.frame[column]).to_numpy(dtype=object) for column in columns], axis=1)
        seen = DESCRIBERS.of(part).look(part, values, limit, records.access)
        missing = int((values == "").all(axis=1).sum())
        column = columns[0] + f", ... ({len(columns)})" * (len(columns) > 1)
        overview[name] = (type(part).__name__, column, len(values), missing, seen.distinct, seen.looked_at)
        tables[name] = seen.table
    names = ["kind", "column", "rows", "missing", "distinct", "looked_at"]
    table = pd.DataFrame.from_dict(overview, orient="index", columns=names)
    return Description(records.name, records.schema, table, tables, (*within(records), *records.common))
