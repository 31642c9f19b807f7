"""Columns of numbers and of words."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError
from mmkeras.inputs.base import Input, check_numbers, check_positive, check_switches, most_frequent


@checked_keywords
@dataclass(frozen=True)
class Tabular(Input):
    """Several columns of numbers and of words from a fixed list, as one input.

    A cell may be empty: a hole. The model receives `(batch, 2 * numeric + categorical)`, float32: the numbers in their
    own units, 0 at a hole; then for each number 1, or 0 at a hole; then the numbers of the words: 0 for a hole, 1 for a
    word outside the vocabulary, from 2 on the vocabulary. With `optional=True` a row whose cells are all empty is
    missing.

    Args:
        numeric: names of the columns that hold numbers.
        categorical: names of the columns that hold one of several words.
        means, std: mean and standard deviation of each column of numbers, for the towers to standardise with (a hole
            becomes the mean); None: computed from the training rows.
        vocabularies: the words of each categorical column; None: taken from the training rows, most frequent first.
        limit: largest vocabulary that fitting makes for one column.
        optional: whether a row's cells may all be empty.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    means: Sequence[float] | None = None
    std: Sequence[float] | None = None
    vocabularies: Sequence[Sequence[str]] | None = None
    _: KW_ONLY
    limit: int = 1_000
    optional: bool = False
    dtype = "float32"
    wire = "cells"
    holes = True

    def __post_init__(self):
        for name in ("numeric", "categorical"):
            object.__setattr__(self, name, as_words("Tabular", name, getattr(self, name)))
        as_words("Tabular", "columns", self.columns)
        if not self.columns:
            raise InputError("Tabular: expected at least one column in numeric or categorical, received none")
        check_positive(self, int, "limit")
        check_switches(self, "optional")
        check_numbers(self, "means", len(self.numeric))
        check_numbers(self, "std", len(self.numeric), above=True)
        if self.vocabularies is not None:
            words = tuple(as_words("Tabular", "vocabularies", words) for words in self.vocabularies)
            if len(words) != len(self.categorical) or any("" in one for one in words):
                raise InputError(
                    f"Tabular: expected vocabularies to be a list of words for each of {list(self.categorical)}, "
                    f"received {self.vocabularies!r}"
                )
            object.__setattr__(self, "vocabularies", words)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns: first those of numbers, then those of words."""
        return (*self.numeric, *self.categorical)

    def table_columns(self, name: str) -> tuple[str, ...]:
        """All columns."""
        return self.columns

    @property
    def shape(self) -> tuple[int, ...]:
        """`(2 * numeric + categorical,)`."""
        return (2 * len(self.numeric) + len(self.categorical),)

    @property
    def words(self) -> dict[str, Sequence[str]]:
        """The vocabulary of each categorical column, none before they are known."""
        return dict(zip(self.categorical, self.vocabularies or (), strict=False))

    @property
    def fitted(self) -> bool:
        """Whether means, standard deviations and vocabularies are known."""
        return None not in (self.means, self.std, self.vocabularies)

    def fit(self, cells: Sequence[np.ndarray]) -> "Tabular":
        """A copy fitted on `cells`, an array `(rows,)` for each column: float (NaN a hole) or str ("" a hole)."""
        count = len(self.numeric)
        for name, column in zip(self.numeric, cells[:count], strict=True):
            if np.isnan(column).all():
                raise InputError(f"Tabular: expected numbers in {name!r} to fit on, found none")
        for name, column in zip(self.categorical, cells[count:], strict=True):
            if self.vocabularies is None and not any(column):
                raise InputError(f"Tabular: expected words in {name!r} to fit on, found none: leave the column out")
        words = tuple(most_frequent(filter(None, column), self.limit) for column in cells[count:])
        return replace(
            self,
            means=self.means or tuple(float(np.nanmean(column)) for column in cells[:count]),
            std=self.std or tuple(float(np.nanstd(column)) or 1.0 for column in cells[:count]),
            vocabularies=self.vocabularies or words,
        )
