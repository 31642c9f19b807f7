"""Recordings."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.inputs.base import Input, check_columns, check_positive, check_switches


@checked_keywords
@dataclass(frozen=True)
class Audio(Input):
    """A recording from a WAV (PCM or float), FLAC, OGG or MP3 file, cut or filled with silence to one duration.

    The model receives `(batch, samples)`, float32 in [-1, 1]; several channels are averaged.

    Args:
        sampling_rate: samples a second, hertz; a file of another rate is resampled.
        seconds: duration.
        longest: seconds kept of a longer file; training takes `seconds` of them from another place in every epoch.
            None: always the beginning, as in evaluation and in the served model.
        trim: silence before the first and after the last sample louder than this (0 to 1) is cut off; None: kept.
        fade: seconds of linear fading in and out, after trimming.
        max_seconds: a longer recording is refused, whatever is kept of it.
        shared: many rows name one recording: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
        columns: instead, the columns that name several files of one thing, any of which may be missing: the model
            receives `(batch, columns, ...)`, and `<name>_there` `(batch, columns)` bool. One tower reads them all.
    """

    sampling_rate: int
    seconds: float
    _: KW_ONLY
    longest: float | None = None
    trim: float | None = None
    fade: float | None = None
    max_seconds: float = 3600.0
    shared: bool = False
    optional: bool = False
    column: str | None = None
    columns: Sequence[str] | None = None
    dtype = "float32"
    wire = "bytes"
    files = True

    def __post_init__(self):
        check_positive(self, int, "sampling_rate")
        check_positive(self, float, "seconds", "max_seconds")
        check_positive(self, float, *(name for name in ("longest", "trim", "fade") if getattr(self, name) is not None))
        check_switches(self, "shared", "optional")
        check_columns(self)
        if self.samples < 1:
            raise InputError(f"Audio: {self.seconds} s at {self.sampling_rate} Hz is less than one sample")
        if self.longest is not None and self.longest < self.seconds:
            raise InputError(
                f"Audio: expected longest to be at least seconds={self.seconds:g}, received {self.longest:g}"
            )
        if self.trim is not None and self.trim >= 1:
            raise InputError(f"Audio: expected trim to be below 1, received {self.trim:g}")

    @property
    def samples(self) -> int:
        """Number of samples."""
        return round(self.sampling_rate * self.seconds)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(samples,)`."""
        return (self.samples,)
