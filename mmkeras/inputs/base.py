"""The base class of all kinds of input. A kind is a frozen dataclass in a file of its own."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar

from mmkeras.checks import as_words, check_number, check_switch, check_whole, is_whole, no_cell
from mmkeras.errors import InputError, shown, unknown

FITS = ("stretch", "crop", "pad")
WIRES = ("bytes", "text", "cells", "numbers")


class Input:
    """Base of all kinds of input.

    A new kind is a frozen dataclass that derives from it, registered by `@mk.inputs.register("PointCloud")`. Other
    parts of the package then need an object for it (`mk.decode.register`, `mk.towers.register(..., default_for=...)`,
    ...); an error says which one is missing.

    Attributes:
        dtype: of the values that the model receives.
        files: whether the table's cells are paths of files.
        padded: whether values differ in length along their first axis: the model then receives `<name>_length`, too.
        wire: how a client sends one value to the served model. "bytes": a string, the bytes of a file; "text": a
            string; "cells": several strings; "numbers": a string, the bytes of a .npy file.
        holes: whether single cells of a row may be empty although the input itself is there.
        several: whether a row's value is in several cells of the table.
        views: how many files a row names, each a value of its own (several pictures of one thing); None: it is one.
        zero_is_padding: whether the value 0 along the first axis is padding, as in token ids.
        lists: whether a cell of the table may be a list, for `as_cell`.
        fitted: whether everything that is learned from the training rows is known.
        shared, optional, column, columns: see the kinds; a kind has them as fields where they can be chosen.
    """

    dtype: ClassVar[str] = "float32"
    files: ClassVar[bool] = False
    padded: ClassVar[bool] = False
    wire: ClassVar[str] = "bytes"
    holes: ClassVar[bool] = False
    zero_is_padding: ClassVar[bool] = False
    lists: ClassVar[bool] = False
    shared: bool = False
    optional: bool = False
    column: str | None = None
    columns: Sequence[str] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value, without the batch; of one file, where a row names several."""
        raise NotImplementedError(f"{type(self).__name__} has to say its shape")

    @property
    def fitted(self) -> bool:
        """Whether everything that is learned from the training rows is known."""
        return True

    @property
    def several(self) -> bool:
        """Whether a row's value is in several cells of the table."""
        return self.wire == "cells" or self.views is not None

    @property
    def views(self) -> int | None:
        """How many files a row names, each a value of its own; None: it is one."""
        return len(self.columns) if self.files and self.columns is not None else None

    @property
    def single(self) -> "Input":
        """The input for one of its files; itself, if it is one file."""
        if self.views is None:
            return self
        part: Any = self
        return replace(part, columns=None)

    @property
    def received(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The tensors of each row for the model, in order: dict of suffix -> (shape without the batch, dtype).

        "" is the value; "_length" its length without padding, if it is padded; "_there" which of several files are
        there; "_present" whether any is, if the input is optional.
        """
        views = () if self.views is None else (self.views,)
        given = {"": ((*views, *self.shape), self.dtype)}
        if self.padded:
            given["_length"] = views, "int32"
        if views:
            given["_there"] = views, "bool"
        if self.optional:
            given["_present"] = (), "bool"
        return given

    @property
    def words(self) -> dict[str, Sequence[str]]:
        """The vocabulary of each column of words, with the key "" for the input itself; empty for a kind without words.

        The value 0 is padding or a hole, 1 a word outside the vocabulary; its words begin at 2.
        """
        return {}

    def as_cell(self, value: Any) -> str:
        """The text of a value in a table that is no text, number, truth value or date, as a list.

        Raises an `InputError` that says what was expected, without the place.
        """
        raise no_cell(value)

    def table_columns(self, name: str) -> tuple[str, ...]:
        """The table's columns that hold the input of this name."""
        return tuple(self.columns or (self.column or name,))


def check_columns(part: Any) -> None:
    """Raise an `InputError` unless `column` is a name or None, and `columns` at least two names or None, not both."""
    kind = type(part).__name__
    if is_whole(part.column, 0):  # a DataFrame's columns may be numbered
        object.__setattr__(part, "column", str(part.column))
    if part.column is not None and not isinstance(part.column, str):
        several = ' (several files of one thing are given by columns=["front", "back"])' if part.files else ""
        raise InputError(f"{kind}: expected column to be a name, received {shown(part.column)}{several}")
    if part.columns is None:
        return
    columns = as_words(kind, "columns", part.columns)
    if len(columns) < 2 or "" in columns:
        raise InputError(f"{kind}: expected columns to be at least 2 names, received {shown(part.columns)}")
    if part.column is not None or part.shared:
        given = "shared=True" if part.shared else f"column={part.column!r}"
        raise InputError(f"{kind}: expected columns without column and shared, received {given} with {columns}")
    object.__setattr__(part, "columns", columns)


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
    check_switches(part, "shared", "optional", "upright")
    kind = type(part).__name__
    object.__setattr__(part, "background", _colour(kind, part.background))
    if part.channels not in (1, 3):
        raise InputError(f"{kind}: expected channels to be 1 or 3, received {shown(part.channels)}")
    if part.fit not in FITS:
        raise unknown("value of fit", part.fit, FITS, where=f"{kind}: ")


def _colour(kind: str, given: Any) -> tuple[int, int, int]:
    """Red, green and blue of one number or of three."""
    colour = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,) * 3
    if len(colour) != 3 or not all(is_whole(one, 0) and one <= 255 for one in colour):
        raise InputError(
            f"{kind}: expected background to be red, green and blue from 0 to 255, or one number, "
            f"received {shown(given)}"
        )
    red, green, blue = map(int, colour)
    return red, green, blue


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
