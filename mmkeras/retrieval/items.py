"""The distinct values of an input, their vectors, and what their rows say of them."""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import sparse

from mmkeras.decode.graph import plain
from mmkeras.errors import InputError, unknown
from mmkeras.pipeline.gather import gatherer
from mmkeras.records import Records
from mmkeras.records.manifest import cells
from mmkeras.schema import Labels
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

    def __len__(self):
        return len(self.first)

    @property
    def feature(self):
        """The schema's entry."""
        return self.records.schema.inputs[self.name]

    def row(self, items):
        """The number in the table of the first row of these items `(n,)`: list."""
        return self.records.frame.index[self.first[items]].tolist()

    def value(self, items):
        """The cells of these items `(n,)` as str; several columns joined by commas."""
        values = self.records.values(self.name)[self.first[items]]
        return values if values.ndim == 1 else [", ".join(row) for row in values]

    def of_rows(self, rows, where):
        """The items `(n,)` of rows of the table."""
        if isinstance(rows, str) or not np.iterable(rows) or not len(rows):
            raise InputError(f"{where}expected rows to be a list of at least one row, received {rows!r}")
        index = self.records.frame.index
        for row in rows:
            if row not in index:
                raise InputError(f"{where}expected rows of {self.records.name}, received {row!r}")
        items = self.of_row[[index.get_loc(row) for row in rows]]
        if (items < 0).any():
            raise InputError(f"{where}row {rows[int(np.argmin(items))]!r}: {self.name!r} is missing")
        return items


def find_items(records, name):
    """The `Items` of one input of readable records. Raises `InputError` where no row has it."""
    there, of_row = records.there(name), np.full(len(records), -1)
    if not there.any():
        raise InputError(f"{records.name}: {name!r}: expected at least one row that has it, found none")
    of_row[there] = pd.factorize(records.distinct(name)[1][there])[0]
    number, first = np.unique(of_row, return_index=True)
    return Items(records, name, of_row, first[number >= 0])


def embed(items, encoder, batch_size):
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
        raise InputError(f"{where}expected a keras.Model, received {encoder!r}")
    given = {key: kind for key, kind in items.records.schema.model_inputs.items() if key in (name, f"{name}_length")}
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
        values = gather(rows, 0)  # what of it is not taken is pruned from the graph
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


def shares(items, relevant, where):
    """What makes items right for one another: `(items, values)` sparse, above 0 where an item has a value.

    Args:
        items: `Items`.
        relevant: name of a target or column; None: the rows themselves.
        where: beginning of messages.
    """
    rows = np.flatnonzero(items.of_row >= 0)
    shape = (len(items), len(items.of_row))
    has = sparse.csr_array((np.ones(len(rows), np.float32), (items.of_row[rows], rows)), shape)
    return has if relevant is None else has @ values_of(items.records, relevant, where)[0]


def labels_of(items, relevant, where):
    """The values of a target or column: `(items,)` list of lists, those that each item's rows have; and list of all."""
    words = values_of(items.records, relevant, where)[1]
    return [[words[place] for place in sorted(row)] for row in shares(items, relevant, where).tolil().rows], words


def values_of(records, name, where):
    """`(rows, values)` sparse, 1 where a row has a value of a target or column; and the values, sorted."""
    target = records.schema.targets.get(name)
    column = name if target is None else records.schema.column(name)
    if column not in records.frame.columns:
        raise unknown("target or column", name, {*records.schema.targets, *records.frame.columns}, where=where)
    filled = cells(records.frame[column]).to_numpy(dtype=object)
    if isinstance(target, Labels):
        return sparse.csr_array(target.encode(filled)[0]), list(target.classes)
    words = target.classes if getattr(target, "classes", None) else sorted(set(filled) - {""}, key=natural)
    number = pd.Index(words).get_indexer(filled)
    rows = np.flatnonzero(number >= 0)
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_array((ones, (rows, number[rows])), (len(filled), len(words))), list(words)
