"""Several files of one thing as one input: each is decoded by itself, by the codec of its kind."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.base import OK, UNREADABLE, Codec, Decoded, Decoder


class SeveralCodec(Codec):
    """Codec of an input with `columns`.

    A client sends the tensors of the kind with one more axis, `(n, columns, ...)`. What is empty is missing; a row is
    unreadable if one of its files is.
    """

    def __init__(self, codec: Codec):
        self.codec, self.format, self.largest = codec, codec.format, codec.largest

    def from_files(self, feature: Any) -> Decoder:
        """`(files,)` string, paths of single files -> `Decoded`, a row for each."""
        return self.codec.from_files(feature.single)

    def from_wire(self, feature: Any) -> Decoder:
        """What a client sends -> `Decoded` of values `(rows, columns, ...)`, and lengths `(rows, columns)`."""
        decode_flat = self.codec.from_wire(feature.single)

        def decode(*raw):
            values, status, length = decode_flat(*(_flat(tensor) for tensor in raw))
            there = self.there(feature, *raw)
            status = tf.reduce_max(tf.where(there, _rows(status, feature), OK), axis=1)
            length = None if length is None else _rows(length, feature)
            status = tf.where(tf.reduce_any(there, axis=1), status, UNREADABLE)
            return Decoded(_rows(values, feature), status, length)

        return Decoder(decode, decode_flat.layers)

    def there(self, feature: Any, *raw: tf.Tensor) -> tf.Tensor:
        """Which files are there: `(n, columns)` bool."""
        return _rows(self.codec.there(feature.single, *(_flat(tensor) for tensor in raw)), feature)

    def has_length(self, feature: Any) -> bool:
        """As of one file."""
        return self.codec.has_length(feature.single)

    def stored(self, feature: Any) -> Any:
        """As of one file, in as many columns."""
        return self.codec.stored(feature)

    def storage_dtype(self, feature: Any) -> str:
        """As of one file."""
        return self.codec.storage_dtype(feature.single)

    def window(self, feature: Any, values: tf.Tensor, length: tf.Tensor, seed: Any = None) -> tf.Tensor:
        """A window of each file `(batch, columns, ...)`."""
        length = None if length is None else _flat(length)
        return _rows(self.codec.window(feature.single, _flat(values), length, seed), feature)

    def to_fit(self, feature: Any, distinct: Any, times: np.ndarray) -> Any:
        """As of one file."""
        return self.codec.to_fit(feature.single, distinct, times)

    def sample(self, feature: Any, rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """As of one file, for each column; which are there, "_there": all in the first row, one at least in others."""
        there = random.integers(0, 2, (rows, feature.views)).astype(bool)
        there[0], there[:, 0] = True, there[:, 0] | ~there.any(axis=1)
        found = self.codec.sample(feature.single, rows * feature.views, random)
        found = {suffix: array.reshape(rows, feature.views, *array.shape[1:]) for suffix, array in found.items()}
        for array in found.values():
            array[~there] = 0
        return {**found, "_there": there}

    def wire_spec(self, name: str, feature: Any) -> dict[str, tf.TensorSpec]:
        """Those of one file, `(n, columns, ...)`."""
        return {
            key: tf.TensorSpec([None, feature.views, *spec.shape[1:]], spec.dtype, name=key)
            for key, spec in self.codec.wire_spec(name, feature.single).items()
        }

    def too_large(self, feature: Any, raw: tf.Tensor, unreadable: tf.Tensor) -> tf.Tensor:
        """Which rows hold a file that is."""
        large = self.codec.too_large(feature.single, _flat(raw), tf.repeat(unreadable, feature.views))
        return tf.reduce_any(_rows(large, feature), axis=1)

    def example_spec(self, name: str, feature: Any) -> dict[str, Any]:
        """A list of strings."""
        return {name: tf.io.FixedLenFeature([feature.views], tf.string, [""] * feature.views)}

    def sent(self, feature: Any, cells: np.ndarray) -> list[Any]:
        """A list for each row, with what is sent of each file."""
        flat = self.codec.sent(feature.single, cells.reshape(-1))
        return [flat[start : start + feature.views] for start in range(0, len(flat), feature.views)]

    def batch(self, name: str, feature: Any, values: Sequence[Any]) -> dict[str, np.ndarray]:
        """`(rows, columns, ...)` of rows with a value for each file."""
        flat = self.codec.batch(name, feature.single, [value for row in values for value in row])
        return {key: array.reshape(-1, feature.views, *array.shape[1:]) for key, array in flat.items()}

    def made_up(self, feature: Any) -> list[Any]:
        """As many files that can be read."""
        return [self.codec.made_up(feature.single)] * feature.views

    def broken(self, feature: Any) -> list[Any]:
        """As many files that cannot be read."""
        return [self.codec.broken(feature.single)] * feature.views

    def is_file(self, path: str) -> bool:
        """As of one file."""
        return self.codec.is_file(path)

    def opens(self, path: str) -> Iterable[str]:
        """As of one file."""
        return self.codec.opens(path)

    def reason(self, feature: Any, value: str) -> str:
        """Why one file could not be decoded."""
        return self.codec.reason(feature.single, value)

    def card(self, feature: Any) -> str:
        """What each file is, and which they are."""
        columns = ", ".join(feature.columns)
        return f"{feature.views} values ({columns}), each of which may be empty, of: {self.codec.card(feature.single)}"

    def limits(self, feature: Any) -> Iterable[str]:
        """As of one file."""
        return self.codec.limits(feature.single)


def _flat(tensor):
    """`(rows, columns, ...)` -> `(rows * columns, ...)`."""
    return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))


def _rows(tensor, feature):
    """`(rows * columns, ...)` -> `(rows, columns, ...)`."""
    rows = tf.reshape(tensor, tf.concat([[-1, feature.views], tf.shape(tensor)[1:]], axis=0))
    return tf.ensure_shape(rows, (None, feature.views, *tensor.shape[1:]))
