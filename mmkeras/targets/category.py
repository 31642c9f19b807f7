"""One of several classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError
from mmkeras.targets.base import Target, listed, natural


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
    """

    classes: Sequence[str] | None = None
    column: str | None = None
    optional: bool = False
    reads: str | Sequence[str] | None = None
    dtype = "int32"
    class_weights = True

    def __post_init__(self):
        self.check_options()
        classes = as_words("Category", "classes", self.classes)
        if classes is not None and len(classes) < 2:
            raise InputError(f"Category: expected at least 2 classes, received {list(classes)}")
        object.__setattr__(self, "classes", classes)

    @property
    def fitted(self) -> bool:
        """Whether the classes are known."""
        return self.classes is not None

    @property
    def expected(self) -> str:
        """The description of a valid cell."""
        return f"one of {listed(self.classes)}"

    def fit(self, labels: Iterable[str]) -> "Category":
        """A copy whose classes are the distinct `labels` (an iterable of str; empty ones are skipped)."""
        return replace(self, classes=tuple(sorted(set(labels) - {""}, key=natural)))

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The class numbers of cells.

        Args:
            cells: `(rows,)` str.

        Returns:
            Class numbers `(rows,)` int32, 0 where the cell is no class; and `(rows,)` bool, whether it is one.

        >>> Category(classes=["no", "yes"]).encode(["yes", "maybe"])
        (array([1, 0], dtype=int32), array([ True, False]))
        """
        number = {label: index for index, label in enumerate(self.classes)}
        found = np.array([number.get(cell, -1) for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0
