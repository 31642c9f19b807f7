"""Several classes at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mmkeras import spelling as spellings
from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError, shown
from mmkeras.targets.base import Target, listed, natural
from mmkeras.targets.lists import is_list, labels_in, list_in


@checked_keywords
@dataclass(frozen=True)
class Labels(Target):
    """A target that is any number of several classes at once, as the tags of a picture (multi-label).

    A cell holds the labels joined by the separator: "red|round". Their order, spaces around them and repetitions do not
    matter. An empty cell is a missing target, not "no label": to say "none of them" a cell holds the separator alone.
    In a DataFrame, JSON Lines or Parquet a cell may also be a list, a tuple, an array or a set of labels, of which []
    is "none of them"; so may text that JSON or Python has written for one, as '["red", "round"]'.

    `fit` receives `(batch, classes)`, float32, 1 for each of the row's labels and 0 for the others; the model predicts
    `(batch, classes)`, float32, the probability of every class by itself (they do not add up to 1).

    Args:
        classes: the labels in the order of the model's outputs; None: taken from the training rows, numbers by value,
            then words by spelling.
        separator: between the labels of one cell.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count only for other targets (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            outputs then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own; its outputs do not join the fusion.
        spelling: which labels are one, though written in several ways; as for `Category`.
    """

    classes: Sequence[str] | None = None
    separator: str = "|"
    column: str | None = None
    optional: bool = False
    reads: str | Sequence[str] | None = None
    spelling: str | None = None
    dtype = "float32"
    lists = True

    def __post_init__(self):
        self.check_options()
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(
                f"Labels: expected separator to be a string of at least one character, received {self.separator!r}"
            )
        classes = as_words("Labels", "classes", self.classes)
        if classes is not None and not classes:
            raise InputError("Labels: expected at least 1 class, received none")
        for label in classes or ():
            if self._split(label) != {label}:
                raise InputError(
                    f"Labels: expected labels without {self.separator!r} and spaces around them, received {label!r}"
                )
        object.__setattr__(self, "classes", classes)
        spelling = spellings.check("Labels", self.spelling)
        if classes is not None:
            spelling = spellings.of_given("Labels: classes", classes, spelling)
        object.__setattr__(self, "spelling", spelling)

    @property
    def fitted(self) -> bool:
        """Whether the classes are known."""
        return self.classes is not None

    @property
    def truth(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """`(classes,)`, ones and zeros."""
        return {"": ((len(self.classes),), self.dtype)}

    @property
    def expected(self) -> str:
        """The description of a valid cell."""
        return f"some of {listed(self.classes)}, joined by {self.separator!r}, or {self.separator!r} alone for none"

    def values_of(self, cell: str) -> set[str]:
        """The labels that a cell holds, as the classes spell them.

        >>> sorted(Labels().values_of("round| red|"))
        ['red', 'round']
        """
        keys = {spellings.key(label, self.spelling or "text") for label in self._split(cell)}
        return {self._named.get(label, label) for label in keys}

    def as_cell(self, value: Any) -> str:
        """The labels in a list, tuple, array or set, joined; text as it is, unless it was written for a list.

        >>> Labels().as_cell(["red", "round"]), Labels().as_cell([]), Labels().as_cell("['red', 1]")
        ('red|round', '|', 'red|1')

        Raises:
            InputError: a dict, a list that holds anything but labels, a label that holds the separator.
        """
        found = list_in(value) if isinstance(value, str) else value
        if isinstance(value, str) and found is None:
            return value
        if not is_list(found):
            return super().as_cell(found)
        labels = labels_in(found)
        for label in labels:
            if self.separator in label:
                raise InputError(
                    f"expected labels without the separator {self.separator!r}, found {shown(label)}: give another, as "
                    "mk.Labels(separator=...)"
                )
        return self.separator.join(labels) or self.separator

    def written(self, cell: str) -> list[str]:
        """The labels in a cell as it writes them, blanks included."""
        return [label for label in cell.split(self.separator) if label.strip()]

    def _split(self, cell):
        return {label.strip() for label in cell.split(self.separator)} - {""}

    @cached_property
    def _named(self) -> dict[str, str]:
        """The classes by what all spellings of one have in common."""
        return {spellings.key(label, self.spelling or "text"): label for label in self.classes or ()}

    def fit(self, cells: Iterable[str]) -> "Labels":
        """A copy whose classes are all labels in `cells` (an iterable of str; empty ones are skipped)."""
        labels = {label for cell in set(cells) for label in self._split(cell)}
        spelling = self.spelling or spellings.spelling_of(labels)
        classes = set(spellings.names(labels, spelling).values())
        return replace(self, classes=tuple(sorted(classes, key=natural)), spelling=spelling)

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The labels of cells as ones and zeros.

        Args:
            cells: `(rows,)` str.

        Returns:
            `(rows, classes)` float32, zeros where the cell cannot be read; and `(rows,)` bool, whether it can.

        >>> Labels(classes=["red", "round"]).encode(["round|red", "|", "", "green"])[0].tolist()
        [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        """
        number = {label: index for index, label in enumerate(self.classes)}
        index, good = {}, {}
        for cell in dict.fromkeys(cells):
            labels = self.values_of(cell)
            good[cell] = labels <= number.keys() and bool(labels or self.separator in cell)
            index[cell] = [number[label] for label in labels] if good[cell] else []
        values = np.zeros((len(cells), len(self.classes)), np.float32)
        for row, cell in enumerate(cells):
            values[row, index[cell]] = 1
        return values, np.array([good[cell] for cell in cells], bool)
