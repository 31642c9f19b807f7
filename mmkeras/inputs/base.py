"""What every kind of input says of itself. A kind is a frozen dataclass in a file of its own."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

from mmkeras.checks import check_number, check_switch, check_whole
from mmkeras.errors import InputError, shown, unknown

FITS = ("stretch", "crop", "pad")
WIRES = ("bytes", "text", "cells", "numbers")


class Input:
    """Base of all kinds of input.

    A new kind is a frozen dataclass that derives from it, registered by `@mk.inputs.register("PointCloud")`; each room
    that acts by kind then needs an object for it (`mk.decode.register`, `mk.towers.register(..., default_for=...)`,
    ...) and says so where one is needed and not there.

    Attributes:
        dtype: of the values that the model receives.
        files: whether the table's cells are paths of files.
        padded: whether values differ in length along their first axis: the model then receives `<name>_length`, too.
        wire: how a client sends one value to the served model. "bytes": a string, the bytes of a file; "text": a
            string; "cells": several strings; "numbers": an array, of any length along its first axis if padded.
        holes: whether single cells of a row may be empty although the input itself is there.
        several: whether a row's value stands in several cells of the table.
        zero_is_padding: whether the value 0 along the first axis is padding, as among token ids.
        fitted: whether all that has to be learned from the training rows is known.
        shared, optional, column: see the kinds; a kind has them as fields where they can be chosen.
    """

    dtype: ClassVar[str] = "float32"
    files: ClassVar[bool] = False
    padded: ClassVar[bool] = False
    wire: ClassVar[str] = "bytes"
    holes: ClassVar[bool] = False
    zero_is_padding: ClassVar[bool] = False
    shared = False
    optional = False
    column = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value, without the batch."""
        raise NotImplementedError(f"{type(self).__name__} has to say its shape")

    @property
    def fitted(self) -> bool:
        """Whether all that has to be learned from the training rows is known."""
        return True

    @property
    def several(self) -> bool:
        """Whether a row's value stands in several cells of the table."""
        return self.wire == "cells"

    @property
    def words(self) -> dict[str, tuple[str, ...]]:
        """The vocabulary of each column of words, "" that of the input itself; none of a kind without words.

        Number 0 of the values is padding or a hole, 1 a word outside the vocabulary, from 2 on are its words.
        """
        return {}

    def table_columns(self, name: str) -> tuple[str, ...]:
        """The table's columns that hold the input of this name."""
        return (self.column or name,)


def check_positive(part: Any, kind: type, *names: str) -> None:
    """Raise an `InputError` unless these fields are finite numbers above 0 of the kind; NumPy's become Python's."""
    for name in names:
        value, where = getattr(part, name), f"{type(part).__name__}: "
        checked = (
            check_whole(value, name, where) if kind is int else check_number(value, name, where, least=0, above=True)
        )
        object.__setattr__(part, name, checked)


def check_switches(part: Any, *names: str) -> None:
    """Raise an `InputError` unless these fields are True or False."""
    for name in names:
        check_switch(getattr(part, name), name, f"{type(part).__name__}: ")


def check_picture(part: Any) -> None:
    """Check the fields that pictures and videos share."""
    check_positive(part, int, "height", "width", "max_pixels")
    check_switches(part, "shared", "optional")
    kind = type(part).__name__
    if part.channels not in (1, 3):
        raise InputError(f"{kind}: expected channels to be 1 or 3, received {shown(part.channels)}")
    if part.fit not in FITS:
        raise unknown("value of fit", part.fit, FITS, where=f"{kind}: ")


def check_numbers(part: Any, name: str, size: int, above: bool = False) -> None:
    """Make a field of `size` finite numbers (above 0), or None, a tuple of float."""
    values = getattr(part, name)
    if values is None:
        return
    kind = type(part).__name__
    values = tuple(values) if isinstance(values, Iterable) else values
    right = isinstance(values, tuple) and all(isinstance(v, Real) and math.isfinite(v) for v in values)
    if not right or len(values) != size:
        raise InputError(f"{kind}: expected {name} to be {size} finite numbers, received {shown(values)}")
    if above and min(values, default=1) <= 0:
        raise InputError(f"{kind}: expected {name} to be above 0, received {shown(values)}")
    object.__setattr__(part, name, tuple(float(v) for v in values))


def most_frequent(words: Iterable[str] | Mapping[str, int], limit: int) -> tuple[str, ...]:
    """The most frequent words, at most `limit`: equally frequent ones by spelling."""
    counted = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, _ in counted[:limit])
