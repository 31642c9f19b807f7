"""The distinct values of an input, their vectors, and the labels of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import sparse

from mmkeras.decode import codec_of
from mmkeras.decode.graph import plain
from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Input
from mmkeras.pipeline import columns
from mmkeras.pipeline.gather import gatherer
from mmkeras.records import Records
from mmkeras.records.manifest import cells
from mmkeras.targets import Target
from mmkeras.targets.base import natural


@dataclass(frozen=True, eq=False)
class Items:
    """The distinct values of one input, in the order of the table.

    Attributes:
        records: `Records` all of whose rows are readable.
        name: of the input.
        of_row: `(rows,)` int, which item each row has, -1 where the input is missing.
        first: `(items,)` int, position of the first row of each item.
    """

    records: Records
    name: str
    of_row: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def feature(self) -> Input:
        """The schema's entry."""
        return self.records.schema.inputs[self.name]

    def row(self, items: np.ndarray) -> list:
        """The number in the table of the first row of these items `(n,)`: list."""
        return self.records.frame.index[self.first[items]].tolist()

    def value(self, items: np.ndarray) -> Sequence[str]:
        """The cells of these items `(n,)` as str; several columns joined by commas."""
        values = self.records.values(self.name)[self.first[items]]
        return values if values.ndim == 1 else [", ".join(row) for row in values]

    def decoded(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """These items `(n,)` as the model receives them, `(n, ...)`, and the length of each, `(n,)` int, or None.

        With several files a row, the first that is there.
        """
        decoded, feature = columns(self.records), self.feature.single
        kept = [decoded[key].take(self.first[items]) for key in (self.name, f"{self.name}_length") if key in decoded]
        if self.feature.views is not None:
            there = (kept[0].index != len(kept[0].values) - 1).argmax(axis=1)
            for column in kept:
                column.index = column.index[np.arange(len(there)), there]
        values, length = kept[0].array(), kept[1].array() if kept[1:] else None
        return codec_of(feature).window(feature, values, length), length

    def of_rows(self, rows: Sequence[Any], where: str) -> np.ndarray:
        """The items `(n,)` of rows of the table."""
        if isinstance(rows, str) or not np.iterable(rows) or not len(rows):
            raise InputError(f"{where}expected rows to be a list of at least one row, received {shown(rows)}")
        index = self.records.frame.index
        for row in rows:
            if row not in index:
                raise InputError(f"{where}expected rows of {self.records.name}, received {shown(row)}")
        items = self.of_row[[index.get_loc(row) for row in rows]]
        if (items < 0).any():
            raise InputError(f"{where}row {rows[int(np.argmin(items))]!r}: {self.name!r} is missing")
        return items


def find_items(records: Records, name: str) -> Items:
    """The `Items` of one input of readable records. Raises `InputError` where no row has it."""
    there, of_row = records.there(name), np.full(len(records), -1)
    if not there.any():
        raise InputError(f"{records.name}: {name!r}: expected at least one row that has it, found none")
    values = records.distinct(name)[1][there]
    of_row[there] = pd.factorize(
        values if values.ndim == 1 else pd.Index(list(map(tuple, values)), tupleize_cols=False)
    )[0]
    number, first = np.unique(of_row, return_index=True)
    return Items(records, name, of_row, first[number >= 0])


def embed(items: Items, encoder: keras.Model, batch_size: int) -> np.ndarray:
    """The vectors of items, `(items, dim)` float32 of unit length.

    Args:
        items: `Items`.
        encoder: `keras.Model` of the input.
        batch_size: items at a time.

    Raises:
        InputError: an encoder of other inputs, or one that does not give a vector other than zeros.
    """
    name, where = items.name, f"encoder of {items.name!r}: "
    if not isinstance(encoder, keras.Model):
        raise InputError(f"{where}expected a keras.Model, received {shown(encoder)}")
    given = items.records.schema.tower_inputs(name)
    names = [tensor.name for tensor in encoder.inputs]
    names = [name] if len(names) == 1 else names
    shapes = [tensor.shape[1:] for tensor in encoder.inputs]
    if not set(names) <= set(given) or not all(map(_fits, (given[key][0] for key in names), shapes)):
        received = {tensor.name: tuple(tensor.shape[1:]) for tensor in encoder.inputs}
        raise InputError(
            f"{where}expected the inputs { {key: kind[0] for key, kind in given.items()} }, received {received}"
        )
    gather = gatherer(items.records, training=False)

    def batch(rows):
        values = gather(rows, 0)  # unused tensors are pruned from the graph
        return values[name] if names == [name] else {key: values[key] for key in names}

    rows = tf.data.Dataset.from_tensor_slices(items.first.astype("int64")).batch(batch_size)
    vectors = np.asarray(encoder.predict(rows.map(plain(batch)).prefetch(2), verbose=0), np.float32)
    if vectors.ndim != 2:
        raise InputError(
            f"{where}expected vectors (batch, dim), received (batch, {', '.join(map(str, vectors.shape[1:]))})"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(length) | (length == 0))
    if len(bad):
        row = items.row(bad[:1])[0]
        raise InputError(
            f"{where}expected finite vectors other than zeros, received {vectors[bad[0], :3]} ... for row {row}"
        )
    return vectors / length


def _fits(shape, expected):
    return len(shape) == len(expected) and all(b in (a, None) for a, b in zip(shape, expected, strict=True))


def shares(items: Items, relevant: str | None, where: str) -> sparse.csr_array:
    """The values that right items have in common: `(items, values)` sparse, above 0 where an item has a value.

    Args:
        items: `Items`.
        relevant: name of a target or column; None: the rows themselves.
        where: beginning of messages.
    """
    rows = np.flatnonzero(items.of_row >= 0)
    shape = (len(items), len(items.of_row))
    has = sparse.csr_array((np.ones(len(rows), np.float32), (items.of_row[rows], rows)), shape)
    return has if relevant is None else has @ values_of(items.records, relevant, where)[0]


def labels_of(items: Items, relevant: str, where: str) -> tuple[list[list[str]], list[str]]:
    """The values of a target or column: `(items,)` list of lists, those that each item's rows have; and list of all."""
    words = values_of(items.records, relevant, where)[1]
    return [[words[place] for place in sorted(row)] for row in shares(items, relevant, where).tolil().rows], words


def values_of(records: Records, name: str, where: str) -> tuple[sparse.csr_array, list[str]]:
    """`(rows, values)` sparse, 1 where a row has a value of a target or column; and the values, sorted."""
    target = records.schema.targets.get(name)
    column = name if target is None else records.schema.column(name)
    if column not in records.frame.columns:
        raise unknown("target or column", name, {*records.schema.targets, *records.frame.columns}, where=where)
    number, distinct = pd.factorize(cells(records.frame[column]).to_numpy(dtype=object))
    held = [(target or Target()).values_of(cell) for cell in distinct]
    words = (target or Target()).classes or sorted(set().union(*held), key=natural)
    place = {word: at for at, word in enumerate(words)}
    at = [(row, place[word]) for row, cell in enumerate(held) for word in cell if word in place]
    rows, found = np.array(at, int).reshape(-1, 2).T
    shape = (len(distinct), len(words))
    has = sparse.csr_array((np.ones(len(rows), np.float32), (rows, found)), shape)
    return has[number], list(words)
