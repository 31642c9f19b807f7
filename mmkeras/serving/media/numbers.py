"""Series, and other numbers of any length: arrays are sent as .npy files."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from mmkeras.errors import InputError
from mmkeras.files import npy_bytes
from mmkeras.inputs import Input
from mmkeras.precision import ADVICE, collapsed
from mmkeras.serving.media.base import Media


class NumbersMedia(Media):
    """Numbers of one kind of input.

    Args:
        feature: the input, of which one value is `(steps, *feature.shape[1:])`; steps after the first
            `feature.shape[0]` are not sent.
    """

    def __init__(self, feature: Input):
        self.most, *self.single = feature.shape
        self.expected = f"numbers ({', '.join(['steps', *map(str, self.single)])})"

    def from_file(self, raw: bytes, path: Path) -> bytes:
        """The steps of a .npy file."""
        if path.suffix.lower() != ".npy":
            raise InputError(f"expected a .npy file or an array, received {str(path)!r}")
        try:
            values = np.load(io.BytesIO(raw), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"cannot read {str(path)!r}: {error}") from error
        return self.from_value(values)

    def from_value(self, value: Any) -> bytes:
        """Arrays and lists; without a step it is missing: b""."""
        try:
            values = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"expected {self.expected}, received {str(value)[:40]!r} ({error})") from error
        if values.size and values.dtype.kind not in "biuf":
            raise InputError(f"expected {self.expected}, received {str(value)[:40]!r}")
        if values.ndim == 1 and self.single == [1]:
            values = values[:, None]
        if not len(np.atleast_1d(values)):
            return b""
        if list(values.shape[1:]) != self.single or not values.ndim:
            raise InputError(f"expected {self.expected}, received an array {values.shape}")
        kept = values[: self.most]
        for numbers in kept.reshape(len(kept), -1).T:
            if said := collapsed(numbers):
                raise InputError(f"expected numbers that float32 can tell apart, {said}: {ADVICE}")
        return npy_bytes(kept)
