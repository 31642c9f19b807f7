"""Several classes at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError
from mmkeras.targets.base import Target, listed, natural


@checked_keywords
@dataclass(frozen=True)
class Labels(Target):
    """A target that is any number of several classes at once, as the tags of a picture (multi-label).

    A cell holds the labels joined by the separator: "red|round". Their order, spaces around them and repetitions do not
    matter. An empty cell is a missing target, not "no label": to say "none of them" a cell holds the separator alone.

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
    """

    classes: Sequence[str] | None = None
    separator: str = "|"
    column: str | None = None
    optional: bool = False
    reads: str | Sequence[str] | None = None
    dtype = "float32"

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
            if self.values_of(label) != {label}:
                raise InputError(
                    f"Labels: expected labels without {self.separator!r} and spaces around them, received {label!r}"
                )
        object.__setattr__(self, "classes", classes)

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
        """The labels that a cell holds.

        >>> sorted(Labels().values_of("round| red|"))
        ['red', 'round']
        """
        return {label.strip() for label in cell.split(self.separator)} - {""}

    def fit(self, cells: Iterable[str]) -> "Labels":
        """A copy whose classes are all labels in `cells` (an iterable of str; empty ones are skipped)."""
        labels = {label for cell in cells for label in self.values_of(cell)}
        return replace(self, classes=tuple(sorted(labels, key=natural)))

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
