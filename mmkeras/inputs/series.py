"""Traces of sensors."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.inputs.base import Input, check_columns, check_numbers, check_positive, check_switches


@checked_keywords
@dataclass(frozen=True)
class Series(Input):
    """A trace of one or more sensors over time, from a .npy file or a CSV file of numbers, one row a step.

    The model receives `(batch, length, channels)`, float32 in the sensors' units, and `<name>_length` `(batch,)` int32:
    how many steps there are; zeros follow them. A longer trace is cut at its end.

    Args:
        length: number of steps kept.
        channels: values at each step.
        means, std: mean and standard deviation of each channel, for the towers to standardise with; None: computed from
            (at most 1,000 files of) the training rows.
        shared: many rows name one trace: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
        columns: instead, the columns that name several files of one thing, any of which may be missing: the model
            receives `(batch, columns, ...)`, and `<name>_there` `(batch, columns)` bool. One tower reads them all.
    """

    length: int
    channels: int = 1
    means: Sequence[float] | None = None
    std: Sequence[float] | None = None
    _: KW_ONLY
    shared: bool = False
    optional: bool = False
    column: str | None = None
    columns: Sequence[str] | None = None
    dtype = "float32"
    wire = "numbers"
    files = True
    padded = True

    def __post_init__(self):
        check_positive(self, int, "length", "channels")
        check_switches(self, "shared", "optional")
        check_columns(self)
        check_numbers(self, "means", self.channels)
        check_numbers(self, "std", self.channels, above=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(length, channels)`."""
        return (self.length, self.channels)

    @property
    def fitted(self) -> bool:
        """Whether means and standard deviations are known."""
        return self.means is not None and self.std is not None

    def fit(self, steps: np.ndarray) -> "Series":
        """A copy with the means and standard deviations of `steps` `(any, channels)` that were not given."""
        if not len(steps):
            raise InputError("Series: expected at least one step to fit on, found none")
        means, std = steps.mean(axis=0, dtype="float64"), steps.std(axis=0, dtype="float64")
        return replace(
            self,
            means=self.means or tuple(means.tolist()),
            std=self.std or tuple((std + (std == 0)).tolist()),
        )
