"""A table of samples, checked against a schema, and its splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real

import keras
import numpy as np
import pandas as pd

from mmkeras import decode
from mmkeras.errors import InputError, unknown
from mmkeras.records.description import describe
from mmkeras.records.ledger import ACTIONS, Bad, Ledger, leave_out
from mmkeras.records.manifest import cells, join, load
from mmkeras.records.splits import Splits, assign
from mmkeras.schema import Audio, Image, Number, Schema


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of a table that were checked against a schema.

    Attributes:
        schema: the `Schema`.
        frame: DataFrame with the table's own columns; its index is the row's number in the table, from 0.
        name: the table's name in messages.
        on_bad: "raise" or "drop": what is done about a bad cell, here and when files are decoded.
        bad_limit: largest share of rows that may be dropped.
    """

    schema: Schema
    frame: pd.DataFrame
    name: str
    on_bad: str = "raise"
    bad_limit: float = 0.1
    entries: Ledger = field(default_factory=Ledger, repr=False)

    def __len__(self):
        return len(self.frame)

    def __repr__(self):
        return f"<Records {self.name}: {len(self)} rows, {', '.join(self.schema.parts)}>"

    @property
    def ledger(self):
        """The bad cells of the whole table that are known so far: DataFrame of row, column, value and reason.

        `records.ledger.to_json("bad.jsonl", orient="records", lines=True)` keeps it as JSON Lines.
        """
        return self.entries.frame()

    def describe(self, *, limit=1000):
        """What these rows hold, as a `Description` to print or to draw; see `mmkeras.records.description.describe`."""
        return describe(self, limit=limit)

    def values(self, name):
        """The cells of the input or target `name`: `(rows,)` array of str."""
        return self._column(self.schema.column(name)).to_numpy(dtype=object)

    def take(self, rows):
        """The Records of the given positions or boolean mask `(rows,)`, with the same schema."""
        return replace(self, frame=self.frame.iloc[rows] if len(rows) else self.frame.iloc[:0])

    def where(self, position, name):
        """The place of one cell, as messages give it: table, row and column."""
        return f"{self.name} row {self.frame.index[position]}: {self.schema.column(name)!r}"

    def fit(self):
        """These records with the schema fitted on them: vocabularies and classes that were not given."""
        values = {
            name: decode.words(self.values(name)) if name in self.schema.inputs else self.values(name)
            for name in self.schema.unfitted
        }
        try:
            return replace(self, schema=self.schema.fit(values))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error

    def split(self, by, *, val=None, group=None, stratify=None, seed=0):
        """Divide the rows.

        Args:
            by: the name of the column that says which split a row belongs to; or a dict of fractions that add up
                to 1, as `{"train": 0.8, "val": 0.1, "test": 0.1}`.
            val: fraction of the rows of "train" that becomes "val" where the column has none.
            group: column whose equal values stay in one split (a person, a picture).
            stratify: column whose values are spread evenly over the splits.
            seed: of the random division.

        Returns:
            `Splits`, whose schema is fitted on "train".

        Raises:
            InputError: no such column, no "train" in it, empty cells, or fractions that do not add up to 1.
        """
        options = {"group": group, "stratify": stratify, "seed": seed}
        if isinstance(by, Mapping):
            parts = self._divide(by, **options)
        else:
            labels = self._filled(by, "a split")
            parts = {label: self.take(labels == label) for label in pd.unique(labels)}
        if "train" not in parts:
            raise InputError(f"{self.name}: expected a split named 'train', received {', '.join(parts) or 'none'}")
        if val is not None:
            if "val" in parts:
                raise InputError(f"{self.name}: val={val!r} was asked for, but {by!r} has a 'val' already")
            if not isinstance(val, Real) or not 0 < val < 1:
                raise InputError(f"split: expected val to be a fraction between 0 and 1, received {val!r}")
            parts.update(parts["train"]._divide({"train": 1 - val, "val": val}, **options))
        schema = parts["train"].fit().schema
        return Splits(schema, {name: replace(part, schema=schema) for name, part in parts.items()})

    def _column(self, column):
        if column not in self.frame.columns:
            raise unknown("column", column, self.frame.columns, where=f"{self.name}: ")
        return self.frame[column]

    def _filled(self, column, what):
        """The cells of a column that may not have holes, as `(rows,)` array of str."""
        values = cells(self._column(column)).to_numpy(dtype=object)
        if (values == "").any():
            row = self.frame.index[np.flatnonzero(values == "")[0]]
            raise InputError(f"{self.name} row {row}: {column!r}: expected {what}, found nothing")
        return values

    def _divide(self, fractions, *, group, stratify, seed):
        numbers = all(isinstance(share, Real) and share > 0 for share in fractions.values())
        if not numbers or abs(sum(fractions.values()) - 1) > 1e-6:
            raise InputError(f"split: expected fractions above 0 that add up to 1, received {dict(fractions)}")
        if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
            raise InputError(f"split: expected seed to be a whole number from 0 on, received {seed!r}")
        unit = np.arange(len(self)) if group is None else pd.factorize(self._filled(group, "a group"))[0]
        stratum = np.zeros(len(self), int) if stratify is None else pd.factorize(self._column(stratify))[0]
        shares = np.array(list(fractions.values()), dtype=float)
        part = assign(unit, stratum, shares, np.random.default_rng(seed))
        parts = {name: self.take(part == number) for number, name in enumerate(fractions)}
        for name, rows in parts.items():
            if not len(rows):
                raise InputError(
                    f"{self.name}: split {name!r} would hold no row: {fractions[name]} of {len(self)} rows"
                    + (f" in {len(np.unique(unit))} groups" if group else "")
                )
        return parts


def read(source, schema, *, targets=True, on_bad="raise", bad_limit=0.1, check="paths"):
    """Read and check a table of samples.

    Args:
        source: path or URL of a table (CSV with , ; tab or |; JSON Lines; Parquet) or of a folder for each class, or
            a DataFrame. Paths in the cells of pictures and recordings are relative to the table (for a DataFrame: to
            the working directory), absolute, or URLs of any scheme that `tf.io.gfile` reads.
        schema: `Schema`, fitted or not.
        targets: False for a table without the targets' columns, to predict on.
        on_bad: "raise": a bad cell (empty, no such file, a file that cannot be decoded) is an error; "drop": its row is
            left out with a warning and goes into `records.ledger`, now or when the file is decoded.
        bad_limit: largest share of the rows that may be left out, 0 to 1; beyond it, an error after all.
        check: "paths": whether the files are there; "decode": also whether they can be decoded, which takes a pass over
            all of them, with a progress bar.

    Returns:
        `Records`.

    Raises:
        InputError: with table, row and column: no such column, an empty cell, a file that is not there.

    >>> import pandas as pd
    >>> from mmkeras.schema import Category, Text
    >>> schema = Schema(inputs={"review": Text(length=8)}, targets={"liked": Category()})
    >>> len(read(pd.DataFrame({"review": ["good", "bad"], "liked": ["yes", "no"]}), schema))
    2
    """
    if not isinstance(schema, Schema):
        raise InputError(f"read: expected a Schema, received {schema!r}")
    for option, value, known in (("on_bad", on_bad, ACTIONS), ("check", check, ("paths", "decode"))):
        if value not in known:
            raise unknown(f"value of {option}", value, known, where="read: ")
    if isinstance(bad_limit, bool) or not isinstance(bad_limit, Real) or not 0 <= bad_limit <= 1:
        raise InputError(f"read: expected bad_limit to be from 0 to 1, received {bad_limit!r}")
    frame, name, folder = load(source)
    wanted = schema.parts if targets else schema.inputs
    for part in wanted:
        if schema.column(part) not in frame.columns:
            raise unknown("column", schema.column(part), frame.columns, where=f"{name}: ")
    if frame.empty:
        raise InputError(f"{name}: expected at least one row, found none")
    frame = frame.assign(**{schema.column(part): cells(frame[schema.column(part)]) for part in wanted})
    records = Records(schema, frame, name, on_bad, bad_limit)
    files = [part for part in wanted if isinstance(schema.parts[part], (Image, Audio))]
    bad = [cell for part in wanted for cell in _bad_cells(records, part)]
    for part in files:
        bad += _find_files(records, part, folder)
    records = leave_out(records, bad)
    if check == "decode":
        records = leave_out(records, [cell for part in files for cell in _undecodable(records, part)])
    return records


def _bad_cells(records, name):
    """The empty cells of a part that has to be there, and those of a `Number` that hold none."""
    part, bad = records.schema.parts[name], []
    if isinstance(part, Number):
        values = records.values(name)
        _, number = part.encode(values)
        wrong = np.flatnonzero(~number & (values != ""))
        bad = [Bad(int(position), name, values[position], f"expected {part.expected}") for position in wrong]
    if getattr(part, "optional", False):
        return bad
    positions = np.flatnonzero(records.values(name) == "")
    return bad + [Bad(int(position), name, "", "expected a value, found nothing") for position in positions]


def _find_files(records, name, folder):
    """Make the paths of one column absolute; the bad ones. Every distinct file is looked up once."""
    number, distinct = pd.factorize(records.values(name))
    paths = [join(folder, value) if value else "" for value in distinct]
    reasons = [decode.path_reason(path) if path else None for path in paths]
    records.frame[records.schema.column(name)] = np.array(paths, dtype=object)[number]
    positions = np.flatnonzero(np.array([reason is not None for reason in reasons])[number])
    return [
        Bad(int(position), name, distinct[number[position]], f"{reasons[number[position]]} in {folder}")
        for position in positions
    ]


def _undecodable(records, name):
    number, distinct = pd.factorize(records.values(name))
    feature = records.schema.inputs[name]
    bar = keras.utils.Progbar(len(distinct), unit_name=f"file of {name!r}")
    status = np.concatenate([status for _, status in decode.in_chunks(feature, distinct, bar)])
    positions = np.flatnonzero((status != decode.OK)[number])
    return [
        Bad(int(position), name, distinct[number[position]], decode.reason(feature, distinct[number[position]]))
        for position in positions
    ]
