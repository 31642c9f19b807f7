"""The base class of all kinds of target. A kind is a frozen dataclass in a file of its own."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from mmkeras.checks import check_switch, is_whole, no_cell
from mmkeras.errors import InputError, shown


class Target:
    """Base of all kinds of target.

    A new kind is a frozen dataclass that derives from it, registered by `@mk.targets.register("Grade")`, with a task
    that serves it: `@mk.tasks.register("grade")` of a `mmkeras.tasks.Task`.

    Attributes:
        dtype: of the truth that Keras receives.
        class_weights: whether a truth is the number of one of `classes`, each of which can have a weight.
        files: whether the table's cells are paths of files, which a codec decodes (`mk.decode.register`).
        holes: whether single cells of a row may be empty although the target itself is there.
        several, views: as for inputs; a truth is in one cell.
        lists: whether a cell may be a list.
        checked_early: whether `encode` can tell a bad cell before fitting; the table is then refused when it is read.
        continuous: whether a cell holds a quantity, whose quantiles `split(stratify=...)` spreads.
        column, optional, reads, classes: see the kinds.
    """

    dtype: ClassVar[str] = "float32"
    files: ClassVar[bool] = False
    class_weights: ClassVar[bool] = False
    holes: ClassVar[bool] = False
    several: ClassVar[bool] = False
    views: ClassVar[None] = None
    lists: ClassVar[bool] = False
    checked_early: ClassVar[bool] = False
    continuous: ClassVar[bool] = False
    optional: bool = False
    column: str | None = None
    reads: str | Sequence[str] | None = None
    classes: Sequence[str] | None = None

    @property
    def truth(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The arrays that the pipeline makes of the cells: dict of suffix -> (shape without the batch, dtype).

        The suffix "" is Keras' y. Others, as "_length", are for a task's own inputs.
        """
        return {"": ((), self.dtype)}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one truth, without the batch."""
        return self.truth[""][0]

    @property
    def padded(self) -> bool:
        """Whether truths differ in length along their first axis."""
        return "_length" in self.truth

    @property
    def scale(self) -> float:
        """The usual spread of outputs; tolerances are a share of it."""
        return 1.0

    @property
    def fitted(self) -> bool:
        """Whether everything that is learned from the training rows is known."""
        return True

    @property
    def expected(self) -> str:
        """The description of a valid cell, for messages."""
        return f"a {type(self).__name__}"

    def fit(self, cells: Iterable[Any]) -> "Target":
        """A copy fitted on the cells of the training rows (empty ones are skipped)."""
        return self

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray | dict[str, np.ndarray], np.ndarray]:
        """The truths of cells `(rows, ...)`, and `(rows,)` bool, whether each cell could be read.

        Where `truth` has more than one suffix the truths are a dict of suffix -> `(rows, ...)`.
        """
        raise NotImplementedError(f"{type(self).__name__} has to encode its cells")

    def as_cell(self, value: Any) -> str:
        """The text of a value in a table that is no text, number, truth value or date, as a list.

        Also asked about texts where `lists`. Raises an `InputError` that says what was expected, without the place.
        """
        raise no_cell(value)

    def written(self, cell: str) -> list[str]:
        """The values in a cell as it writes them, blanks included."""
        return [cell]

    def values_of(self, cell: str) -> set[str]:
        """The values in a cell: itself, or each of several labels; none in an empty one."""
        return {cell} - {""}

    def table_columns(self, name: str) -> tuple[str, ...]:
        """The table's columns that hold the target of this name."""
        return (self.column or name,)

    def check_options(self) -> None:
        """Raise an `InputError` unless `optional` is True or False, and `reads` a name, several (a tuple) or None."""
        kind, names = type(self).__name__, self.reads
        if isinstance(names, list):
            names = tuple(names)
            object.__setattr__(self, "reads", names)
        right = names is None or isinstance(names, str)
        if isinstance(names, tuple):
            right = all(isinstance(name, str) for name in names) and len(names) == len(set(names)) > 1
        if not right:
            raise InputError(
                f"{kind}: expected reads to be the name of an input, or distinct names of several, received "
                f"{shown(names)}"
            )
        check_switch(self.optional, "optional", f"{kind}: ")
        if is_whole(self.column, 0):  # a DataFrame's columns may be numbered
            object.__setattr__(self, "column", str(self.column))
        if self.column is not None and not isinstance(self.column, str):
            raise InputError(f"{kind}: expected column to be a name, received {shown(self.column)}")


def inputs_read(target: Target) -> tuple[str, ...]:
    """The names of the inputs that a target's head reads alone; empty if it reads the fused vector."""
    return (target.reads,) if isinstance(target.reads, str) else tuple(target.reads or ())


def natural(label: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, before words by spelling."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (math.isnan(number), 0.0 if math.isnan(number) else number, label)


def listed(classes: Sequence[str]) -> str:
    """The first classes, for messages."""
    what = "class" if len(classes) == 1 else f"{len(classes)} classes"
    return f"the {what} {', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"
