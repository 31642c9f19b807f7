"""The inputs and targets of a sample, and everything learned from the table to read them.

A `Schema` is immutable: `fit` returns a new one. It can be written as JSON and read again. It alone defines the names
and their order; the rest of the package (pipeline, towers, tasks, exported bundle) uses it.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from mmkeras.checks import checked_keywords
from mmkeras.disk import check_path, parse_json, read_text, writing
from mmkeras.errors import InputError, shown, unknown
from mmkeras.files import write_whole
from mmkeras.inputs import INPUTS, Audio, Image, Input, Series, Tabular, Text, Video
from mmkeras.targets import TARGETS, Category, Labels, Number, Target, inputs_read

__all__ = [
    "Audio",
    "Category",
    "Image",
    "Labels",
    "Number",
    "Schema",
    "Series",
    "Tabular",
    "Text",
    "Video",
    "inputs_read",
]

FORMAT = 1
DERIVED = r"_tokens|_tokens_mask|_grid\d+"  # features of an input in views of a model
RESERVED = ("_present", "_length", "_there", "_index", "_tower", "_missing", "_status", "_fusion")


def _check_parts(role: str, parts: Any, kinds: Mapping[str, type]) -> None:
    if not isinstance(parts, Mapping) or not (parts or role == "targets"):
        raise InputError(f"Schema: expected {role} to be a dict with at least one entry, received {shown(parts)}")
    for name, part in parts.items():
        word = isinstance(name, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        if not word or name.endswith(RESERVED) or name in ("alignment", "body", "fused"):
            raise InputError(
                f"Schema: expected names of letters, digits and _ that do not end in {', '.join(RESERVED)} and are not "
                "'alignment', 'body' or 'fused' (a column of another name is given by column=...), received "
                f"{shown(name)} in {role}"
            )
        if type(part) not in kinds.values():
            raise InputError(
                f"Schema: expected {role}[{name!r}] to be one of {', '.join(kinds)}, received {shown(part)}"
                + _hint_of(part)
            )


def _hint_of(part: Any) -> str:
    """What to write in the place of something that is no part of this role."""
    if isinstance(part, str) and part in {**INPUTS, **TARGETS}:
        return f": write mk.{part}(...)"
    if isinstance(part, type) and part in {**INPUTS, **TARGETS}.values():
        return f": write mk.{part.__name__}(...)"
    home = [role for role, base in (("inputs", Input), ("targets", Target)) if isinstance(part, base)]
    return f": it belongs in {home[0]}" if home else ""


@checked_keywords
@dataclass(frozen=True)
class Schema:
    """The inputs and targets of a table of samples, by name and in order.

    Args:
        inputs: dict of name -> `Image`, `Audio`, `Text`, `Series`, `Tabular`, `Video` or your own kind.
        targets: dict of name -> `Category`, `Labels`, `Number` or your own kind; none for a shared space alone.

    Raises:
        InputError: an invalid name, a part of an unknown kind, a target that reads an unknown input.

    >>> schema = Schema(inputs={"photo": Image(32, 32)}, targets={"label": Category()})
    >>> schema.fitted
    False
    >>> schema.fit({"label": ["cat", "dog", "cat"]}).targets["label"].classes
    ('cat', 'dog')
    """

    inputs: dict[str, Input]
    targets: dict[str, Target]

    def __post_init__(self) -> None:
        _check_parts("inputs", self.inputs, INPUTS)
        _check_parts("targets", self.targets, TARGETS)
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            raise InputError(f"Schema: expected different names for inputs and targets, received {both[0]!r} in both")
        self._check_derived()
        self._check_reads()
        object.__setattr__(self, "inputs", dict(self.inputs))
        object.__setattr__(self, "targets", dict(self.targets))

    def _check_derived(self) -> None:
        for name in self.inputs:
            for other in [*self.inputs, *self.targets]:
                if other.startswith(name) and re.fullmatch(DERIVED, other[len(name) :]):
                    raise InputError(
                        f"Schema: expected another name than {other!r} with the input {name!r}: its features have it"
                    )

    def _check_reads(self) -> None:
        for name, target in self.targets.items():
            for read in inputs_read(target):
                if read not in self.inputs:
                    raise unknown("input", read, self.inputs, where=f"Schema: {name!r}: reads: ")
        if self.targets and all(target.reads for target in self.targets.values()):
            raise InputError(
                "Schema: expected at least one target that reads the fused vector (reads=None), received "
                + ", ".join(f"{name}: reads={target.reads!r}" for name, target in self.targets.items())
            )

    @property
    def parts(self) -> dict[str, Input | Target]:
        """Inputs and targets in one dict."""
        return {**self.inputs, **self.targets}

    @property
    def model_inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The inputs of a model, in order: dict of name -> (shape without the batch, dtype).

        Each input by its name; after it `<name>_length` if it is padded, `<name>_there` if it is several files, and
        `<name>_present` if it is optional.
        """
        received = {name: feature.received for name, feature in self.inputs.items()}
        return {name + suffix: kind for name, kinds in received.items() for suffix, kind in kinds.items()}

    def tower_inputs(self, name: str) -> dict[str, tuple[tuple[int, ...], str]]:
        """Those of `model_inputs` that the tower of one input receives, in order: all of it but `<name>_present`."""
        received = self.inputs[name].received.items()
        return {name + suffix: kind for suffix, kind in received if suffix != "_present"}

    def deduplicated_inputs(self, by: str) -> dict[str, tuple[tuple[int, ...], str]]:
        """The inputs of a model of `mk.deduplicated_model`, in order: `model_inputs`, each distinct value of `by` once.

        First `<by>_index` `(batch,)` int32, which value each row has (Keras weights the loss by the rows of the first
        input); last `by` itself `(values, ...)`, and its length if it is padded.
        """
        given = {f"{by}_index": ((), "int32"), **self.model_inputs}
        return given | {name: given.pop(name) for name in (by, f"{by}_length") if name in given}

    def columns(self, name: str) -> tuple[str, ...]:
        """The table's columns that hold the input or target `name`: one, but for `Tabular`."""
        if name not in self.parts:
            raise unknown("input or target", name, self.parts)
        return self.parts[name].table_columns(name)

    def column(self, name: str) -> str:
        """The first of `columns`."""
        return self.columns(name)[0]

    @property
    def unfitted(self) -> list[str]:
        """Names of the parts that are not fitted yet, in order."""
        return [name for name, part in self.parts.items() if not getattr(part, "fitted", True)]

    @property
    def fitted(self) -> bool:
        """Whether vocabularies, classes and means are all known."""
        return not self.unfitted

    def require_fitted(self, purpose: str) -> None:
        """Raise an `InputError` that names what is missing, unless the schema is fitted."""
        if not self.fitted:
            raise InputError(
                f"{purpose} needs a fitted schema, but the vocabulary, classes or mean of "
                f"{', '.join(map(repr, self.unfitted))} are not known yet: use records.split(...).schema, "
                "records.fit().schema, or give them by hand"
            )

    def by_target(self, values: Any) -> dict[str, Any]:
        """Values of all targets as a dict by target, also where Keras has one value alone, as there is one target."""
        return values if len(self.targets) > 1 else dict.fromkeys(self.targets, values)

    def fold(self, values: dict[str, Any]) -> Any:
        """The opposite of `by_target`: a dict by target as Keras expects it; with one target, its value alone."""
        return values if len(self.targets) > 1 else next(iter(values.values()), None)

    def fit(self, values: Mapping[str, Any]) -> Self:
        """A copy in which every part not yet fitted is fitted on `values[name]`, which its own `fit` documents."""
        new: dict[str, Any] = {}
        parts: dict[str, Any] = self.parts
        for name in self.unfitted:
            try:
                new[name] = parts[name].fit(values[name])
            except InputError as error:
                raise InputError(f"{name!r}: {error}") from error
        return type(self)(
            inputs={name: new.get(name, part) for name, part in self.inputs.items()},
            targets={name: new.get(name, part) for name, part in self.targets.items()},
        )

    def to_json(self) -> str:
        """The schema as a JSON string."""
        content = {
            "format": FORMAT,
            "inputs": _options(self.inputs, INPUTS),
            "targets": _options(self.targets, TARGETS),
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The schema from `to_json`'s string. Raises `InputError` for anything else."""
        content = parse_json(text, "Schema: ", "the JSON of a schema")
        try:
            if content["format"] != FORMAT:
                raise InputError(f"Schema: expected format {FORMAT}, received {content['format']!r}")
            return cls.from_options({role: content[role] for role in ("inputs", "targets")})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"Schema: expected the JSON of a schema, received {shown(text)} ({error})") from error

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """The schema from plain values: dict of "inputs" and "targets", each of name -> dict of "kind" and options.

        >>> text = {"kind": "Text", "length": 8}
        >>> Schema.from_options({"inputs": {"review": text}, "targets": {"liked": {"kind": "Category"}}}).fitted
        False
        """
        for role in options:
            if role not in ("inputs", "targets"):
                raise unknown("key", role, ["inputs", "targets"], where="Schema: ")
        for role in ("inputs", "targets"):
            given = options.get(role)
            if not isinstance(given, Mapping):
                raise InputError(f"Schema: expected {role} to be a dict of name -> options, received {shown(given)}")
        return cls(_parts(options["inputs"], INPUTS), _parts(options["targets"], TARGETS))

    @checked_keywords
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the schema as JSON to `path`, whole or not at all. Raises `InputError` if it cannot be written."""
        path = check_path(path, "Schema: ")
        with writing(path, "Schema: "):
            write_whole(path, self.to_json() + "\n")

    @classmethod
    @checked_keywords
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a schema that `save` has written. Raises `InputError` for anything else."""
        text = read_text(path, "Schema: ")
        try:
            return cls.from_json(text)
        except InputError as error:
            raise InputError(f"{str(path)!r}: {error}") from error


def _options(parts: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Parts as plain values, each kind by the name under which it is registered."""
    names = {kind: name for name, kind in kinds.items()}
    return {name: {"kind": names[type(part)], **asdict(part)} for name, part in parts.items()}


def _parts(content: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """The opposite of `_options`."""
    parts = {}
    for name, values in content.items():
        where = f"Schema: {name!r}: "
        if not isinstance(values, Mapping) or "kind" not in values:
            raise InputError(f"{where}expected a dict of 'kind' and options, received {shown(values)}")
        options = {**values}
        kind = options.pop("kind")
        if not isinstance(kind, str) or kind not in kinds:
            own = "; a kind of your own is registered first: import the module that does it"
            raise InputError(f"{unknown('kind', kind, kinds, where)}{own}")
        known = [option.name for option in fields(kinds[kind])]
        for option in options:
            if option not in known:
                raise unknown(f"option of {kind}:", option, known, where)
        try:
            parts[name] = kinds[kind](**options)
        except InputError as error:
            raise InputError(f"{where}{error}") from error
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
            # an option that is not there, or of a type that no option has
            raise InputError(f"{where}expected the options of {kind}, received {shown(options)} ({error})") from error
    return parts
