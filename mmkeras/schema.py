"""What a sample is: its inputs, its targets, and everything that had to be learned from the table to read them.

A `Schema` is a value: `fit` returns a new one, JSON carries it both ways, and it alone says which names there are and
in which order. The rest of the package (pipeline, towers, heads, exported bundle) asks it.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path

from mmkeras.errors import InputError, unknown
from mmkeras.targets import TARGETS, Category, Labels, Number, as_words

FORMAT = 1
RESERVED = ("_present", "_length", "_index", "_tower", "_status")


def _check_positive(part, kind, *names):
    """Raise an `InputError` unless these fields are finite numbers above 0 of the kind; NumPy's become Python's."""
    what = "a whole number" if kind is int else "a number"
    for name in names:
        value = getattr(part, name)
        right = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        if not right or not 0 < value < math.inf:
            raise InputError(f"{type(part).__name__}: expected {name} to be {what} above 0, received {value!r}")
        object.__setattr__(part, name, kind(value))


@dataclass(frozen=True)
class Image:
    """A picture from a JPEG, PNG, GIF, BMP or WebP file, stretched to one size.

    The model receives `(batch, height, width, channels)`, uint8, 0 to 255.

    Args:
        height, width: size in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        column: the table's column that names the file; None: the input's own name.
    """

    height: int
    width: int
    channels: int = 3
    column: str | None = None
    dtype = "uint8"

    def __post_init__(self):
        _check_positive(self, int, "height", "width")
        if self.channels not in (1, 3):
            raise InputError(f"Image: expected channels to be 1 or 3, received {self.channels!r}")

    @property
    def shape(self):
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Audio:
    """A recording from a WAV (PCM or float), FLAC, OGG or MP3 file, cut or filled with silence to one duration.

    The model receives `(batch, samples)`, float32 in [-1, 1]; several channels are averaged.

    Args:
        rate: samples a second, hertz; a file of another rate is resampled.
        seconds: duration.
        column: the table's column that names the file; None: the input's own name.
    """

    rate: int
    seconds: float
    column: str | None = None
    dtype = "float32"

    def __post_init__(self):
        _check_positive(self, int, "rate")
        _check_positive(self, float, "seconds")
        if self.samples < 1:
            raise InputError(f"Audio: {self.seconds} s at {self.rate} Hz is less than one sample")

    @property
    def samples(self):
        """Number of samples."""
        return round(self.rate * self.seconds)

    @property
    def shape(self):
        """`(samples,)`."""
        return (self.samples,)


@dataclass(frozen=True)
class Text:
    """A sentence, as numbers of words: lower case, without punctuation, cut or padded at its end to one length.

    The model receives `(batch, length)`, int32: 0 padding, 1 a word outside the vocabulary, from 2 on the vocabulary.

    Args:
        length: number of words kept.
        vocabulary: the words in the order of their numbers; None: taken from the training rows, most frequent first.
        limit: most words that fitting takes.
        column: the table's column; None: the input's own name.
    """

    length: int
    vocabulary: tuple[str, ...] | None = None
    limit: int = 20_000
    column: str | None = None
    dtype = "int32"

    def __post_init__(self):
        _check_positive(self, int, "length", "limit")
        words = as_words("Text", "vocabulary", self.vocabulary)
        if words is not None and not words:
            raise InputError("Text: expected at least one word in vocabulary, received none")
        for word in words or ():
            if not word or word.split() != [word] or word == "[UNK]":
                raise InputError(f"Text: expected words without spaces in vocabulary, received {word!r}")
        object.__setattr__(self, "vocabulary", words)

    @property
    def shape(self):
        """`(length,)`."""
        return (self.length,)

    @property
    def tokens(self):
        """Number of different token ids, padding and the unknown word among them."""
        return len(self.vocabulary) + 2

    @property
    def fitted(self):
        """Whether the vocabulary is known."""
        return self.vocabulary is not None

    def fit(self, words):
        """A copy whose vocabulary is the most frequent of `words` (an iterable of str, with repetitions)."""
        counted = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
        return replace(self, vocabulary=tuple(word for word, _ in counted[: self.limit]))


INPUTS = {kind.__name__: kind for kind in (Image, Audio, Text)}


def _check_parts(role, parts, kinds):
    if not isinstance(parts, Mapping) or not parts:
        raise InputError(f"Schema: expected {role} to be a dict with at least one entry, received {parts!r}")
    for name, part in parts.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name.endswith(RESERVED):
            raise InputError(
                f"Schema: expected names of letters, digits and _ that do not end in {', '.join(RESERVED)} "
                f"(a column of another name is given by column=...), received {name!r} in {role}"
            )
        if type(part) not in kinds.values():
            raise InputError(f"Schema: expected {role}[{name!r}] to be one of {', '.join(kinds)}, received {part!r}")


@dataclass(frozen=True)
class Schema:
    """The inputs and targets of a table of samples, by name and in order.

    Args:
        inputs: dict of name -> `Image`, `Audio` or `Text`.
        targets: dict of name -> `Category`, `Labels` or `Number`.

    Raises:
        InputError: a name that cannot be one, or a part of an unknown kind.

    >>> schema = Schema(inputs={"photo": Image(32, 32)}, targets={"label": Category()})
    >>> schema.fitted
    False
    >>> schema.fit({"label": ["cat", "dog", "cat"]}).targets["label"].classes
    ('cat', 'dog')
    """

    inputs: dict[str, Image | Audio | Text]
    targets: dict[str, Category | Labels | Number]

    def __post_init__(self):
        _check_parts("inputs", self.inputs, INPUTS)
        _check_parts("targets", self.targets, TARGETS)
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            raise InputError(f"Schema: expected different names for inputs and targets, received {both[0]!r} in both")
        object.__setattr__(self, "inputs", dict(self.inputs))
        object.__setattr__(self, "targets", dict(self.targets))

    @property
    def parts(self):
        """Inputs and targets in one dict."""
        return {**self.inputs, **self.targets}

    def column(self, name):
        """The table's column that holds the input or target `name`."""
        return self.parts[name].column or name

    @property
    def unfitted(self):
        """Names of the parts that still have to be fitted, in order."""
        return [name for name, part in self.parts.items() if not getattr(part, "fitted", True)]

    @property
    def fitted(self):
        """Whether vocabularies, classes and means are all known."""
        return not self.unfitted

    def require_fitted(self, purpose):
        """Raise an `InputError` that names what is missing, unless the schema is fitted."""
        if not self.fitted:
            raise InputError(
                f"{purpose} needs a fitted schema, but the vocabulary, classes or mean of "
                f"{', '.join(map(repr, self.unfitted))} are not known yet: use records.split(...).schema, "
                "records.fit().schema, or give them by hand"
            )

    def fit(self, values):
        """A copy in which every part not yet fitted is fitted on `values[name]` (a text's words, a target's cells)."""
        new = {}
        for name in self.unfitted:
            try:
                new[name] = self.parts[name].fit(values[name])
            except InputError as error:
                raise InputError(f"{name!r}: {error}") from error
        return Schema(
            inputs={name: new.get(name, part) for name, part in self.inputs.items()},
            targets={name: new.get(name, part) for name, part in self.targets.items()},
        )

    def to_json(self):
        """The schema as a JSON string."""

        def part(value):
            return {"kind": type(value).__name__, **asdict(value)}

        content = {
            "format": FORMAT,
            "inputs": {name: part(value) for name, value in self.inputs.items()},
            "targets": {name: part(value) for name, value in self.targets.items()},
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text):
        """The schema from `to_json`'s string. Raises `InputError` for anything else."""
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise InputError(f"Schema: expected format {FORMAT}, received {content['format']!r}")
            return cls(_parts(content["inputs"], INPUTS), _parts(content["targets"], TARGETS))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"Schema: expected the JSON of a schema, received {text[:60]!r} ({error})") from error

    def save(self, path):
        """Write the schema as JSON to `path`."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path):
        """Read a schema that `save` has written."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Schema: cannot read {str(path)!r}: {error}") from error
        return cls.from_json(text)


def _parts(content, kinds):
    parts = {}
    for name, values in content.items():
        options = {**values}
        kind = options.pop("kind")
        if kind not in kinds:
            raise unknown("kind", kind, kinds, where=f"Schema: {name!r}: ")
        known = [option.name for option in fields(kinds[kind])]
        for option in options:
            if option not in known:
                raise unknown(f"option of {kind}:", option, known, where=f"Schema: {name!r}: ")
        parts[name] = kinds[kind](**options)
    return parts
