"""One of several classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mmkeras import spelling as spellings
from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError
from mmkeras.targets.base import Target, listed, natural
from mmkeras.targets.lists import is_list


@checked_keywords
@dataclass(frozen=True)
class Category(Target):
    """A target that is one of several classes.

    `fit` receives `(batch,)`, int32 class numbers; the model predicts `(batch, classes)`, float32 probabilities.

    Args:
        classes: the labels in the order of the model's outputs; None: taken from the training rows, numbers by value,
            then words by spelling.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count only for other targets (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            outputs then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own; its outputs do not join the fusion.
        spelling: which labels are one, though written in several ways: "text" (blanks around a label and the form of
            Unicode do not count), "number" ("1.0" is "1", too) or "truth" (True, true, TRUE, 1 and 1.0 are one);
            None: by the training rows, or the classes that are given. See `mmkeras.spelling`.
    """

    classes: Sequence[str] | None = None
    column: str | None = None
    optional: bool = False
    reads: str | Sequence[str] | None = None
    spelling: str | None = None
    dtype = "int32"
    class_weights = True

    def __post_init__(self):
        self.check_options()
        classes = as_words("Category", "classes", self.classes)
        if classes is not None and len(classes) < 2:
            raise InputError(f"Category: expected at least 2 classes, received {list(classes)}")
        object.__setattr__(self, "classes", classes)
        spelling = spellings.check("Category", self.spelling)
        if classes is not None:
            spelling = spellings.of_given("Category: classes", classes, spelling)
        object.__setattr__(self, "spelling", spelling)

    @property
    def fitted(self) -> bool:
        """Whether the classes are known."""
        return self.classes is not None

    @property
    def expected(self) -> str:
        """The description of a valid cell."""
        return f"one of {listed(self.classes)}"

    def as_cell(self, value: Any) -> str:
        """Nothing but one label is a cell."""
        try:
            return super().as_cell(value)
        except InputError as error:
            advice = " (several labels at once are a target of mk.Labels())" if is_list(value) else ""
            raise InputError(f"{error}{advice}") from error

    def values_of(self, cell: str) -> set[str]:
        """The label of a cell, as the classes spell it."""
        label = spellings.key(cell, self.spelling or "text")
        return {self._named.get(label, label)} - {""}

    def fit(self, labels: Iterable[str]) -> "Category":
        """A copy whose classes are the distinct `labels` (an iterable of str; empty ones are skipped)."""
        distinct = {label for label in set(labels) if label.strip()}
        spelling = self.spelling or spellings.spelling_of(distinct)
        classes = set(spellings.names(distinct, spelling).values())
        return replace(self, classes=tuple(sorted(classes, key=natural)), spelling=spelling)

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The class numbers of cells.

        Args:
            cells: `(rows,)` str.

        Returns:
            Class numbers `(rows,)` int32, 0 where the cell is no class; and `(rows,)` bool, whether it is one.

        >>> Category(classes=["no", "yes"]).encode(["yes", "maybe"])
        (array([1, 0], dtype=int32), array([ True, False]))
        """
        number = {label: index for index, label in enumerate(self._named)}
        found = np.array([number.get(spellings.key(cell, self.spelling), -1) for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0

    @cached_property
    def _named(self) -> dict[str, str]:
        """The classes by what all spellings of one have in common."""
        return {spellings.key(label, self.spelling): label for label in self.classes or ()}
