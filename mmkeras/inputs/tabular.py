"""Columns of numbers and of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from mmkeras import spelling
from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError, shown
from mmkeras.inputs.base import Input, check_numbers, check_positive, check_switches, most_frequent
from mmkeras.precision import ADVICE, collapsed


@checked_keywords
@dataclass(frozen=True)
class Tabular(Input):
    """Several columns of numbers and of words from a fixed list, as one input.

    A cell may be empty: a hole. Blanks around a word do not count, nor does the form of Unicode; see `spellings`. The
    model receives `(batch, 2 * numeric + categorical)`, float32: the numbers in their own units, 0 at a hole; then for
    each number 1, or 0 at a hole; then the numbers of the words: 0 for a hole, 1 for a word outside the vocabulary,
    from 2 on the vocabulary. With `optional=True` a row whose cells are all empty is missing.

    Args:
        numeric: names of the columns that hold numbers.
        categorical: names of the columns that hold one of several words.
        means, std: mean and standard deviation of each column of numbers, for the towers to standardise with (a hole
            becomes the mean); None: computed from the training rows.
        vocabularies: the words of each categorical column; None: taken from the training rows, most frequent first.
        spellings: which words of each categorical column are one, though written in several ways: "text", "number"
            ("1.0" is "1") or "truth" (True, true, TRUE, 1 and 1.0 are one); None: by the training rows, or the
            vocabularies that are given. See `mmkeras.spelling`.
        limit: largest vocabulary that fitting makes for one column.
        optional: whether a row's cells may all be empty.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    means: Sequence[float] | None = None
    std: Sequence[float] | None = None
    vocabularies: Sequence[Sequence[str]] | None = None
    _: KW_ONLY
    spellings: Sequence[str] | None = None
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
        self._check_spellings()

    def _check_spellings(self):
        """Make `spellings` a tuple of names, one for each categorical column, where they are given or known."""
        given = self.spellings
        if given is not None and (isinstance(given, str) or len(tuple(given)) != len(self.categorical)):
            raise InputError(
                f"Tabular: expected spellings to be a list of one for each of {list(self.categorical)}, received "
                f"{shown(given)}"
            )
        found: Sequence[str | None] = tuple(given) if given is not None else (None,) * len(self.categorical)
        if self.vocabularies is not None:
            columns = zip(self.categorical, self.vocabularies, found, strict=True)
            found = [spelling.of_given(f"Tabular: {column!r}", *one) for column, *one in columns]
        else:
            found = [spelling.check("Tabular", one) for one in found]
        object.__setattr__(self, "spellings", None if None in found else tuple(found))

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
            if said := collapsed(column):
                raise InputError(f"Tabular: {name!r}: expected numbers that float32 can tell apart, {said}: {ADVICE}")
        for name, column in zip(self.categorical, cells[count:], strict=True):
            if self.vocabularies is None and not any(column):
                raise InputError(f"Tabular: expected words in {name!r} to fit on, found none: leave the column out")
        counts = [Counter(word for word in column if word.strip()) for column in cells[count:]]
        spellings = self.spellings or tuple(map(spelling.spelling_of, counts))
        words = tuple(
            most_frequent(_in_one_spelling(column, one), self.limit)
            for column, one in zip(counts, spellings, strict=True)
        )
        return replace(
            self,
            means=self.means or tuple(float(np.nanmean(column)) for column in cells[:count]),
            std=self.std or tuple(float(np.nanstd(column)) or 1.0 for column in cells[:count]),
            vocabularies=self.vocabularies or words,
            spellings=spellings,
        )


def _in_one_spelling(counts, spelled):
    """Counts of words by the one spelling of each."""
    names, total = spelling.names(counts, spelled), Counter()
    for word, count in counts.items():
        total[names[word]] += count
    return total
