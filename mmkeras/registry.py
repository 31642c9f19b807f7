"""The catalogues of towers, fusions and heads are plain dicts: how a part is added, found and given its options."""

import inspect
from collections.abc import Mapping

from mmkeras.errors import InputError, unknown


def registrar(kind, table):
    """The `register(name)` decorator of one catalogue."""

    def register(name):
        def add(part):
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
    if isinstance(name, type(next(iter(table.values())))):
        return getattr(name, "__name__", repr(name)), name, options
    if not isinstance(name, str) or name not in table:
        raise unknown(kind, name, table, where)
    return name, table[name], options


def own_options(part, given):
    """Names of the options that a part has of its own: its keyword arguments but the `given` ones."""
    parameters = inspect.signature(part).parameters
    return [key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY and key not in given]


def arguments(kind, name, part, options, given, where):
    """Keyword arguments for a part: its options, checked, and those of the `given` that it asks for."""
    own = own_options(part, given)
    for option in options:
        if option not in own:
            raise unknown(f"option of {kind} {name!r}:", option, own, where)
    parameters = inspect.signature(part).parameters
    return {**options, **{key: value for key, value in given.items() if key in parameters}}
