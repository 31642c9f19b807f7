"""Files of the same content, and rows of the same inputs: within a table, and on both sides of a split."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmkeras.decode import codec_of

if TYPE_CHECKING:
    from mmkeras.records import Records

PIECE = 4096  # bytes at the beginning, in the middle and at the end of a file, which are compared before all of it


class Contents(NamedTuple):
    """What the inputs of some rows hold.

    Attributes:
        files: dict of input -> `(rows, columns)` int, the number of each file's content, -1 where there is none.
        paths: dict of input -> `(rows, columns)` int, the number of each file's path.
        rows: `(rows,)` uint64, the same for rows of the same inputs.
    """

    files: dict[str, np.ndarray]
    paths: dict[str, np.ndarray]
    rows: np.ndarray


def contents(records: "Records") -> Contents:
    """What the inputs of all rows hold. Of local files those of one size are read, as far as they are alike."""
    files, paths, columns = {}, {}, []
    for name, part in records.schema.inputs.items():
        if not set(records.schema.columns(name)) <= set(records.frame):
            continue
        if not part.files:
            columns += list(_by_column(records.values(name)).T)
            continue
        distinct, number = records.distinct(name)
        number = _by_column(number)
        same = np.array(_numbers(distinct, records.access.only(codec_of(part), distinct)), int)
        paths[name] = number
        files[name] = same[number] if len(distinct) else number
        columns += list(files[name].T)
    table = pd.DataFrame(dict(enumerate(columns)), index=range(len(records)))
    return Contents(files, paths, pd.util.hash_pandas_object(table, index=False).to_numpy())


def _by_column(values):
    """Values `(rows,)` or `(rows, columns)` as `(rows, columns)`, also of no rows."""
    return values if values.ndim > 1 else values[:, None]


def _numbers(paths: Iterable[str], allowed: Iterable[str]) -> list[int]:
    """The number of each path's content, the same for the same bytes; -1 for no path.

    Args:
        paths: of the files.
        allowed: the same, with "" in the place of those that may not be opened.
    """
    paths = list(paths)
    keys: list[Any] = [_size(path) if path else None for path in allowed]
    sizes = Counter(keys)
    for place, (path, size) in enumerate(zip(paths, keys, strict=True)):
        keys[place] = path if size is None or sizes[size] < 2 else (size, _pieces(path, size))
    alike = Counter(keys)
    for place, key in enumerate(keys):
        if isinstance(key, tuple) and alike[key] > 1 and key[0] > 3 * PIECE:
            keys[place] = (*key, _hash(paths[place]))
    number: dict[Any, int] = {"": -1}
    return [number.setdefault(key, len(number)) for key in keys]


def _size(path):
    """The bytes of a local file; None for anything else."""
    try:
        found = os.stat(path)
    except (OSError, ValueError, TypeError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _pieces(path, size):
    try:
        with open(path, "rb") as file:
            pieces = [file.read(PIECE)]
            for start in (max(size // 2, PIECE), max(size - PIECE, 2 * PIECE)):
                file.seek(start)
                pieces.append(file.read(PIECE))
        return hashlib.sha256(b"".join(pieces)).digest()
    except OSError:
        return path


def _hash(path):
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return path


def within(records: "Records") -> list[str]:
    """Sentences about files of one content and rows of the same inputs in a table; none if there are none."""
    found = contents(records)
    said = []
    for name, number in found.files.items():
        pairs = pd.DataFrame({"content": number.ravel(), "path": found.paths[name].ravel()})
        pairs = pairs[pairs["content"] >= 0].drop_duplicates()
        if same := int(pairs["content"].duplicated(keep=False).sum()):
            said.append(f"{same:,} of {len(pairs):,} files of {name!r} have the same content as another")
    if same := int(pd.Series(found.rows).duplicated(keep=False).sum()):
        said.append(f"{same:,} of {len(records):,} rows have the same inputs as another")
    return said


def across(parts: Mapping[str, "Records"]) -> pd.DataFrame:
    """What every two splits have in common.

    Returns:
        DataFrame of split, other, what (an input of files, or "rows"), same (how many files or rows of the split are in
        the other one, too) and of (how many it has); a row for each that is not 0.
    """
    names = ["train", *(name for name in parts if name != "train")]
    found = contents(replace(parts["train"], frame=pd.concat([parts[name].frame for name in names])))
    ends = np.cumsum([len(parts[name]) for name in names])[:-1]
    table = []
    for what, number in {**found.files, "rows": found.rows}.items():
        values = dict(zip(names, np.split(number, ends), strict=True))
        for other, split in combinations(names, 2):
            own = values[split] if what == "rows" else np.unique(values[split][values[split] >= 0])
            table.append((split, other, what, int(np.isin(own, values[other]).sum()), len(own)))
    frame = pd.DataFrame(table, columns=["split", "other", "what", "same", "of"])
    return frame[frame["same"] > 0].reset_index(drop=True)


def sentences(common: pd.DataFrame) -> list[str]:
    """A sentence for each two splits of `across`."""
    said: dict[tuple[str, str], list[str]] = {}
    for split, other, what, same, total in common.itertuples(index=False):
        thing = "rows (by all inputs)" if what == "rows" else f"files of {what!r} (by content)"
        said.setdefault((split, other), []).append(f"{same:,} of {total:,} {thing}")
    return [f"{split!r} has in common with {other!r}: {', '.join(parts)}" for (split, other), parts in said.items()]
