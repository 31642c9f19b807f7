"""Cells of numbers and words to one vector of numbers a row."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkeras.decode.spelling import characters_of, keys
from mmkeras.inputs import Tabular
from mmkeras.spelling import key

_NUMBER = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"


def _numbers(cells):
    """Cells as float32, 0 where there is no finite number; and whether there is one."""
    number = tf.strings.regex_full_match(cells, _NUMBER)
    values = tf.strings.to_number(tf.strings.strip(tf.where(number, cells, "0")), tf.float64)
    good = number & (tf.abs(values) <= tf.float32.max)
    return tf.cast(tf.where(good, values, 0), tf.float32), good


def no_number(cells: Any) -> np.ndarray:
    """Whether each cell holds something else than a finite number, and is no hole: bool array like `cells` of str.

    >>> no_number(["2.5", "", "-1e3", "x", "1e99"]).tolist()
    [False, False, False, True, True]
    """
    cells = tf.constant(cells, tf.string)
    return (~_numbers(cells)[1] & (tf.strings.strip(cells) != "")).numpy()


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
    values, there = _numbers(cells[:, :count])
    columns = zip(tables, feature.spellings, map(characters_of, feature.vocabularies), strict=True)
    words = [
        tf.cast(table(keys(cells[:, count + place], spelling, characters)), tf.float32)
        for place, (table, spelling, characters) in enumerate(columns)
    ]
    vector = tf.concat([values, tf.cast(there, tf.float32), *(word[:, None] for word in words)], axis=1)
    good = tf.reduce_all(there | (tf.strings.strip(cells[:, :count]) == ""), axis=1)
    return tf.ensure_shape(vector, (None, *feature.shape)), good
