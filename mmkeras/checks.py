"""Checks of arguments: whole numbers, numbers, shares, switches and choices, with the same messages everywhere.

`checked_keywords` decorates a function or class with keyword arguments: a misspelt one is refused with the nearest
name. Every check takes the value, its name and `where`, the beginning of the message ("batches: ", "'image': "), and
returns the value as a plain Python one.
"""

import functools
import inspect
import math
import os
import re
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar, get_args, get_origin

from mmkeras.errors import InputError, shown, unknown

LARGEST = 2**63 - 1  # the largest whole number that tensors hold
Part = TypeVar("Part", bound=Callable[..., Any])


class MissingArgument(InputError, TypeError):
    """A call without an argument that is needed; a TypeError too, as Python's own."""


def checked_keywords(part: Part) -> Part:
    """Decorator of a function or a class (a dataclass too): refuses arguments that cannot be meant.

    An unknown name is refused with the nearest; a missing argument is named; and for an object of another kind than a
    parameter's annotation names (a model, `Records`, `Schema`, a path, ...), the message says what to type.

    >>> @checked_keywords
    ... def fit(rows, *, epochs=1):
    ...     return epochs
    >>> fit(8, epoch=3)
    Traceback (most recent call last):
    mmkeras.errors.InputError: fit: unknown argument 'epoch'; did you mean 'epochs'? Known: epochs, rows
    """
    if not isinstance(part, type):
        return _checked(part, part.__name__)
    part.__init__ = _checked(part.__init__, part.__name__)  # type: ignore[misc]
    return part


def _checked(function: Any, name: str) -> Any:
    every = list(inspect.signature(function).parameters.values())
    own = int(bool(every) and every[0].name in ("self", "cls"))
    parameters = every[own:]
    known = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    in_order = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    more = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    needed = [one.name for one in parameters if one.name in known and one.default is one.empty]
    kinds = {one.name: _kinds(one.annotation) for one in parameters if _kinds(one.annotation)}

    @functools.wraps(function)
    def checked(*values: Any, **options: Any) -> Any:
        for option in options:
            if option not in known:
                raise unknown("argument", option, known, f"{name}: ")
        given = dict(zip(in_order, values[own:], strict=False)) | options
        for argument in kinds.keys() & given.keys():
            if not isinstance(given[argument], kinds[argument]):
                raise _other_kind(name, argument, kinds[argument], given[argument])
        if missing := [one for one in needed if one not in given]:
            plural = "s" if len(missing) > 1 else ""
            raise MissingArgument(
                f"{name}() missing {len(missing)} required argument{plural}: {' and '.join(map(repr, missing))}; "
                f"expected {name}({', '.join(needed)}, ...)"
            )
        if len(values) - own > len(in_order) and not more:
            raise MissingArgument(
                f"{name}: expected at most {len(in_order)} arguments without a name, received {len(values) - own}; "
                f"expected {name}({', '.join([*in_order, *(f'{one}=...' for one in known if one not in in_order)])})"
            )
        return function(*values, **options)

    return checked


# The kinds of object that functions take, by the name of the class, in words
_WORDS = {
    "Model": "a keras.Model",
    "Records": "Records (from mk.read)",
    "Schema": "a Schema",
    "Shards": "Shards (from mk.read_shards)",
    "ModelSpec": "a ModelSpec",
    "Evaluation": "the result of mk.evaluate",
    "PathLike": "a path",
}
_TABLES = {"DataFrame", "str", "PathLike", "dict", "list"}
# What to type: (what is expected, classes of what was received, the words); the first that fits
_HINTS = (
    ("Records", {"Splits"}, 'give one of its splits, as data["test"]'),
    ("Records", _TABLES, "read it first, as mk.read(table, schema); to predict, mk.read(table, schema, targets=False)"),
    ("Records", {"Shards", "DatasetV2"}, "give the Records that it was made of"),
    ("Schema", {"Records", "Splits", "Shards"}, "give its schema, as data.schema"),
    ("Schema", {"str", "PathLike"}, "mk.Schema.load(path) reads one"),
    ("Model", {"str", "PathLike"}, "model, schema, spec = mk.load(path) reads one"),
    ("Model", {"tuple"}, "model, schema, spec = mk.load(path) gives three"),
    ("Model", {"Records", "Splits", "Shards", "DataFrame", "Schema", "ModelSpec"}, "mk.build(schema, ...) makes one"),
    ("ModelSpec", {"str", "dict"}, "give the options by name, as fusion=..., or mk.ModelSpec(...)"),
    ("Evaluation", {"dict"}, "evaluation=mk.evaluate(model, records)"),
)


def _kinds(annotation: Any) -> tuple[type, ...] | None:
    """The classes in an annotation that names those of `_WORDS` alone; None for any other annotation."""
    union = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    found = tuple(get_origin(one) or one for one in union)
    if not all(isinstance(one, type) and (one.__name__ in _WORDS or one in (str, types.NoneType)) for one in found):
        return None
    return found if any(one.__name__ in _WORDS for one in found) else None


def _other_kind(name: str, argument: str, kinds: tuple[type, ...], value: Any) -> InputError:
    words = [_WORDS[kind.__name__] for kind in kinds if kind.__name__ in _WORDS]
    received = {one.__name__ for one in type(value).__mro__} | ({"PathLike"} if hasattr(value, "__fspath__") else set())
    names = {kind.__name__ for kind in kinds}
    hint = next((words for expected, classes, words in _HINTS if expected in names and classes & received), "")
    plain = value is None or isinstance(value, str | bytes | Real | list | tuple | Mapping | type | os.PathLike)
    text = shown(value) if plain and "Splits" not in received else type(value).__name__
    expected = ("" if argument in ("records", "schema", "path") else f"{argument} to be ") + " or ".join(words)
    return InputError(f"{name}: expected {expected}, received {text}{hint and ': ' + hint}")


def is_whole(value: Any, least: float = 1) -> bool:
    """Whether it is a whole number, not a bool, from `least`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_number(value: Any, least: float = -math.inf, above: bool = False, most: float = math.inf) -> bool:
    """Whether it is a finite number, not a bool, from `least` (or above it) to `most`."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond all floats
        return False
    if not math.isfinite(number):
        return False
    return (number > least if above else number >= least) and number <= most


def check_whole(value: Any, name: str, where: str = "", *, least: int = 1) -> int:
    """A whole number from `least`.

    >>> check_whole(0, "epochs", "fit: ")
    Traceback (most recent call last):
    mmkeras.errors.InputError: fit: expected epochs to be a whole number above 0, received 0
    """
    if is_whole(value, LARGEST + 1):
        raise InputError(f"{where}expected {name} to be at most {LARGEST:,}, received {shown(value)}")
    if not is_whole(value, least):
        expected = "above 0" if least == 1 else f"from {least}"
        raise InputError(f"{where}expected {name} to be a whole number {expected}, received {shown(value)}")
    return int(value)


def check_number(
    value: Any, name: str, where: str = "", *, least: float = -math.inf, above: bool = False, most: float = math.inf
) -> float:
    """A finite number from `least` (or above it) to `most`."""
    if not is_number(value, least, above, most):
        low = "" if least == -math.inf else f" above {least:g}" if above else f" from {least:g}"
        high = (
            "" if most == math.inf else f"{' and' if above else ''} {'at most' if above or not low else 'to'} {most:g}"
        )
        raise InputError(f"{where}expected {name} to be a number{low}{high}, received {shown(value)}")
    return float(value)


def check_share(value: Any, name: str, where: str = "") -> float:
    """A share from 0 to below 1, as a dropout is."""
    if not is_number(value, 0) or value >= 1:
        raise InputError(f"{where}expected {name} to be from 0 to below 1, received {shown(value)}")
    return float(value)


def check_switch(value: Any, name: str, where: str = "") -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{where}expected {name} to be True or False, received {shown(value)}")
    return value


def check_choice(value: Any, name: str, known: Collection[Any], where: str = "") -> Any:
    """One of the known values."""
    if not isinstance(value, str | int | float | None) or value not in known:
        raise unknown(f"value of {name}", value, known, where)
    return value


def of_a_date(cell: str) -> str:
    """What to do where a number was expected and a date or a duration was found; "" for all else.

    >>> of_a_date("2024-01-02"), of_a_date("x")
    (': of a date the time since a first one, as (column - column.min()).dt.total_seconds()', '')
    """
    if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\b", cell):
        return ": of a date the time since a first one, as (column - column.min()).dt.total_seconds()"
    return ": of a duration its seconds, as column.dt.total_seconds()" if re.match(r"-?[0-9]+ days?\b", cell) else ""


def no_cell(value: object) -> InputError:
    """The error for a value that cannot be one cell of a table.

    >>> print(no_cell(["cat", "red"]))
    expected one value, found a list
    """
    kind = type(value).__name__
    advice = ": decode it to text" if isinstance(value, bytes) else ""
    return InputError(f"expected one value, found {'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}{advice}")


def as_words(kind: str, field: str, values: Iterable[object] | None) -> tuple[str, ...] | None:
    """A given list of words or labels as a tuple of distinct strings, or None."""
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{kind}: expected {field} to be a list of strings, received {shown(values)}")
    words = tuple(str(value) for value in values)
    if len(set(words)) != len(words):
        twice = [word for word, count in Counter(words).items() if count > 1]
        raise InputError(f"{kind}: expected distinct {field}, received {twice[0]!r} more than once")
    return words
