"""Cells of numbers and words to one vector of numbers a row."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.spelling import characters_of, keys
from mmkeras.inputs import Tabular
from mmkeras.spelling import key

ROUNDING = 0.25  # the largest rounding of a number to float32, as a share of the column's standard deviation
_NUMBER = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"


def _numbers(cells, std=None):
    """Cells as float32, 0 where there is no finite number that float32 holds; and whether there is one.

    With `std` `(columns,)`, a number that is rounded by more than a quarter of it counts as none.
    """
    number = tf.strings.regex_full_match(cells, _NUMBER)
    values = tf.strings.to_number(tf.strings.strip(tf.where(number, cells, "0")), tf.float64)
    good = number & (tf.abs(values) <= tf.float32.max)
    single = tf.cast(tf.where(good, values, 0), tf.float32)
    if std is not None:
        good &= tf.abs(tf.cast(single, tf.float64) - values) <= ROUNDING * tf.constant(std, tf.float64)
        single = tf.where(good, single, 0)
    return single, good


def no_number(cells: Any) -> np.ndarray:
    """Whether each cell holds something else than a finite number, and is no hole: bool array like `cells` of str.

    >>> no_number(["2.5", "", "-1e3", "x", "1e99"]).tolist()
    [False, False, False, True, True]
    """
    cells = tf.constant(cells, tf.string)
    return (~_numbers(cells)[1] & (tf.strings.strip(cells) != "")).numpy()


def rounded(cells: Any, std: Sequence[float]) -> np.ndarray:
    """Whether each cell holds a number that float32 rounds by more than a quarter of its column's `std`: bool array.

    >>> rounded([["1700000010"], ["1024"], ["x"]], [30.0]).ravel().tolist()
    [True, False, False]
    """
    cells = tf.constant(cells, tf.string)
    return (_numbers(cells)[1] & ~_numbers(cells, std)[1]).numpy()


def numbers_in(cells: np.ndarray) -> np.ndarray:
    """The numbers in cells `(n,)` of str: int64 if all are whole and fit, else float64; all else is left out.

    >>> numbers_in(np.array(["1700000000123456789", ""])).tolist(), numbers_in(np.array(["1", "2.5", "x"])).tolist()
    ([1700000000123456789], [1.0, 2.5])
    """
    found = pd.to_numeric(pd.Series(cells[cells != ""], dtype=object), errors="coerce").to_numpy()
    if found.dtype.kind in "iu":
        return found
    found = found.astype(np.float64)
    return found[~np.isnan(found)]


def lookups(feature: Tabular) -> list[keras.layers.StringLookup]:
    """For each categorical column of a fitted `Tabular` a Keras layer from the keys of its words to their numbers."""
    columns = zip(feature.vocabularies, feature.spellings, strict=True)
    listed = [[key(word, spelling) for word in words] for words, spelling in columns]
    return [keras.layers.StringLookup(vocabulary=words, mask_token="") for words in listed]


def decode_tabular(
    cells: tf.Tensor, feature: Tabular, tables: Sequence[keras.layers.StringLookup]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rows of cells.

    Args:
        cells: `(rows, columns)`, string: first the numbers, then the words.
        feature: fitted `Tabular`.
        tables: of `lookups`.

    Returns:
        `(rows, 2 * numeric + categorical)` float32, as `Tabular` documents; and `(rows,)` bool, False where a cell
        that should hold a number holds something else.
    """
    count = len(feature.numeric)
    values, there = _numbers(cells[:, :count], feature.std)
    columns = zip(tables, feature.spellings, map(characters_of, feature.vocabularies), strict=True)
    words = [
        tf.cast(table(keys(cells[:, count + place], spelling, characters)), tf.float32)
        for place, (table, spelling, characters) in enumerate(columns)
    ]
    vector = tf.concat([values, tf.cast(there, tf.float32), *(word[:, None] for word in words)], axis=1)
    good = tf.reduce_all(there | (tf.strings.strip(cells[:, :count]) == ""), axis=1)
    return tf.ensure_shape(vector, (None, *feature.shape)), good
