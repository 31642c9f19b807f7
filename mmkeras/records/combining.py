"""Several tables as one, to learn from together."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.records import Records
from mmkeras.records.ledger import Ledger

ALIKE = ("on_bad", "bad_limit", "memory", "cache")  # options of `read` that all rows have in common
ACCESS = ("confine", "urls", "max_bytes")  # so these, which `Records.access` holds


@checked_keywords
def combine(records: Mapping[str, Records], column: str = "source") -> Records:
    """The rows of several tables that were read with one schema, one table below the other.

    A table that has no columns for some of the schema's optional inputs and targets is read with `missing`: so one
    table can hold tasks that need only some of the modalities. A schema that is not fitted is fitted on the training
    rows of all tables.

    Args:
        records: dict of name -> `Records`; messages use the names, as `digits row 17`.
        column: of the result; it holds the name of each row's table, as for
            `batches(..., mix={"source": {"digits": 1, "questions": 3}})` or `split(..., stratify="source")`.

    Returns:
        `Records`, whose `frame` has a pair as index, (name of the table, number of the row there); so has the "row" of
        its ledger, which begins with the tables' ledgers. A column that a table does not have is empty there.

    Raises:
        InputError: schemas or options of `read` that are not the same, a column that a table has already, records
            that were combined before.

    >>> from mmkeras.records import read
    >>> from mmkeras.schema import Category, Schema, Text
    >>> schema = Schema({"review": Text(8, optional=True)}, {"liked": Category(["no", "yes"])})
    >>> good = read(pd.DataFrame({"review": ["fine", "bad"], "liked": ["yes", "no"]}), schema)
    >>> bare = read(pd.DataFrame({"liked": ["no"]}), schema, missing=["review"])
    >>> records = combine({"reviews": good, "votes": bare})
    >>> records.frame["source"].tolist(), records.where(2, "liked")
    (['reviews', 'reviews', 'votes'], "votes row 0: 'liked'")
    """
    _check(records, column)
    frame = pd.concat({name: part.frame.assign(**{column: name}) for name, part in records.items()})
    ledger = Ledger()
    for name, part in records.items():
        for row, *cell in part.ledger.itertuples(index=False):
            ledger.add((name, row), *cell)
    first = next(iter(records.values()))
    folders = tuple(dict.fromkeys(folder for part in records.values() for folder in part.access.folders))
    return replace(
        first,
        access=replace(first.access, folders=folders),
        frame=frame,
        name=" + ".join(records),
        entries=ledger,
        labels=None,
    )


def _check(records, column):
    if not isinstance(records, Mapping) or not records:
        raise InputError(f"combine: expected a dict of name -> Records, received {records!r}")
    for name, part in records.items():
        if not isinstance(name, str) or not name or not isinstance(part, Records):
            raise InputError(f"combine: expected a dict of name -> Records, received {name!r}: {part!r}")
        if part.frame.index.nlevels > 1:
            raise InputError(f"combine: {name!r}: expected one table, received {part.name}: combine all in one call")
        if not isinstance(column, str) or column in part.frame.columns:
            raise InputError(f"combine: expected column to be a name that no table has, {name!r} has {column!r}")
    (first, one), *others = records.items()
    for name, other in others:
        _check_schemas(first, one.schema, name, other.schema)
        for option in (*ALIKE, *ACCESS):
            values = [getattr(part.access if option in ACCESS else part, option) for part in (one, other)]
            if values[0] != values[1]:
                raise InputError(
                    f"combine: expected tables that were read alike, received {option}={values[0]!r} in {first!r} and "
                    f"{values[1]!r} in {name!r}"
                )


def _check_schemas(first, one, second, other):
    """Raise an `InputError` that names the first difference of two schemas."""
    if [*one.inputs, None, *one.targets] != [*other.inputs, None, *other.targets]:
        raise InputError(
            f"combine: expected one schema, received {', '.join(one.parts)} in {first!r} and "
            f"{', '.join(other.parts)} in {second!r}"
        )
    for part, value in one.parts.items():
        if value != other.parts[part]:
            raise InputError(
                f"combine: expected one schema, received {part!r}: {value!r} in {first!r} and {other.parts[part]!r} in "
                f"{second!r}"
            )
