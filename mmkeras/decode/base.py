"""Codecs: for each kind of input, or of target whose cells are files, the one object that knows its raw values.

It turns files and what a client sends into tensors, says what is sent, makes up values, and explains what is wrong.
"""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from mmkeras.decode.files import is_url, url_reason

# The status of one value, as the served bundle answers it.
OK, UNREADABLE = 0, 1


class Decoded(NamedTuple):
    """Decoded values.

    Attributes:
        values: `(rows, *feature.shape)`; of files and numbers zeros where the status is not `OK`.
        status: `(rows,)` int32, `OK` or `UNREADABLE`.
        length: `(rows,)` int32, how many samples, steps or frames of each value are its own and not padding; None for
            kinds all of whose values are equally long.
    """

    values: Any
    status: Any
    length: Any = None


class Decoder:
    """A function from raw values to `Decoded`.

    Attributes:
        layers: Keras layers of lookup tables, which an exported graph has to keep track of.
    """

    def __init__(self, function: Callable[..., Decoded], layers: Sequence[Any] = ()):
        self.function, self.layers = function, list(layers)

    def __call__(self, *raw: Any) -> Decoded:
        """Decode tensors, all of them `(rows, ...)`."""
        return self.function(*raw)


class Codec:
    """Base of all codecs.

    A new kind derives from the codec that fits it, and registers an object: `@mk.decode.register(PointCloud)`.

    - `mmkeras.decode.rows.FileCodec`: files that are sent as they are (wire "bytes"), decoded row by row.
    - `mmkeras.decode.numbers.NumbersCodec`: files of numbers, sent as .npy files (wire "numbers"); .npy files need no
      more than `mk.decode.register(PointCloud)(NumbersCodec())`.
    - this class for all others, as words and cells of numbers.

    `feature` is in all methods the input or target of a schema, fitted where it has something to fit.

    Attributes:
        format: what a file or value of the kind is, for messages: "a picture (JPEG, PNG)".
        largest: most bytes of a file that can be decoded at all; a number, or infinity for files that are read in part.
    """

    format: str = ""
    largest: float = math.inf

    # Raw values to tensors

    def from_files(self, feature: Any) -> Decoder:
        """How the table's cells are decoded: `(rows,)` string, paths where the kind has files; of several cells a row
        `(rows, columns)`. Not for a served graph."""
        raise NotImplementedError(f"{type(self).__name__} has to say how files are decoded")

    def from_wire(self, feature: Any) -> Decoder:
        """How is decoded what a client sends, in ops that a served graph may hold: the tensors of `wire_spec`."""
        raise NotImplementedError(f"{type(self).__name__} has to say how a client's values are decoded")

    # What is decoded

    def has_length(self, feature: Any) -> bool:
        """Whether `Decoded.length` is given, be it that the model does not receive it."""
        return feature.padded

    def stored(self, feature: Any) -> Any:
        """The feature as it is decoded and kept, of which `window` cuts what the model receives; itself: as it is."""
        return feature

    def storage_dtype(self, feature: Any) -> str:
        """The dtype in which decoded values are kept where that is exact."""
        return feature.dtype

    def window(self, feature: Any, values: tf.Tensor, length: tf.Tensor, seed: Any = None) -> tf.Tensor:
        """The feature's values of those of its `stored` form.

        Args:
            feature: the input.
            values: `(batch, *stored.shape)`.
            length: `(batch,)` int32, how much of each value is its own.
            seed: of two numbers, which places the windows; None: at the beginning.
        """
        return values

    def to_fit(self, feature: Any, distinct: Any, times: np.ndarray) -> Any:
        """What `feature.fit` takes.

        Args:
            feature: the input, not fitted.
            distinct: the distinct cells of the training rows, as `records.distinct` gives them.
            times: `(distinct,)` int, in how many rows each stands.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say what {type(feature).__name__} is fitted on")

    def sample(self, feature: Any, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Random values as the model receives them: dict of suffix -> array, as `feature.received` but for "_present".

        The first row is full; behind the ends of the others are zeros.
        """
        if feature.dtype == "uint8":
            values = random.integers(0, 256, (rows, *feature.shape)).astype("uint8")
        else:
            values = random.uniform(-1, 1, (rows, *feature.shape)).astype(feature.dtype)
        if not feature.padded:
            return {"": values}
        steps = feature.shape[0]
        lengths = np.array([steps, *random.integers(1, steps + 1, rows - 1)], "int32")
        values[np.arange(steps) >= lengths[:, None]] = 0
        return {"": values, "_length": lengths}

    # What a client sends

    def wire_spec(self, name: str, feature: Any) -> dict[str, tf.TensorSpec]:
        """The tensors of a request: strings `(n,)`, or `(n, columns)` of several cells."""
        return {name: tf.TensorSpec([None, *row_shape(feature)], tf.string, name=name)}

    def there(self, feature: Any, *raw: tf.Tensor) -> tf.Tensor:
        """Which rows of a request have the input: `(n,)` bool, of several files `(n, columns)` which of them are there.

        All cells empty: not there.
        """
        last = raw[-1]
        return tf.reduce_any(tf.reshape(last != tf.zeros([], last.dtype), [tf.shape(last)[0], -1]), axis=1)

    def too_large(self, feature: Any, raw: tf.Tensor, unreadable: tf.Tensor) -> tf.Tensor:
        """Which of the unreadable values, `(n,)` bool, were refused for their size: `(n,)` bool."""
        return tf.zeros_like(unreadable)

    def unknown(self, feature: Any, values: tf.Tensor, *raw: tf.Tensor) -> tf.Tensor:
        """Which of the values that could be read say little to the model, as it does not know their words: `(n,)` bool.

        Args:
            feature: the input, fitted.
            values: as decoded.
            raw: what the client sent, the tensors of `wire_spec`.
        """
        return tf.zeros([tf.shape(values)[0]], tf.bool)

    def example_spec(self, name: str, feature: Any) -> dict[str, Any]:
        """How the input stands in a tf.Example: dict of key -> a feature for `tf.io.parse_example`."""
        shape = row_shape(feature)
        return {name: tf.io.FixedLenFeature(shape, tf.string, np.full(shape, "").tolist())}

    def from_example(self, name: str, feature: Any, parsed: dict[str, Any]) -> dict[str, tf.Tensor]:
        """What was found of `example_spec`, as the tensors of a request."""
        return {name: parsed[name]}

    def to_example(self, name: str, feature: Any, *row: Any) -> dict[str, tf.train.Feature]:
        """One row of a request, of each of its tensors one element, as it stands in a tf.Example."""
        # not np.ravel of one value: it drops zeros at the end
        cells = row[0].ravel() if isinstance(row[0], np.ndarray) else [row[0]]
        values = tf.train.BytesList(value=[tf.compat.as_bytes(cell) for cell in cells])
        return {name: tf.train.Feature(bytes_list=values)}

    def sent(self, feature: Any, cells: np.ndarray) -> list[Any]:
        """What a client sends for cells of a table, as `records.values` gives them: a value for each row."""
        return cells.tolist()

    def batch(self, name: str, feature: Any, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """The values of several rows as the arrays of one request."""
        return {name: np.asarray(values, object)}

    def made_up(self, feature: Any) -> Any:
        """A value as a client sends it that can be read."""
        raise NotImplementedError(f"{type(self).__name__} has to make up a value")

    def broken(self, feature: Any) -> Any:
        """A value as a client sends it that cannot be read, though it is there."""
        return b"\xff\xfe broken"

    # What is said of it

    def is_file(self, path: str) -> bool:
        """Whether what is at a local path can be a value at all."""
        return os.path.isfile(path)

    def opens(self, path: str) -> Iterable[str]:
        """The local files that decoding what is at a local path may open; by default all in a folder, or the file."""
        return [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else [path]

    def path_reason(self, path: str) -> str | None:
        """Why a path or URL cannot be read, or None."""
        if is_url(path):
            return url_reason(path)
        if not os.path.exists(path):
            return "no such file"
        if not self.is_file(path):
            return "is not a file"
        return None if os.access(path, os.R_OK) else "no permission to read"

    def reason(self, feature: Any, value: str) -> str:
        """Why a cell with the status `UNREADABLE` could not be decoded."""
        return f"expected {self.format}, cannot decode"

    def wrong_cells(self, feature: Any, cells: np.ndarray) -> dict[int, tuple[np.ndarray, str]]:
        """The cells that cannot be right whatever the rest of the table holds.

        Args:
            feature: the input, fitted or not.
            cells: `(rows,)` or `(rows, columns)` str.

        Returns:
            dict of a column's position -> `(rows,)` bool, and what was expected.
        """
        return {}

    def strangers(self, feature: Any, cells: np.ndarray) -> Iterable[tuple[int, str]]:
        """What the model will not see of most of these cells: of a column's position a sentence, for a warning.

        Args:
            feature: the input, fitted.
            cells: `(rows,)` or `(rows, columns)` str.
        """
        return ()

    def card(self, feature: Any) -> str:
        """What is sent, and what becomes of it, for the model card."""
        return self.format

    def limits(self, feature: Any) -> Iterable[str]:
        """What the model does not take or see of such an input, for the model card: sentences."""
        return ()


def row_shape(part: Any) -> tuple[int, ...]:
    """The shape of what is decoded as one value, for an input or target: `()`, of several cells `(columns,)`."""
    return (len(part.table_columns("")),) if part.several and not part.files else ()
