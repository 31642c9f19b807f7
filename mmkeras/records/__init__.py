"""A table of samples, checked against a schema, and its splits."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

from mmkeras.checks import check_choice, check_number, check_switch, check_whole, checked_keywords, is_number, is_whole
from mmkeras.decode import codec_of
from mmkeras.decode.access import MAX_BYTES, Access
from mmkeras.decode.files import is_url
from mmkeras.errors import InputError, shown, unknown, warn
from mmkeras.records import checks
from mmkeras.records.asked import check_apart, lacking, other_encoding, warn_of_copies
from mmkeras.records.description import Description, describe
from mmkeras.records.ledger import ACTIONS, Ledger, settle
from mmkeras.records.manifest import cells, labels_of, load
from mmkeras.records.splits import Splits, assign, strata
from mmkeras.records.twins import across, sentences
from mmkeras.records.values import as_cells
from mmkeras.schema import Schema
from mmkeras.spelling import clean


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of a table that were checked against a schema.

    Attributes:
        schema: the `Schema`.
        frame: DataFrame with the table's own columns; its index is the row's number in the table, from 0; of several
            tables (`combine`) it is the pair of the table's name and that number.
        name: the table's name in messages.
        on_bad: "raise", "drop" or "missing": the treatment of bad cells, here and when files are decoded.
        bad_limit: largest share of rows that may hold bad cells.
        memory: GiB of decoded values that are kept in main memory, in the whole process; the rest is in `cache`.
        cache: folder for temporary files; None: the system's.
        access: what may be opened for these rows, now and later.
        common: sentences about the files and rows that another split has as well.
        labels: of a DataFrame whose rows are not numbered from 0 its index, for all rows that were read; else None.
    """

    schema: Schema
    frame: pd.DataFrame
    name: str
    on_bad: str = "raise"
    bad_limit: float = 0.1
    memory: float = 4.0
    cache: str | os.PathLike | None = None
    access: Access = field(default=Access(urls=True), repr=False)
    entries: Ledger = field(default_factory=Ledger, repr=False)
    common: tuple[str, ...] = field(default=(), repr=False)
    labels: pd.Index | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def index(self) -> pd.Index:
        """The index of predictions: that of the DataFrame that was read, or the numbers of the rows in the table."""
        return self.frame.index if self.labels is None else self.labels.take(self.frame.index)

    def __repr__(self) -> str:
        return f"<Records {self.name}: {len(self)} rows, {', '.join(self.schema.parts)}>"

    @property
    def ledger(self) -> pd.DataFrame:
        """The bad cells of the whole table that are known so far: DataFrame of row, column, value and reason.

        `records.ledger.to_json("bad.jsonl", orient="records", lines=True)` keeps it as JSON Lines.
        """
        return self.entries.frame()

    @checked_keywords
    def describe(self, *, limit: int = 1000) -> Description:
        """A `Description` of these rows, to print or to draw; see `mmkeras.records.description.describe`."""
        return describe(self, limit=limit)

    def values(self, name: str) -> np.ndarray:
        """The cells of the input or target `name`: `(rows,)` array of str; of several cells a row `(rows, columns)`."""
        columns = [self._column(column).to_numpy(dtype=object) for column in self.schema.columns(name)]
        return np.stack(columns, axis=1) if self.schema.parts[name].several else columns[0]

    def allowed(self, name: str) -> np.ndarray:
        """As `values`; of an input or target of files "" in the place of a file that may not be opened."""
        part, values = self.schema.parts[name], self.values(name)
        return self.access.only(codec_of(part), values) if part.files else values

    def there(self, name: str) -> np.ndarray:
        """Whether each row has the input or target `name`: `(rows,)` bool; False where all its cells are empty."""
        return np.any([(self._column(column) != "").to_numpy(bool) for column in self.schema.columns(name)], axis=0)

    def filled(self, name: str) -> np.ndarray:
        """As `there`; with several files of one thing `(rows, columns)` bool, which of them a row has."""
        return self.there(name) if self.schema.parts[name].views is None else self.values(name) != ""

    def distinct(self, name: str) -> tuple[pd.Index | pd.DataFrame, np.ndarray]:
        """The distinct cells of one input or target, to be sliced like an array, and `(rows,)` which of them a row has.

        With several cells a row, as in `Tabular`, all rows count as distinct. With several files of one thing, a value
        is one file, and the second result is `(rows, columns)`.
        """
        part = self.schema.parts[name]
        if part.several and not part.files:
            return self.frame[list(self.schema.columns(name))], np.arange(len(self))
        values = self.values(name) if part.several else self._column(self.schema.column(name))
        number, distinct = pd.factorize(values.reshape(-1) if part.several else values)
        return distinct, number.reshape(values.shape)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Records":
        """The Records of the given positions or boolean mask `(rows,)`, with the same schema.

        Raises:
            InputError: something else, a position beyond the rows, a mask of another length.
        """
        given = np.asarray(rows)
        wrong = given.ndim != 1 or (given.size and given.dtype.kind not in "iub")
        if not wrong and given.size:
            count = len(self)
            wrong = (
                len(given) != count if given.dtype == bool else bool((given >= count).any() or (given < -count).any())
            )
        if wrong:
            raise InputError(
                f"take: expected positions of the {len(self)} rows, or a mask of as many bool, received {shown(rows)}"
            )
        return replace(self, frame=self.frame.iloc[rows] if len(rows) else self.frame.iloc[:0], common=())

    def where(self, position: int, column: str) -> str:
        """The place of one cell for messages: table, row and column."""
        row = self.frame.index[position]
        table, row = row if isinstance(row, tuple) else (self.name, row)
        return f"{table} row {row}: {column!r}"

    def fit(self) -> "Records":
        """These records with the schema fitted on them: vocabularies, classes, means that were not given."""
        values = {name: _to_fit(self, name) for name in self.schema.unfitted}
        try:
            records = replace(self, schema=self.schema.fit(values))
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        for said in checks.strangers(records):
            warn(said)
        return records

    def require_rows(self, purpose: str) -> None:
        """Raise an `InputError` unless there is at least one row."""
        if not len(self):
            raise InputError(f"{purpose}: expected at least one row of {self.name}, received none")

    @checked_keywords
    def split(
        self,
        by: str | Mapping[str, float],
        *,
        val: float | None = None,
        group: str | None = None,
        stratify: str | None = None,
        seed: int = 0,
        duplicates: bool = True,
    ) -> Splits:
        """Divide the rows.

        Args:
            by: the name of the column that says which split a row belongs to; or a dict of fractions that add up
                to 1, as `{"train": 0.8, "val": 0.1, "test": 0.1}`.
            val: fraction of the rows of "train" that becomes "val" where the column has none.
            group: column whose equal values stay in one split (a person, a picture).
            stratify: column whose values are spread evenly over the splits, and the fractions hold: of each value to
                within a row, and of all rows. A column of a `Number`, and numbers most of which differ, are divided
                into ten bins of equally many rows. With `group`, as evenly as whole groups allow.
            seed: of the random division.
            duplicates: whether to look for files of the same content and rows of the same inputs that stand in two
                splits, and to warn of them with figures (`Splits.common` has them, `describe` of a split says them).
                Of local files those of one size are read, as far as they are alike.

        Returns:
            `Splits`, whose schema is fitted on "train".

        Raises:
            InputError: no such column, no "train" in it, empty cells, fractions that do not add up to 1, or strata of
                one row each.
        """
        options = {"group": group, "stratify": stratify, "seed": seed}
        if not isinstance(by, Mapping | str) and not is_whole(by, 0):
            raise InputError(
                'split: expected the name of a column, or fractions as {"train": 0.8, "val": 0.1, "test": 0.1}, '
                f"received {shown(by)}"
            )
        if isinstance(by, Mapping):
            parts = self._divide(by, **options)
        else:
            labels = np.array([clean(label) for label in self._filled(by, "a split")], dtype=object)
            parts = {label: self.take(labels == label) for label in pd.unique(labels)}
        if "train" not in parts:
            raise InputError(f"{self.name}: expected a split named 'train', received {', '.join(parts) or 'none'}")
        if val is not None:
            if "val" in parts:
                raise InputError(f"{self.name}: val={val!r} was asked for, but {by!r} has a 'val' already")
            if not is_number(val, 0, above=True) or val >= 1:
                raise InputError(f"split: expected val to be a fraction between 0 and 1, received {shown(val)}")
            parts.update(parts["train"]._divide({"train": 1 - val, "val": val}, **options))
        schema = parts["train"].fit().schema
        parts = {name: replace(part, schema=schema) for name, part in parts.items()}
        return (
            self._compared(schema, parts)
            if check_switch(duplicates, "duplicates", "split: ")
            else Splits(schema, parts)
        )

    def _compared(self, schema, parts):
        """The splits, with what they have in common, of which it warns."""
        common = across(parts)
        said = sentences(common)
        if said:
            warn(
                f"{self.name}: {'; '.join(said)}: scores on such rows are too good. split(..., group=...) keeps the "
                "rows of one value of a column in one split; duplicates=False does not look for them"
            )
        sides = {name: common[(common["split"] == name) | (common["other"] == name)] for name in parts}
        parts = {name: replace(part, common=tuple(sentences(sides[name]))) for name, part in parts.items()}
        return Splits(schema, parts, common)

    def _column(self, column):
        column = str(column) if is_whole(column, 0) else column  # a DataFrame's columns may be numbered
        if not isinstance(column, str):
            raise InputError(f"{self.name}: expected the name of a column, received {shown(column)}")
        if column not in self.frame.columns:
            raise unknown("column", column, self.frame.columns, where=f"{self.name}: ")
        return self.frame[column]

    def _filled(self, column, what):
        """The cells of a column that may not have holes, as `(rows,)` array of str."""
        values = cells(self._column(column)).to_numpy(dtype=object)
        if (values == "").any():
            place = self.where(np.flatnonzero(values == "")[0], column)
            raise InputError(f"{place}: expected {what}, found nothing")
        return values

    def _strata(self, column):
        """The stratum of each row; those of a target that is a quantity are bins."""
        values = cells(self._column(column)).to_numpy(dtype=object)
        targets = self.schema.targets.items()
        continuous = any(target.continuous and column in target.table_columns(name) for name, target in targets)
        return strata(values, continuous, f"{self.name}: {column!r}")

    def _divide(self, fractions, *, group, stratify, seed):
        if (
            not all(is_number(share, 0, above=True) for share in fractions.values())
            or abs(sum(fractions.values()) - 1) > 1e-6
        ):
            raise InputError(f"split: expected fractions above 0 that add up to 1, received {shown(dict(fractions))}")
        check_whole(seed, "seed", "split: ", least=0)
        unit = np.arange(len(self)) if group is None else pd.factorize(self._filled(group, "a group"))[0]
        stratum = None if stratify is None else self._strata(stratify)
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


@checked_keywords
def read(
    source: str | os.PathLike | pd.DataFrame | Mapping | list,
    schema: Schema,
    *,
    targets: bool = True,
    missing: Collection[str] = (),
    on_bad: Literal["raise", "drop", "missing"] = "raise",
    bad_limit: float = 0.1,
    check: Literal["paths", "decode"] = "paths",
    memory: float = 4.0,
    cache: str | os.PathLike | None = None,
    encoding: str = "utf-8",
    confine: bool = False,
    urls: bool = False,
    max_bytes: int = MAX_BYTES,
    targets_as_inputs: bool = False,
) -> Records:
    """Read and check a table of samples.

    Args:
        source: path or URL of a table (CSV with , ; tab or |; JSON Lines; Parquet) or of a folder for each class, or
            a DataFrame, a dict of columns or a list of dicts. Paths in the cells of pictures and recordings are
            relative to the table (for a DataFrame: to the working directory), absolute, or with `urls=True` URLs.
            Regular files alone are read, no devices, pipes or files of /proc.
        schema: `Schema`, fitted or not.
        targets: False for a table without the targets' columns, to predict on.
        missing: names of the inputs and targets, all with `optional=True`, without columns in this table: they are
            missing in every row. Any other missing column is an error.
        on_bad: the treatment of a bad cell (empty, no such file, a file that cannot be decoded, a label that is no
            class), now or when files are decoded. "raise": an error. "drop": its row is left out. "missing": an
            optional input or target counts as missing, the row of any other is left out. The last two warn, and every
            such cell is in `records.ledger`.
        bad_limit: largest share of the rows that may hold bad cells, 0 to 1; above it, an error.
        check: "paths": whether the files are there; "decode": also whether they can be decoded, which takes a pass over
            all of them, with a progress bar.
        memory: GiB of decoded values that are kept in main memory, in the whole process; further ones are in files.
        cache: folder of these files, which are deleted when no longer needed; None: the system's for temporary files.
        encoding: of a table in text, as "cp1252"; UTF-16 and UTF-32 are told by the text itself.
        confine: True for a table of somebody else: its cells may name no file outside of the table's folder (for a
            DataFrame: of the working directory), be it by "..", an absolute path, a URL or a link. Such a cell is bad.
        urls: whether cells may be URLs: of the schemes that `tf.io.gfile` has here, "gs://" among them; http and https
            never. A table that is read from a URL may name files in its own folder without it.
        max_bytes: most bytes of one file, the table's and those that its cells name; of a table also when it is
            decompressed. 1 GiB; a larger one is an error or a bad cell. These three hold for everything that is made
            of the records later: batches, shards, descriptions, figures.
        targets_as_inputs: True allows a column to be both an input's and a target's, as for an autoencoder. Else it is
            refused: the model would be given what it is to predict.

    Returns:
        `Records`.

    Raises:
        InputError: with table, row and column: no such column, an empty cell, a file that is not there; a name in
            `missing` that is no part of the schema, is not optional, or has a column in the table; a column of a target
            that is an input's, too.

    >>> import pandas as pd
    >>> from mmkeras.schema import Category, Text
    >>> schema = Schema(inputs={"review": Text(length=8)}, targets={"liked": Category()})
    >>> len(read(pd.DataFrame({"review": ["good", "bad"], "liked": ["yes", "no"]}), schema))
    2
    """
    check_switch(targets, "targets", "read: ")
    check_choice(on_bad, "on_bad", ACTIONS, "read: ")
    check_choice(check, "check", ("paths", "decode"), "read: ")
    check_number(bad_limit, "bad_limit", "read: ", least=0, most=1)
    if memory != math.inf:
        check_number(memory, "memory", "read: ", least=0)
    rules = check_switch(confine, "confine", "read: "), check_switch(urls, "urls", "read: ")
    access = Access((), *rules, check_whole(max_bytes, "max_bytes", "read: "))
    if targets and not check_switch(targets_as_inputs, "targets_as_inputs", "read: "):
        check_apart(schema)
    frame, name, folder = load(source, encoding=encoding, max_bytes=access.max_bytes)
    access = replace(access, folders=(folder if is_url(folder) else os.path.realpath(folder),))
    wanted = schema.parts if targets else schema.inputs
    empty = lacking(schema, frame, missing, name)
    columns = list(dict.fromkeys(column for part in wanted if part not in missing for column in schema.columns(part)))
    for column in columns:
        if column not in frame.columns:
            raise InputError(str(unknown("column", column, frame.columns, where=f"{name}: ")) + other_encoding(frame))
    if frame.empty:
        raise InputError(f"{name}: expected at least one row, found none")
    made, bad = as_cells(schema, [part for part in wanted if part not in missing], frame)
    frame = frame.assign(**made, **dict.fromkeys(empty, ""))
    records = Records(schema, frame, name, on_bad, bad_limit, memory, cache, access, labels=labels_of(source))
    records = settle(records, bad)
    records = settle(records, checks.cells_and_paths(records, wanted, folder))
    if check == "decode":
        records = settle(records, [cell for part in wanted for cell in checks.undecodable(records, part)])
    if targets and not targets_as_inputs:
        warn_of_copies(records)
    for said in checks.strangers(records):
        warn(said)
    return records


def _to_fit(records, name):
    """The values that the input or target `name` is fitted on, as its `fit` documents."""
    part = records.schema.parts[name]
    if name in records.schema.targets and not part.files:
        return records.values(name)
    distinct, number = records.distinct(name)
    codec = codec_of(part)
    allowed = records.access.only(codec, distinct) if part.files else distinct
    return codec.to_fit(part, allowed, np.bincount(number.ravel(), minlength=len(distinct)))
