"""Files decoded row by row, so that one that is corrupt costs its own row and no other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.base import OK, UNREADABLE, Codec, Decoded, Decoder
from mmkeras.decode.graph import plain


class FileCodec(Codec):
    """Base of codecs of files, whose bytes a client sends.

    A kind says `decode_bytes`, and `decode_file` where more formats are read from files than are served.

    Attributes:
        begins: the first bytes of all files that `decode_bytes` can read; empty: not known. Other bytes are unreadable
            without an attempt, which would write lines into a server's log.
    """

    begins: tuple[bytes, ...] = ()
    largest: float = 2**31 - 1  # TensorFlow's ops count the bytes of a string in 32 bits

    def decode_bytes(self, feature: Any, raw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """One value in ops that a served graph may hold.

        Args:
            feature: the input or target.
            raw: scalar string, the bytes of a file.

        Returns:
            The value `feature.shape`, and its length, scalar int32, if the kind has one.

        Raises:
            tf.errors.OpError: bytes that are no such file.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how bytes are decoded")

    def decode_file(self, feature: Any, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The same of the file at a path or URL, scalar string. Not for a served graph."""
        return self.decode_bytes(feature, tf.io.read_file(path))

    def exceeds(self, feature: Any, raw: tf.Tensor) -> tf.Tensor:
        """Whether a value that was refused announces more than the feature allows: scalar string -> scalar bool.

        It may raise; the value then does not.
        """
        return tf.constant(False)

    def too_large(self, feature: Any, raw: tf.Tensor, unreadable: tf.Tensor) -> tf.Tensor:
        """By `exceeds`, each value by itself."""
        if raw.dtype != tf.string:
            return super().too_large(feature, raw, unreadable)

        unreadable &= self._plausible(raw)

        def look():
            values = tf.where(unreadable, raw, "")
            (found,), _ = decode_rows(lambda value: (self.exceeds(feature, value),), values, [()], ["bool"])
            return found & unreadable

        return tf.cond(tf.reduce_any(unreadable), look, lambda: tf.zeros_like(unreadable))

    def why(self, feature: Any, path: str) -> str:
        """Why a file, which is there and is not empty, could not be decoded."""
        return f"expected {self.format}, cannot decode"

    def from_files(self, feature: Any) -> Decoder:
        """`(rows,)` string, paths or URLs -> `Decoded`."""
        return Decoder(lambda paths: self._decoded(feature, self.decode_file, paths))

    def from_wire(self, feature: Any) -> Decoder:
        """`(rows,)` string, the bytes of files -> `Decoded`; what is empty is unreadable."""
        spare = self.made_up(feature)

        def decode(raw):
            # one row that cannot be decoded makes a batch slower, and rows without the modality are nothing unusual
            there = tf.convert_to_tensor(raw) != ""
            tried = there & self._plausible(raw)
            given, slow = tf.where(tried, raw, spare), tf.reduce_any(there & ~tried)
            values, status, length = self._decoded(feature, self.decode_bytes, given, slow)
            values = tf.where(tf.reshape(tried, [-1] + [1] * len(feature.shape)), values, tf.zeros([], values.dtype))
            length = None if length is None else tf.where(tried, length, 0)
            return Decoded(values, tf.where(tried, status, UNREADABLE), length)

        return Decoder(decode)

    def _plausible(self, raw):
        """Which values, `(rows,)` string, begin as a file does that can be read: `(rows,)` bool."""
        if not self.begins:
            return tf.ones_like(raw, tf.bool)
        return tf.reduce_any([tf.strings.substr(raw, 0, len(start)) == start for start in self.begins], axis=0)

    def _decoded(self, feature, decode_one, raw, slow=False):
        shapes, dtypes = [feature.shape], [feature.dtype]
        if self.has_length(feature):
            shapes, dtypes = [*shapes, ()], [*dtypes, "int32"]
        values, status = decode_rows(lambda value: decode_one(feature, value), raw, shapes, dtypes, slow)
        return Decoded(values[0], status, values[1] if self.has_length(feature) else None)

    def reason(self, feature: Any, value: str) -> str:
        """Why the file at a path could not be decoded."""
        if wrong := self.path_reason(value):
            return wrong
        if not tf.io.gfile.isdir(value) and not tf.io.gfile.stat(value).length:
            return f"expected {self.format}, found an empty file"
        return self.why(feature, value)

    def sent(self, feature: Any, cells: np.ndarray) -> list[Any]:
        """The bytes of the files; none of a folder."""
        return [b"" if not cell or tf.io.gfile.isdir(cell) else tf.io.read_file(cell).numpy() for cell in cells]


def decode_rows(
    decode_one: Callable[[tf.Tensor], tuple[tf.Tensor, ...]],
    raw: tf.Tensor,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    slow: bool | tf.Tensor = False,
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Decode every row by itself: `(rows,)` strings -> tensors `(rows, *shape)`, and status `(rows,)` int32.

    All rows are decoded in one go, which is cheap; if one of them fails, or with `slow`, all are decoded again one
    by one. `slow` is for rows that are known to be unreadable: a server's warm-up then goes that way, too.
    """
    kinds = [tf.TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]

    def together(raw):
        return True, tuple(tf.map_fn(decode_one, raw, fn_output_signature=tuple(kinds), parallel_iterations=16))

    none = tuple(tf.zeros((0, *kind.shape), kind.dtype) for kind in kinds)
    tried = tf.data.Dataset.from_tensors(raw).map(plain(together)).ignore_errors()
    tried = tried.concatenate(tf.data.Dataset.from_tensors((False, none))).take(1).get_single_element()
    all_good, values = tried
    good = tf.fill(tf.shape(raw), OK)
    values, status = tf.cond(
        all_good & ~tf.convert_to_tensor(slow), lambda: (values, good), lambda: _one_by_one(decode_one, raw, kinds)
    )
    return [tf.ensure_shape(value, (None, *kind.shape)) for value, kind in zip(values, kinds, strict=True)], status


def _one_by_one(decode_one, raw, kinds):
    """The same where some rows fail, which costs more.

    Rows that fail are left out by `ignore_errors`, so the others are put back by their number; one spare row at the
    end keeps the data set from being empty.
    """
    count = tf.shape(raw, out_type=tf.int64)[0]
    good = (
        tf.data.Dataset.zip(tf.data.Dataset.range(count), tf.data.Dataset.from_tensor_slices(raw))
        .map(plain(lambda row, value: (row, decode_one(value))), num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    spare = tf.data.Dataset.from_tensors((count, tuple(tf.zeros(kind.shape, kind.dtype) for kind in kinds)))
    number, values = good.concatenate(spare).batch(count + 1).get_single_element()

    def put_back(value):
        shape = tf.concat([[count + 1], tf.shape(value, tf.int64)[1:]], axis=0)
        return tf.scatter_nd(number[:, None], value, shape)[:count]

    found = put_back(tf.ones_like(number, tf.int32))
    return tuple(map(put_back, values)), tf.where(found == 1, OK, UNREADABLE)
