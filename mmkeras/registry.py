"""The catalogues of towers, fusions and heads are plain dicts: how a part is added, found and given its options."""

import inspect
import math
from collections.abc import Mapping
from numbers import Real

from mmkeras.errors import InputError, unknown


def registrar(kind, table):
    """The `register(name)` decorator of one catalogue."""
    known = next(iter(table.values()))

    def register(name):
        if not isinstance(name, str):
            raise InputError(f'{kind}: expected a name, as @register("mine"), received {name!r}')

        def add(part):
            if not (callable(part) if callable(known) else isinstance(part, type(known))):
                raise InputError(f"{kind} {name!r}: expected a {type(known).__name__}, received {part!r}")
            if name in table:
                raise InputError(f"{kind} {name!r} exists already: {table[name]!r}")
            table[name] = part
            return part

        return add

    return register


def choose(kind, table, choice, where):
    """What `choice` names: `(name, part, options)`.

    Args:
        kind: "tower", "fusion" or "head".
        table: the catalogue.
        choice: a name, or a dict of "kind" (the name) and options; instead of the name also the part itself.
        where: beginning of the message, as "'image': ".
    """
    options = dict(choice) if isinstance(choice, Mapping) else {"kind": choice}
    name = options.pop("kind", None)
    if name is None and options:
        raise InputError(f"{where}expected 'kind', the name of a {kind}, among its options, received {choice!r}")
    if isinstance(name, type(next(iter(table.values())))):
        return getattr(name, "__name__", repr(name)), name, options
    if not isinstance(name, str) or name not in table:
        raise unknown(kind, name, table, where)
    return name, table[name], options


def is_number(value, least, above=False):
    """Whether it is a finite number from `least`, or above it."""
    right = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    return right and (value > least if above else value >= least)


def check_share(option, value, where):
    """Raise an `InputError` if the option is a share, as "dropout", and the value is not from 0 to below 1."""
    if option.endswith(("dropout", "label_smoothing")) and not (is_number(value, least=0) and value < 1):
        raise InputError(f"{where}expected {option} to be from 0 to below 1, received {value!r}")


def own_options(part, given):
    """Names of the options that a part has of its own: its keyword arguments but the `given` ones."""
    parameters = inspect.signature(part).parameters
    return [key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY and key not in given]


def arguments(kind, name, part, options, given, where):
    """Keyword arguments for a part: its options, checked, and those of the `given` that it asks for."""
    own = own_options(part, given)
    for option, value in options.items():
        if option not in own:
            raise unknown(f"option of {kind} {name!r}:", option, own, where)
        check_share(option, value, where)
    parameters = inspect.signature(part).parameters
    return {**options, **{key: value for key, value in given.items() if key in parameters}}
