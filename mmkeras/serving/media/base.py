"""The base class for values that are sent as the bytes of a file, or as a text."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmkeras.errors import InputError


class Media:
    """Base of all media; one for each kind of input that accepts more than bytes and unchanged files.

    Attributes:
        expected: the values that are accepted, for messages.
        suffixes: ends of the names of files that are converted even if the kind of the input is not known.
    """

    expected: str = "bytes or a path"
    suffixes: ClassVar[tuple[str, ...]] = ()

    def from_file(self, raw: bytes, path: Path) -> bytes:
        """The bytes to send for a file. Raises `InputError` for one that the served model cannot read."""
        return raw

    def from_value(self, value: Any) -> bytes | None:
        """The bytes to send for a value of another type, as an array; None: it cannot be such a value."""
        return None


def missing(value: Any) -> bool:
    """Whether a value means a missing one: None, NaN, pandas' NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def as_text(value: str) -> str:
    """A text, checked to be one that UTF-8 can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"expected text that UTF-8 can hold, received {value[:40]!r}") from error
    return str(value)


def described(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{type(value).__name__} {str(value)[:40]!r}"
