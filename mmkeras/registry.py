"""Catalogues: parts by name, and objects by kind of input or target.

`Catalogue` is a dict of name -> part ("conv" -> a tower). `Kinds` is a dict of kind -> object (`Image` -> its codec):
`of` looks it up, and the message for an unknown kind is the same everywhere. Both remember the parts that a user
registered, so that other processes can get them too (`registered`, `restore`).
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mmkeras.checks import check_share
from mmkeras.errors import InputError, shown, unknown

CATALOGUES: dict[str, "Catalogue"] = {}  # by their module and their purpose


class Catalogue(dict):
    """Parts by name.

    Args:
        what: the name of a part in messages, as "tower".
        parts: those of mmkeras.
        home: the module that holds the catalogue, `__name__`.
        accepts: function that tells whether an object can be a part; None: whether it is callable.
        expected: description of such a part, for the message.
        base: class of the parts; if a class that derives from it is registered, an object of it is made.
    """

    def __init__(
        self,
        what: str,
        parts: Mapping,
        home: str,
        accepts: Callable[[Any], bool] | None = None,
        expected: str = "a function",
        base: type | None = None,
    ):
        super().__init__(parts)
        self.what, self.home, self.accepts, self.expected = what, home, accepts or callable, expected
        self.base, self.builtin = base, dict(parts)
        CATALOGUES[f"{home}/{what}"] = self

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator that adds a part, or an object of a class of parts: `@mk.towers.register("mine")`."""
        if not isinstance(name, str):
            raise InputError(f'{self.what}: expected a name, as @register("mine"), received {shown(name)}')

        def add(part):
            self.add(name, self.made(part))
            return part

        return add

    def made(self, part: Any) -> Any:
        """The part; an object, if it is a class of parts."""
        return part() if self.base and isinstance(part, type) and issubclass(part, self.base) else part

    def add(self, name: Any, part: Any) -> None:
        """Add a user's part.

        The same definition, run again as in a cell of a notebook, replaces the earlier one.

        Raises:
            InputError: it cannot be a part, or there is another one of this name.
        """
        label = getattr(name, "__name__", name)
        if not self.accepts(part):
            raise InputError(f"{self.what} {label!r}: expected {self.expected}, received {shown(part)}")
        if name in self and (name not in self.own or _definition(self[name]) != _definition(part)):
            raise InputError(
                f"{self.what} {label!r} exists already: {shown(self[name])}; expected another name for {shown(part)}"
            )
        self[name] = part

    @property
    def own(self) -> dict:
        """The parts that the user has added."""
        return {name: part for name, part in self.items() if self.builtin.get(name) is not part}


def _definition(part: Any) -> tuple[str, str]:
    """Where a part is defined: the module and the name of the function or class, or of an object's class."""
    made_by = part if hasattr(part, "__qualname__") else type(part)
    return made_by.__module__, made_by.__qualname__


def _a(name: str) -> str:
    """A name with its article."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


class Kinds(Catalogue):
    """The object for each kind of input or target.

    Args:
        what: the name of such an object in messages, as "codec".
        base: the class of these objects.
        home: the module that holds the table, `__name__`.
        how: the call in that module that registers an object for your own `{kind}`, for the message.
    """

    def __init__(self, what: str, base: type, home: str, how: str = "register({kind})"):
        super().__init__(what, {}, home, lambda part: isinstance(part, base), _a(base.__name__), base)
        self.how = how

    def register(self, *kinds: type) -> Callable[[Any], Any]:
        """Decorator of a class (an object of it is made) or of an object, for these kinds."""

        for kind in kinds:
            if not isinstance(kind, type) or (self.base and issubclass(kind, self.base)):
                how = self.how.format(kind="PointCloud")
                raise InputError(f"{self.what}: expected a kind, as @{self.home}.{how}, received {shown(kind)}")

        def add(part):
            made = self.made(part)
            for kind in kinds:
                self.add(kind, made)
            return part

        return add

    @property
    def own(self) -> dict:
        """The objects for the user's kinds, and the user's objects for kinds of mmkeras."""
        modules = {kind: (kind.__module__, type(made).__module__) for kind, made in self.items()}
        return {
            kind: self[kind]
            for kind, (of_kind, of_object) in modules.items()
            if not of_kind.startswith("mmkeras.") or not of_object.startswith(("mmkeras.", "builtins"))
        }

    def of(self, part: Any, where: str = "") -> Any:
        """The object for an input or target of a schema, or for its kind; that of its nearest base class.

        `where`: beginning of the message for an unknown kind.
        """
        if (found := self.known(part)) is not None:
            return found
        kind = part if isinstance(part, type) else type(part)
        known = ", ".join(sorted(one.__name__ for one in self))
        raise InputError(
            f"{where}unknown kind {kind.__name__!r}: no {self.what} is known for it; expected one of {known}, or your "
            f"own: @{self.home}.{self.how.format(kind=kind.__name__)}"
        )

    def known(self, part: Any) -> Any:
        """As `of`, but None for an unknown kind, where a kind may do without."""
        kind = part if isinstance(part, type) else type(part)
        return next((self[base] for base in kind.__mro__ if base in self), None)


def registered() -> dict[str, dict]:
    """The user's parts in all catalogues: dict of catalogue -> dict of name or kind -> part."""
    return {key: table.own for key, table in CATALOGUES.items() if table.own}


def restore(parts: Mapping[str, Mapping]) -> None:
    """Register the parts that `registered` gave in another process; those that the user registered here stay."""
    for key, own in parts.items():
        importlib.import_module(key.partition("/")[0])
        for name, part in own.items():
            if name not in CATALOGUES[key] or name in CATALOGUES[key].builtin:
                CATALOGUES[key][name] = part


def choose(catalogue: Catalogue, choice: Any, where: str) -> tuple[str, Any, dict]:
    """The part that `choice` names: `(name, part, options)`.

    Args:
        catalogue: the catalogue to look in.
        choice: a name, or a dict of "kind" (the name) and options; instead of the name also the part itself.
        where: beginning of the message, as "'image': ".
    """
    options = dict(choice) if isinstance(choice, Mapping) else {"kind": choice}
    name = options.pop("kind", None)
    if name is None and options:
        raise InputError(
            f"{where}expected 'kind', the name of a {catalogue.what}, among its options, received {shown(choice)}"
        )
    if isinstance(name, str) and name in catalogue:
        return name, catalogue[name], options
    if not isinstance(name, str) and catalogue.accepts(name):
        return getattr(name, "__name__", repr(name)), name, options
    raise unknown(catalogue.what, name, catalogue, where)


def own_options(part: Callable, given: Iterable[str]) -> list[str]:
    """Names of a part's own options: its keyword arguments except the `given` ones."""
    parameters = inspect.signature(part).parameters
    return [key for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY and key not in given]


def check_option(option: str, value: Any, where: str) -> None:
    """Raise an `InputError` if the option is a share, as "dropout", and the value is not from 0 to below 1."""
    if option.endswith(("dropout", "label_smoothing")):
        check_share(value, option, where)


def arguments(what: str, name: str, part: Callable, options: Mapping, given: Mapping, where: str) -> dict:
    """Keyword arguments for a part: its options, checked, and those of the `given` that it takes."""
    own = own_options(part, given)
    for option, value in options.items():
        if option not in own:
            raise unknown(f"option of {what} {name!r}:", option, own, where)
        check_option(option, value, where)
    parameters = inspect.signature(part).parameters
    return {**options, **{key: value for key, value in given.items() if key in parameters}}
