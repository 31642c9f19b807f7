"""Does this sentence belong to this picture? Pairs that match, and pairs that do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.errors import InputError, unknown
from mmkeras.records import Records
from mmkeras.records.ledger import Ledger
from mmkeras.retrieval.items import values_of
from mmkeras.schema import Schema
from mmkeras.targets import Category

DRAWS = 20  # times that a partner is sampled before all rows are searched


@checked_keywords
def negative_pairs(
    records: Records,
    name: str,
    target: str = "match",
    *,
    differing: str | None = None,
    copies: int = 1,
    seed: int = 0,
) -> Records:
    """Rows that match and rows that do not, to train a classifier (image-text matching in ALBEF: Li et al., 2021).

    Every row is there unchanged, with "yes" in the column of a new target, and `copies` times with "no" and the value
    of the input `name` of another row. That value is sampled from the rows, so a frequent one is frequent in both; it
    is never one that the table has with the same other inputs. Split the records before, so that no value comes from
    another split.

    Args:
        records: `Records`, its schema fitted or not.
        name: of the input that is exchanged. Rows in which it is missing are left out.
        target: name of the new target and its column.
        differing: name of a target or column in which the other row must have another value (of `Labels`, none in
            common). Use it if values of different rows can match (any recording of a seven belongs to any picture of
            one).
        copies: rows of "no" for each of "yes", sampled independently.
        seed: of the sampling.

    Returns:
        `Records`, the rows of "yes" before those of "no". The schema has the inputs and the one target
        `Category(classes=["no", "yes"])`. The index of the frame is a pair, the table's name (with ", negative_pairs"
        after it for "no") and the row's number there; so is the "row" of the ledger, which begins with the ledger of
        the records.

    Raises:
        InputError: an unknown input or column, one input alone, a column of the target's name, an empty cell of
            `differing`, a row without a possible partner.

    >>> from mmkeras.records import read
    >>> from mmkeras.schema import Text
    >>> table = pd.DataFrame({"de": ["rot", "blau"], "en": ["red", "blue"]})
    >>> negative_pairs(read(table, Schema({"de": Text(1), "en": Text(1)}, {})), "en").frame
                                   de    en match
    DataFrame                 0   rot   red   yes
                              1  blau  blue   yes
    DataFrame, negative_pairs 0   rot  blue    no
                              1  blau   red    no
    """
    _check(records, name, target, copies, seed)
    records = records.take(records.there(name))
    records.require_rows("negative_pairs")
    schema, frame = records.schema, records.frame
    columns = list(schema.columns(name))
    others = [column for other in schema.inputs if other != name for column in schema.columns(other)]
    value, beside = _numbers(frame[columns]), _numbers(frame[others])
    kinds = sparse.eye_array(len(frame), format="csr") if differing is None else _kinds(records, differing)
    parts, random = [_named(frame, records.name, "").assign(**{target: "yes"})], np.random.default_rng(seed)
    for copy in range(copies):
        partner = _partners(records, name, value, beside, kinds, random)
        wrong = _named(frame, records.name, ", negative_pairs" + (f" {copy + 1}" if copies > 1 else ""))
        wrong[columns] = frame[columns].to_numpy()[partner]
        parts.append(wrong.assign(**{target: "no"}))
    ledger = Ledger()
    for row, *cell in records.ledger.itertuples(index=False):
        ledger.add(_pair(row, records.name), *cell)
    schema = Schema(schema.inputs, {target: Category(classes=("no", "yes"))})
    return replace(records, schema=schema, frame=pd.concat(parts), entries=ledger)


def _check(records, name, target, copies, seed):
    if name not in records.schema.inputs:
        raise unknown("input", name, records.schema.inputs, where="negative_pairs: ")
    if len(records.schema.inputs) < 2:
        raise InputError(f"negative_pairs: expected at least two inputs, received {name!r} alone")
    if target in records.frame.columns:
        raise InputError(
            f"negative_pairs: {records.name} has a column {target!r} already; expected another name for target"
        )
    check_whole(copies, "copies", "negative_pairs: ")
    check_whole(seed, "seed", "negative_pairs: ", least=0)


def _numbers(frame):
    """The number of each row among the distinct rows of a DataFrame: `(rows,)` int."""
    return frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()


def _kinds(records, differing):
    """`(rows, values)` sparse, 1 where a row has a value of a target or column; every row has one."""
    target = records.schema.targets.get(differing)
    kinds = values_of(records, differing, "negative_pairs: differing: ")[0]
    empty = np.flatnonzero(kinds.sum(axis=1) == 0)
    if len(empty):
        column = differing if target is None else records.schema.column(differing)
        raise InputError(f"{records.where(empty[0], column)}: expected a value for differing, found nothing")
    return kinds


def _partners(records, name, value, beside, kinds, random):
    """For each row the position of the one whose value it gets."""
    count = len(value)
    known = np.unique(beside * count + value)

    def match(rows, partners):
        alike = kinds[rows].multiply(kinds[partners]).sum(axis=1) > 0
        return np.isin(beside[rows] * count + value[partners], known) | alike

    partner, rows = random.integers(count, size=count), np.arange(count)
    for _ in range(DRAWS):
        rows = rows[match(rows, partner[rows])]
        partner[rows] = random.integers(count, size=len(rows))
    for row in rows[match(rows, partner[rows])]:
        good = np.flatnonzero(~match(np.full(count, row), np.arange(count)))
        if not len(good):
            place = records.where(row, records.schema.column(name))
            raise InputError(f"{place}: expected another row whose value does not belong to this one, found none")
        partner[row] = random.choice(good)
    return partner


def _pair(row, name):
    return row if isinstance(row, tuple) else (name, row)


def _named(frame, name, note):
    """The frame with pairs as index: the table's name with a note after it, and the row's number."""
    pairs = [_pair(row, name) for row in frame.index]
    return frame.set_axis(pd.MultiIndex.from_tuples([(table + note, row) for table, row in pairs]), axis=0)
