"""The base class of tasks: output, loss, metrics, decoding, serving, drawing and description of a target."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
from keras import ops

from mmkeras.errors import InputError, shown
from mmkeras.layers import Fused, Tokens, one_token
from mmkeras.targets import Target


class Words(NamedTuple):
    """The meaning of the numbers in a part of a decoded output.

    Attributes:
        words: a whole number is a place among them; True or False for each word says whether it is predicted.
        separator: joins the predicted words, where the output is one string.
    """

    words: Sequence[str]
    separator: str = "|"


class Served(NamedTuple):
    """The form of an output in TensorFlow Serving's Classify or Regress API.

    Attributes:
        api: "classify" or "regress".
        outputs: dict of the name of an output there -> part of the decoded output: "classes" (words) and "scores"
            `(rows, k)`, or "outputs" `(rows,)`.
    """

    api: str
    outputs: dict[str, str]


class Task:
    """Base of all tasks.

    Your own task derives from it, or from one of ours, and defines `serves`, `output`, `loss` and `metrics`; the rest
    has defaults. Register it by `@mk.tasks.register("grade")`. The options of `output` and `loss` are their keyword
    arguments after `*`; `ModelSpec.tasks` gives them with the task's name.

    Attributes:
        serves: the kinds of target.
        reads: the part of the fusion that it reads: "vector", "tokens" or "grid".
        squared: whether the loss is a squared error, of which a learned loss weight takes half, as the paper does.
    """

    serves: ClassVar[tuple[type[Target], ...]] = ()
    reads: ClassVar[str] = "vector"
    squared: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def output(self, fused: Fused, target: Target, *, name: str) -> Any:
        """The output `(batch, *output_shape)`. Its last layer has the name `name` and is float32.

        Args:
            fused: `Fused`; a task that reads "vector" uses its `vector` `(batch, width)`.
            target: fitted.
            name: of the target.
        """
        raise NotImplementedError(f"{type(self).__name__} has to give an output")

    def output_shape(self, target: Target) -> tuple[int, ...]:
        """Shape of the output, without the batch; by default that of the truth."""
        return target.shape

    def loss(self, target: Target) -> keras.losses.Loss:
        """The loss of truth and output."""
        raise NotImplementedError(f"{type(self).__name__} has to give a loss")

    def metrics(self, target: Target) -> list[keras.metrics.Metric]:
        """New metrics of truth and output, the most important first; see `mmkeras.tasks.direction`."""
        raise NotImplementedError(f"{type(self).__name__} has to give metrics")

    def answer(self, outputs: Any, target: Target) -> dict[str, Any]:
        """The decoded outputs, the same for `predict`, `evaluate` and every exported format.

        Args:
            outputs: `(batch, *output_shape)`.
            target: fitted.

        Returns:
            dict of part -> tensor `(batch, ...)`, by operations of `keras.ops` that look at each row by itself; the
            part with the prediction as one value comes first. Words are numbers here: see `words`.
        """
        return {"value": outputs}

    def decoded(self, outputs: Any, target: Target) -> dict[str, np.ndarray]:
        """The decoded outputs in numpy, words in place of their numbers: dict of part -> `(rows, ...)`; see `in_words`.

        Args:
            outputs: `(rows, *output_shape)`.
            target: fitted.

        Raises:
            InputError: a target that is not fitted, outputs of another shape.
        """
        if not target.fitted:
            raise InputError(f"{self!r}: expected a fitted target, received {shown(target)}")
        outputs = np.asarray(outputs, "float32")
        if not outputs.ndim or outputs.shape[1:] != self.output_shape(target):
            raise InputError(
                f"{self!r}: expected outputs {shape_of(self.output_shape(target))}, received {outputs.shape}"
            )
        rows = len(outputs)
        some = outputs if rows else np.zeros((1, *outputs.shape[1:]), "float32")  # not every operation takes 0 rows
        answer = {part: value[:rows] for part, value in self.answer(ops.convert_to_tensor(some), target).items()}
        return in_words({part: ops.convert_to_numpy(value) for part, value in answer.items()}, self.words(target))

    def words(self, target: Target) -> dict[str, Words]:
        """The words of each part of the decoded output that is made of words."""
        return {}

    def unit(self, target: Target) -> str | None:
        """The unit of the prediction; None if it has none."""
        return None

    def columns(self, answers: Mapping[str, np.ndarray], target: Target) -> dict[str, np.ndarray]:
        """The columns of `predict`: dict of the suffix after the target's name -> `(rows,)`.

        Args:
            answers: dict of part -> array `(rows, ...)`, words in place of their numbers.
            target: fitted.
        """
        first = next(iter(answers))
        return {"" if part == first else part: _column(values) for part, values in answers.items()}

    def scores(self, truth: np.ndarray, answers: Mapping[str, np.ndarray], target: Target) -> dict[str, float]:
        """Scores of the decoded outputs, in addition to the metrics: dict of name -> value.

        Args:
            truth: `(rows, ...)`, of the rows that have the target.
            answers: dict of part -> array `(rows, ...)` of the same rows, as `answer` gives them.
            target: fitted.
        """
        return {}

    def token(self, outputs: Any, target: Target, width: int, *, name: str) -> Tokens | None:
        """How the output of a target that reads one input joins the fusion of all; None: not at all.

        Args:
            outputs: `(batch, *output_shape)`.
            target: fitted.
            width: of the tokens.
            name: of the target; the names of the layers begin with it.
        """
        if len(outputs.shape) != 2:
            return None
        return one_token(keras.layers.Dense(width, name=f"{name}_token")(outputs))

    def distance(self, target: Target, teacher: Any, student: Any, temperature: float) -> Any:
        """The distance of a student's outputs from a teacher's; a scalar: the mean of the squared differences,
        divided by the target's `scale`.

        Args:
            target: fitted.
            teacher, student: outputs `(batch, *output_shape)`.
            temperature: above 0, softens probabilities.
        """
        return ops.mean(ops.square((teacher - student) / target.scale))

    def served(self, target: Target) -> Served | None:
        """The form in TensorFlow Serving's Classify or Regress API; None: in neither."""
        return None

    def card(self, target: Target) -> dict[str, str]:
        """The text for the model card: dict of part of the output -> its description, "" for its name only."""
        return dict.fromkeys(self.parts(target), "")

    def limits(self, target: Target) -> list[str]:
        """Sentences for the model card about limits of the model; they begin in lower case."""
        return []

    def draw(self, axes: Any, truth: Any, answers: Mapping[str, Any]) -> None:
        """Write truth and prediction of one row over a matplotlib axes; green if they are equal, else red.

        Args:
            axes: of matplotlib.
            truth: of the row, as a word or number; None: unknown.
            answers: dict of part -> value of the row, words in place of their numbers.
        """
        given = next(iter(answers.values()))
        right = truth is None or truth == given
        told = f"{given}" if right else f"{given} (true: {truth})"
        axes.set_title(told, color="black" if truth is None else "tab:green" if right else "tab:red")

    def parts(self, target: Target) -> dict[str, keras.KerasTensor]:
        """Names, shapes and dtypes of the parts of the decoded output."""
        outputs = keras.KerasTensor((None, *self.output_shape(target)), dtype="float32")
        return self.answer(outputs, target)


def shape_of(shape: tuple[int, ...]) -> str:
    """A shape without the batch, for messages."""
    return f"({', '.join(['batch', *map(str, shape)])})"


def dropped(x: Any, dropout: float, name: str) -> Any:
    """The input of a task, with a share of the values dropped in training; the layer is named after the target."""
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def in_words(answers: Mapping[str, np.ndarray], words: Mapping[str, Words]) -> dict[str, np.ndarray]:
    """The parts of a decoded output with words in place of their numbers.

    Args:
        answers: dict of part -> array `(rows, ...)`.
        words: `Task.words`.

    Returns:
        dict of part -> array: for numbers of words an array of str; for `(rows, words)` bool an array `(rows,)` of
        tuples of str.

    >>> in_words({"label": np.array([1, 0])}, {"label": Words(("no", "yes"))})["label"].tolist()
    ['yes', 'no']
    """
    return {part: _in_words(values, words[part].words) if part in words else values for part, values in answers.items()}


def _in_words(values, words):
    if values.dtype != bool:
        return np.asarray(words, dtype=object)[values]
    found = np.empty(len(values), dtype=object)
    for row, meant in enumerate(values):
        found[row] = tuple(word for word, is_meant in zip(words, meant, strict=True) if is_meant)
    return found


def _column(values):
    """An array `(rows, ...)` as one column: with several axes, each row is an array."""
    if values.ndim == 1:
        return values
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return column
