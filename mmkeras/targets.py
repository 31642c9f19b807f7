"""What is asked of a model: one class of several, several classes at once, or a number.

Every kind has the same five things: `fit` learns from the cells of the training rows, `encode` turns cells into the y
that Keras receives, `decode` turns the model's answers back, `answer_shape` is the shape of one answer, and `expected`
says what a cell has to hold. An empty cell is an absent target: `fit` skips it, `optional=True` allows it.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from mmkeras.errors import InputError

MAX, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)


def as_words(kind, field, values):
    """A given list of words or labels as a tuple of distinct strings, or None."""
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{kind}: expected {field} to be a list of strings, received {values!r}")
    words = tuple(str(value) for value in values)
    if len(set(words)) != len(words):
        twice = [word for word, count in Counter(words).items() if count > 1]
        raise InputError(f"{kind}: expected distinct {field}, received {twice[0]!r} more than once")
    return words


def natural(label):
    """Sort key: numbers by value, before words by spelling."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    return (math.isnan(number), 0.0 if math.isnan(number) else number, label)


def inputs_read(target):
    """The names of the inputs that a target's head reads alone, as a tuple; empty if it reads the fused vector."""
    return (target.reads,) if isinstance(target.reads, str) else target.reads or ()


def _check_options(target):
    """Raise an `InputError` unless `optional` is True or False, and `reads` a name, several (as a tuple) or None."""
    if isinstance(target.reads, list):
        object.__setattr__(target, "reads", tuple(target.reads))
    names = target.reads
    right = names is None or isinstance(names, str)
    if isinstance(names, tuple):
        right = all(isinstance(name, str) for name in names) and len(names) == len(set(names)) > 1
    if not right:
        raise InputError(
            f"{type(target).__name__}: expected reads to be the name of an input, or distinct names of several, "
            f"received {names!r}"
        )
    if not isinstance(target.optional, bool):
        raise InputError(
            f"{type(target).__name__}: expected optional to be True or False, received {target.optional!r}"
        )


def _check_answers(target, answers):
    """The answers as an array, if they have the shape `(batch, *answer_shape)`."""
    kind = type(target).__name__
    if not target.fitted:
        raise InputError(f"{kind}.decode: expected classes that are known, received a target that is not fitted")
    answers = np.asarray(answers)
    if answers.ndim != 1 + len(target.answer_shape) or answers.shape[1:] != target.answer_shape:
        expected = ", ".join(["batch", *map(str, target.answer_shape)])
        raise InputError(f"{kind}.decode: expected shape ({expected}), received {answers.shape}")
    return answers


def _listed(classes):
    what = "class" if len(classes) == 1 else f"{len(classes)} classes"
    return f"the {what} {', '.join(classes[:8])}{', ...' if len(classes) > 8 else ''}"


@dataclass(frozen=True)
class Category:
    """A target that is one of several classes.

    `fit` receives `(batch,)`, int32 class numbers; the model answers `(batch, classes)`, float32 probabilities.

    Args:
        classes: the labels in the order of the model's outputs; None: taken from the training rows, numbers by value,
            then words by spelling.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count for other targets alone (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            answers then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own, and its answers join nothing.
    """

    classes: tuple[str, ...] | None = None
    column: str | None = None
    optional: bool = False
    reads: str | tuple[str, ...] | None = None
    dtype = "int32"

    def __post_init__(self):
        _check_options(self)
        classes = as_words("Category", "classes", self.classes)
        if classes is not None and len(classes) < 2:
            raise InputError(f"Category: expected at least 2 classes, received {list(classes)}")
        object.__setattr__(self, "classes", classes)

    @property
    def fitted(self):
        """Whether the classes are known."""
        return self.classes is not None

    @property
    def answer_shape(self):
        """`(classes,)`."""
        return (len(self.classes),)

    @property
    def expected(self):
        """What a cell has to hold."""
        return f"one of {_listed(self.classes)}"

    def fit(self, labels):
        """A copy whose classes are the distinct `labels` (an iterable of str; empty ones are skipped)."""
        return replace(self, classes=tuple(sorted(set(labels) - {""}, key=natural)))

    def encode(self, cells):
        """The class numbers of cells.

        Args:
            cells: `(rows,)` str.

        Returns:
            Class numbers `(rows,)` int32, 0 where the cell is no class; and `(rows,)` bool, whether it is one.

        >>> Category(classes=["no", "yes"]).encode(["yes", "maybe"])
        (array([1, 0], dtype=int32), array([ True, False]))
        """
        number = {label: index for index, label in enumerate(self.classes)}
        found = np.array([number.get(cell, -1) for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0

    def decode(self, probabilities):
        """The labels of the most probable classes.

        Args:
            probabilities: `(batch, classes)`.

        Returns:
            `(batch,)` array of str.

        >>> Category(classes=["no", "yes"]).decode([[0.1, 0.9], [0.8, 0.2]]).tolist()
        ['yes', 'no']
        """
        probabilities = _check_answers(self, probabilities)
        return np.asarray(self.classes, dtype=object)[probabilities.argmax(axis=1)]


@dataclass(frozen=True)
class Labels:
    """A target that is any number of several classes at once, as the tags of a picture (multi-label).

    A cell holds the labels joined by the separator: "red|round". Their order, spaces around them and repetitions do not
    matter. An empty cell is an absent target, not "no label": to say "none of them" a cell holds the separator alone.

    `fit` receives `(batch, classes)`, float32, 1 for each of the row's labels and 0 for the others; the model answers
    `(batch, classes)`, float32, the probability of every class by itself (they do not add up to 1).

    Args:
        classes: the labels in the order of the model's outputs; None: taken from the training rows, numbers by value,
            then words by spelling.
        separator: between the labels of one cell.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count for other targets alone (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            answers then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own, and its answers join nothing.
    """

    classes: tuple[str, ...] | None = None
    separator: str = "|"
    column: str | None = None
    optional: bool = False
    reads: str | tuple[str, ...] | None = None
    dtype = "float32"

    def __post_init__(self):
        _check_options(self)
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(
                f"Labels: expected separator to be a string of at least one character, received {self.separator!r}"
            )
        classes = as_words("Labels", "classes", self.classes)
        if classes is not None and not classes:
            raise InputError("Labels: expected at least 1 class, received none")
        for label in classes or ():
            if self._split(label) != {label}:
                raise InputError(
                    f"Labels: expected labels without {self.separator!r} and spaces around them, received {label!r}"
                )
        object.__setattr__(self, "classes", classes)

    @property
    def fitted(self):
        """Whether the classes are known."""
        return self.classes is not None

    @property
    def answer_shape(self):
        """`(classes,)`."""
        return (len(self.classes),)

    @property
    def expected(self):
        """What a cell has to hold."""
        return f"some of {_listed(self.classes)}, joined by {self.separator!r}, or {self.separator!r} alone for none"

    def _split(self, cell):
        return {label.strip() for label in cell.split(self.separator)} - {""}

    def fit(self, cells):
        """A copy whose classes are all labels in `cells` (an iterable of str; empty ones are skipped)."""
        return replace(self, classes=tuple(sorted(set().union(*map(self._split, cells)), key=natural)))

    def encode(self, cells):
        """The labels of cells as ones and zeros.

        Args:
            cells: `(rows,)` str.

        Returns:
            `(rows, classes)` float32, zeros where the cell cannot be read; and `(rows,)` bool, whether it can.

        >>> Labels(classes=["red", "round"]).encode(["round|red", "|", "", "green"])[0].tolist()
        [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        """
        number = {label: index for index, label in enumerate(self.classes)}
        index, good = {}, {}
        for cell in dict.fromkeys(cells):
            labels = self._split(cell)
            good[cell] = labels <= number.keys() and bool(labels or self.separator in cell)
            index[cell] = [number[label] for label in labels] if good[cell] else []
        values = np.zeros((len(cells), len(self.classes)), np.float32)
        for row, cell in enumerate(cells):
            values[row, index[cell]] = 1
        return values, np.array([good[cell] for cell in cells], bool)

    def decode(self, probabilities, threshold=0.5):
        """The labels whose probability is above a threshold.

        Args:
            probabilities: `(batch, classes)`.
            threshold: 0 to 1.

        Returns:
            `(batch,)` array of tuples of str, in the order of the classes.

        >>> Labels(classes=["red", "round"]).decode([[0.7, 0.9], [0.2, 0.1]]).tolist()
        [('red', 'round'), ()]
        """
        chosen = _check_answers(self, probabilities) > threshold
        labels = np.empty(len(chosen), dtype=object)
        for row, flags in enumerate(chosen):
            labels[row] = tuple(label for label, flag in zip(self.classes, flags, strict=True) if flag)
        return labels


@dataclass(frozen=True)
class Number:
    """A target that is a number in the user's own unit (regression).

    `fit` receives `(batch,)`, float32, in the unit; the model answers `(batch,)`, float32, in the unit. Mean and
    deviation are used inside the head, whose loss is measured in deviations: a target in grams then weighs as much as
    one in tonnes.

    Args:
        mean, deviation: of the training rows, in the unit; the deviation is that of the population (divided by the
            number of rows). None: taken from the training rows.
        unit: for people to read, as "kg"; it appears in messages and in the schema's file.
        column: the table's column; None: the target's own name.
        optional: whether cells may be empty; such rows count for other targets alone (their sample weight is 0).
        reads: name of the one input that the target's head reads, instead of the fused vector (an auxiliary head); its
            answers then join the fusion as one more token. Or the names of several: the head reads a fusion of these
            inputs alone, of the model's kind but with weights of its own, and its answers join nothing.

    >>> Number().fit(["1", "3", ""])
    Number(mean=2.0, deviation=1.0, unit='', column=None, optional=False, reads=None)
    """

    mean: float | None = None
    deviation: float | None = None
    unit: str = ""
    column: str | None = None
    optional: bool = False
    reads: str | tuple[str, ...] | None = None
    dtype = "float32"
    answer_shape = ()

    def __post_init__(self):
        _check_options(self)
        if not isinstance(self.unit, str):
            raise InputError(f"Number: expected unit to be a string, received {self.unit!r}")
        if (self.mean is None) != (self.deviation is None):
            raise InputError(
                f"Number: expected mean and deviation, or neither, received mean={self.mean!r} and "
                f"deviation={self.deviation!r}"
            )
        if self.mean is None:
            return
        for name, least in (("mean", -MAX), ("deviation", TINY)):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not least <= value <= MAX:
                above = " above 0" if name == "deviation" else ""
                raise InputError(f"Number: expected {name} to be a float32 number{above}, received {value!r}")
            object.__setattr__(self, name, float(value))

    @property
    def fitted(self):
        """Whether mean and deviation are known."""
        return self.mean is not None

    @property
    def expected(self):
        """What a cell has to hold."""
        return "a finite number" + (f" ({self.unit})" if self.unit else "")

    def fit(self, cells):
        """A copy with mean and deviation of `cells` (an iterable of str or numbers; empty ones are skipped)."""
        cells = [cell for cell in cells if cell != ""]
        values = [_number(cell) for cell in cells]
        if None in values:
            raise InputError(f"Number: expected {self.expected}, received {cells[values.index(None)]!r}")
        if len(set(values)) < 2:
            raise InputError(f"Number: expected at least 2 different values to fit on, received {sorted(set(values))}")
        mean, deviation = float(np.mean(values)), float(np.std(values))
        if deviation < np.spacing(np.float32(abs(mean))):
            raise InputError(
                f"Number: expected numbers that float32 can tell apart, received a mean of {mean} and a deviation of "
                f"{deviation}: subtract a constant"
            )
        return replace(self, mean=mean, deviation=deviation)

    def encode(self, cells):
        """The numbers in cells.

        Args:
            cells: `(rows,)` str.

        Returns:
            `(rows,)` float32, the mean (0 if not fitted) where the cell holds no finite number; and `(rows,)` bool,
            whether it does.

        >>> Number(mean=2, deviation=1).encode(["3.5", "-1e3", "nan"])
        (array([    3.5, -1000. ,     2. ], dtype=float32), array([ True,  True, False]))
        """
        found = [_number(cell) for cell in cells]
        values = [(self.mean or 0.0) if number is None else number for number in found]
        return np.array(values, np.float32), np.array([number is not None for number in found], bool)

    def decode(self, values):
        """The model's answers, which are in the unit already: `(batch,)` -> the same."""
        return _check_answers(self, values)


def _number(cell):
    """The cell as a float, or None if it is no number that float32 can hold; 1_000 is Python's way, not a table's."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= MAX and "_" not in str(cell) else None


TARGETS = {kind.__name__: kind for kind in (Category, Labels, Number)}
