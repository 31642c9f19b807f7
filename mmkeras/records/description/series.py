"""How traces of sensors are described."""

import itertools

import numpy as np
import pandas as pd

from mmkeras.decode.files import open_file, open_npy, short_lines
from mmkeras.inputs import Series
from mmkeras.records.description.base import register
from mmkeras.records.description.files import FileDescriber, counts


@register(Series)
class SeriesDescriber(FileDescriber):
    """Its table: file, kind, steps, channels."""

    columns = ("kind", "steps", "channels")
    measure = "steps"
    whole = True
    title = "steps of series"

    def header(self, path: str) -> tuple[str, int, int]:
        """Kind, steps and channels of a .npy or CSV file."""
        with open_file(path) as file:
            magic = file.read(6)
            file.seek(0)
            if magic != np.lib.format.MAGIC_PREFIX:
                return "CSV", *_rows(file)
            steps, *channels = open_npy(file).shape
            if len(channels) > 1:
                raise ValueError("expected (steps,) or (steps, channels)")
            return "NPY", steps, channels[0] if channels else 1

    def limit(self, part: Series) -> tuple[float, str]:
        """The steps that are kept."""
        return part.length, f"length={part.length}"

    def more(self, part: Series, readable: pd.DataFrame) -> list[str]:
        """The numbers of channels."""
        return [f"{counts(readable['channels'], 'channels')}; the model receives {part.channels}"]


def _rows(file):
    """Number of rows below a header, if there is one, and of columns in an open CSV file."""
    lines = (line for line in short_lines(file) if not line.isspace())
    first = [_cells(line) for line in itertools.islice(lines, 2)]
    good = [cells for cells in first if None not in cells]
    if not good or (len(first) == 2 and first[1] not in good):
        raise ValueError("no numbers")
    return len(good) + sum(1 for _ in lines), len(good[0])


def _cells(line):
    """The numbers in a line of a CSV file; None has none."""
    text = line.decode("utf-8-sig").strip()
    delimiter = next((mark for mark in ",;\t" if mark in text), None)
    return [_number(cell) for cell in text.split(delimiter)]


def _number(cell):
    try:
        return float(cell) if cell.strip() else np.nan
    except ValueError:
        return None
