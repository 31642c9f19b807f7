"""The codec of cells of numbers and words."""

from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.checks import of_a_date
from mmkeras.decode.base import OK, UNREADABLE, Codec, Decoded, Decoder
from mmkeras.decode.strangers import in_words
from mmkeras.decode.table import register
from mmkeras.decode.tabular import decode_tabular, lookups, no_number, numbers_in, rounded
from mmkeras.inputs import Tabular
from mmkeras.precision import ADVICE, collapsed


@register(Tabular)
class TabularCodec(Codec):
    """Cells as strings, numbers among them, in the table and as a client sends them."""

    format = "finite numbers"

    def from_files(self, feature: Tabular) -> Decoder:
        """`(rows, columns)` string, the cells."""
        return self.from_wire(feature)

    def from_wire(self, feature: Tabular) -> Decoder:
        """`(rows, columns)` string, the cells."""
        tables = lookups(feature)

        def decode(raw):
            values, good = decode_tabular(raw, feature, tables)
            return Decoded(values, tf.where(good, OK, UNREADABLE))

        return Decoder(decode, tables)

    def unknown(self, feature: Tabular, values: tf.Tensor, *raw: tf.Tensor) -> tf.Tensor:
        """Rows with a word outside its column's vocabulary."""
        return tf.reduce_any(values[:, 2 * len(feature.numeric) :] == 1, axis=1)

    def to_fit(self, feature: Tabular, distinct: Any, times: np.ndarray) -> list[np.ndarray]:
        """The columns: float, NaN at a hole, or str."""
        count = len(feature.numeric)
        columns = [distinct[column] for column in feature.columns]
        numbers = [pd.to_numeric(column, errors="coerce").to_numpy(float) for column in columns[:count]]
        return [*numbers, *(column.to_numpy(object) for column in columns[count:])]

    def sample(self, feature: Tabular, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Numbers around their means, holes, and numbers of words."""
        there = random.integers(0, 2, (rows, len(feature.numeric)))
        numbers = there * random.normal(feature.means, feature.std, there.shape)
        codes = random.integers(0, [len(words) + 2 for words in feature.vocabularies], (rows, len(feature.categorical)))
        return {"": np.concatenate([numbers, there, codes], axis=1).astype("float32")}

    def made_up(self, feature: Tabular) -> list[str]:
        """The means, and the first word of each vocabulary."""
        return [str(mean) for mean in feature.means] + [words[0] if words else "" for words in feature.vocabularies]

    def broken(self, feature: Tabular) -> list[str]:
        """Words in all columns."""
        return ["no number"] * len(feature.columns)

    def reason(self, feature: Tabular, value: str) -> str:
        """That numbers were expected."""
        return f"expected {self.format}"

    def wrong_cells(self, feature: Tabular, cells: np.ndarray) -> dict[int, tuple[np.ndarray, str]]:
        """What is no number, in the columns of numbers, and numbers that float32 cannot tell apart."""
        return {column: self._wrong(feature, column, cells[:, column]) for column in range(len(feature.numeric))}

    def _wrong(self, feature: Tabular, column: int, cells: np.ndarray) -> tuple[np.ndarray, str]:
        """The wrong cells of one column of numbers, and what was expected."""
        wrong = no_number(cells)
        if wrong.any():
            return wrong, f"expected a finite number{of_a_date(cells[wrong.argmax()])}"
        expected = "expected numbers that float32 can tell apart"
        if said := collapsed(numbers_in(cells)):
            return cells != "", f"{expected}, {said}: {ADVICE}, or read identifiers as words (categorical)"
        if feature.std is None:
            return wrong, expected
        std = feature.std[column]
        return rounded(cells, [std]), f"{expected}, with a standard deviation of {std:g}: {ADVICE}"

    def strangers(self, feature: Tabular, cells: np.ndarray) -> list[tuple[int, str]]:
        """Columns most of whose words are unknown."""
        return [(feature.columns.index(column), said) for column, said in in_words(feature, cells)]

    def card(self, feature: Tabular) -> str:
        """The columns."""
        return "cells: " + ", ".join(feature.columns)
