"""A number in the user's own unit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.precision import ADVICE, collapsed
from mmkeras.targets.base import Target

MAX, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


@checked_keywords
@dataclass(frozen=True)
class Number(Target):
    """A target that is a number in the user's own unit (regression).

    `fit` receives `(batch,)`, float32, in the unit; the model predicts `(batch,)`, float32, in the unit. Mean and
    standard deviation are used inside the head. Its loss is measured in standard deviations: a target in grams then has
    the same weight as one in tonnes.

    Args:
        mean, std: of the training rows, in the unit; the standard deviation is that of the population (divided by the
            number of rows). None: computed from the training rows.
        unit: for people to read, as "kg"; it appears in messages and in the schema's file.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count only for other targets (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            outputs then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own; its outputs do not join the fusion.

    >>> Number().fit(["1", "3", ""])
    Number(mean=2.0, std=1.0, unit='', column=None, optional=False, reads=None)
    """

    mean: float | None = None
    std: float | None = None
    unit: str = ""
    column: str | None = None
    optional: bool = False
    reads: str | Sequence[str] | None = None
    dtype = "float32"
    checked_early = True
    continuous = True

    def __post_init__(self):
        self.check_options()
        if not isinstance(self.unit, str):
            raise InputError(f"Number: expected unit to be a string, received {self.unit!r}")
        if (self.mean is None) != (self.std is None):
            raise InputError(
                f"Number: expected mean and std, or neither, received mean={self.mean!r} and std={self.std!r}"
            )
        if self.mean is None:
            return
        for name, least in (("mean", -MAX), ("std", TINY)):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not least <= value <= MAX:
                above = " above 0" if name == "std" else ""
                raise InputError(f"Number: expected {name} to be a float32 number{above}, received {value!r}")
            object.__setattr__(self, name, float(value))

    @property
    def fitted(self) -> bool:
        """Whether mean and std are known."""
        return self.mean is not None

    @property
    def scale(self) -> float:
        """The standard deviation."""
        return self.std or 1.0

    @property
    def expected(self) -> str:
        """The description of a valid cell."""
        return "a finite number" + (f" ({self.unit})" if self.unit else "")

    def fit(self, cells: Iterable[object]) -> "Number":
        """A copy with mean and standard deviation of `cells` (str or numbers; empty ones are skipped)."""
        cells = [cell for cell in cells if cell != ""]
        values = [_number(cell) for cell in cells]
        if None in values:
            raise InputError(f"Number: expected {self.expected}, received {cells[values.index(None)]!r}")
        if len(set(values)) < 2:
            raise InputError(f"Number: expected at least 2 different values to fit on, received {sorted(set(values))}")
        mean, std = float(np.mean(values)), float(np.std(values))
        if std < np.spacing(np.float32(abs(mean))):
            raise InputError(
                f"Number: expected numbers that float32 can tell apart, received a mean of {mean} and a "
                f"standard deviation of {std}: subtract a constant"
            )
        if said := collapsed(np.array(values)):
            raise InputError(f"Number: expected numbers that float32 can tell apart, {said}: {ADVICE}")
        return replace(self, mean=mean, std=std)

    def encode(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The numbers in cells.

        Args:
            cells: `(rows,)` str.

        Returns:
            `(rows,)` float32, the mean (0 if not fitted) where the cell holds no finite number; and `(rows,)` bool,
            whether it does.

        >>> Number(mean=2, std=1).encode(["3.5", "-1e3", "nan"])
        (array([    3.5, -1000. ,     2. ], dtype=float32), array([ True,  True, False]))
        """
        found = [_number(cell) for cell in cells]
        values = [(self.mean or 0.0) if number is None else number for number in found]
        return np.array(values, np.float32), np.array([number is not None for number in found], bool)


def _number(cell):
    """The cell as a float, or None if float32 cannot hold it; 1_000 is not a number, though Python reads it."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= MAX and "_" not in str(cell) else None
