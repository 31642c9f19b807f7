"""Files of numbers, each with as many steps (points, rows) as it likes, which a client sends as .npy files."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.base import Decoder
from mmkeras.decode.chunks import in_chunks
from mmkeras.decode.files import NPY, as_path, open_file, open_npy
from mmkeras.decode.graph import from_numpy
from mmkeras.decode.npy import decode_npy
from mmkeras.decode.rows import FileCodec
from mmkeras.errors import InputError
from mmkeras.files import npy_bytes
from mmkeras.precision import ADVICE, collapsed

FIT_MEMORY = 2**26  # bytes of decoded steps that a schema is fitted on, of at most 1,000 files


NUMBERS = {"padded": True, "wire": "numbers", "dtype": "float32"}  # what the inputs of this codec are


class NumbersCodec(FileCodec):
    """Codec of padded inputs of numbers: values `(feature.shape[0], ...)`, float32, zeros behind the last step.

    As it is it reads .npy files `(steps, *feature.shape[1:])`; a kind of other files says `read`. A client sends
    the bytes of a .npy file of any real dtype, whichever files are read in training: one string a row, so that requests
    of different lengths are one batch.
    """

    format = "numbers in a .npy file"
    begins = (NPY,)
    largest = math.inf

    def read(self, feature: Any, path: str) -> np.ndarray:
        """All steps of a file or URL, or at least the first `feature.shape[0]`: `(steps, *feature.shape[1:])`.

        Raises:
            ValueError: what is wrong with the file; OSError: it cannot be read.
        """
        with open_file(path) as file:
            values = open_npy(file)
        if values.ndim != len(feature.shape) or values.shape[1:] != feature.shape[1:]:
            expected = ", ".join(["steps", *map(str, feature.shape[1:])])
            raise ValueError(f"expected an array ({expected}), found {values.shape}")
        return values

    def steps(self, feature: Any, path: str) -> np.ndarray:
        """The steps kept of a file: `(at most feature.shape[0], *feature.shape[1:])` float32, finite.

        Raises:
            ValueError: what is wrong with the file; steps count from 0.
        """
        try:
            values = self.read(feature, path)[: feature.shape[0]]
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error
        if not len(values):
            raise ValueError("found no steps")
        for channel, numbers in enumerate(np.asarray(values).reshape(len(values), -1).T):
            if said := collapsed(numbers):
                raise ValueError(f"expected numbers that float32 can tell apart, {said} in channel {channel}: {ADVICE}")
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(values, dtype=np.float32)
        if not np.isfinite(values).all():
            step = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            what = "NaN" if np.isnan(values[step]).any() else "infinity, or a number that float32 cannot hold,"
            raise ValueError(f"found {what} at step {step}")
        return values

    def from_files(self, feature: Any) -> Decoder:
        """`(rows,)` string, paths or URLs -> `Decoded`."""
        given = {"padded": feature.padded, "wire": feature.wire, "dtype": feature.dtype}
        if given != NUMBERS:
            raise InputError(
                f"{type(feature).__name__}: {type(self).__name__} decodes inputs with {NUMBERS}, received {given}: "
                "expected a kind that says so, or another codec"
            )
        return super().from_files(feature)

    def decode_file(self, feature: Any, path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The values of one file, and how many steps there are."""

        def read(path):
            values = self.steps(feature, as_path(path))
            padded = np.zeros(feature.shape, np.float32)
            padded[: len(values)] = values
            return padded, np.int32(len(values))

        values, length = from_numpy(read, [path], (tf.float32, tf.int32))
        return tf.ensure_shape(values, feature.shape), tf.ensure_shape(length, ())

    def decode_bytes(self, feature: Any, raw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The values of the bytes of a .npy file, and how many steps there are; refused without a step or with NaN."""
        values = tf.debugging.check_numerics(decode_npy(raw, feature.shape), "expected finite numbers")
        length = tf.shape(values)[0]
        check = tf.debugging.Assert(length > 0, ["expected at least one step"])
        with tf.control_dependencies([check] if check is not None else []):
            padded = tf.pad(values, [[0, feature.shape[0] - length], *[[0, 0]] * (len(feature.shape) - 1)])
        return tf.ensure_shape(padded, feature.shape), length

    def to_fit(self, feature: Any, distinct: Any, times: np.ndarray) -> np.ndarray:
        """All steps of the files, at even distances if there are many: `(steps, *feature.shape[1:])` float32."""
        files = distinct[distinct != ""]
        most = max(10, min(1000, FIT_MEMORY // (4 * math.prod(feature.shape))))
        files = files[np.linspace(0, len(files) - 1, min(len(files), most)).round().astype(int)]
        found = [one.values[np.arange(feature.shape[0]) < one.length[:, None]] for one in in_chunks(feature, files)]
        steps = np.concatenate([np.empty((0, *feature.shape[1:]), np.float32), *found])
        self._check_between(feature, files[:100], steps.reshape(-1, math.prod(feature.shape[1:])))
        return steps

    def _check_between(self, feature: Any, files: Any, steps: np.ndarray) -> None:
        """Raise an `InputError` for a channel that differs between files alone, by less than float32 tells apart."""
        coarse = [
            channel
            for channel, values in enumerate(steps.T)
            if len(values) and np.spacing(np.abs(values).max()) > 1e-3 * values.std(dtype="float64") and values.any()
        ]
        found = [self._first(feature, path) for path in files] if coarse else []
        for channel in coarse:
            if said := collapsed(np.array([values[channel] for values in found if len(values)])):
                raise InputError(
                    f"{type(feature).__name__}: expected numbers that float32 can tell apart, {said} in channel "
                    f"{channel}: {ADVICE}"
                )

    def _first(self, feature: Any, path: str) -> np.ndarray:
        """The channels of a file's first step; none of a file that cannot be read."""
        try:
            return self.read(feature, path)[:1].reshape(-1)
        except (OSError, ValueError):
            return np.zeros(0)

    # What a client sends

    def sent(self, feature: Any, cells: np.ndarray) -> list[bytes]:
        """The steps of the files as .npy files; a file that cannot be read as it is, nothing of a folder."""
        return [self._sent(feature, cell) for cell in cells]

    def _sent(self, feature, cell):
        try:
            return npy_bytes(self.steps(feature, cell)) if cell else b""
        except ValueError:
            return super().sent(feature, np.array([cell], object))[0]

    def made_up(self, feature: Any) -> bytes:
        """As many steps as are kept, of random numbers."""
        return npy_bytes(np.random.default_rng(0).normal(size=feature.shape).astype(np.float32))

    # What is said of it

    def why(self, feature: Any, path: str) -> str:
        """What is wrong with a file."""
        try:
            self.steps(feature, path)
        except ValueError as error:
            return str(error)
        return "cannot decode"

    def card(self, feature: Any) -> str:
        """What is sent, and how much of it is kept."""
        sizes = ", ".join(["steps", *map(str, feature.shape[1:])])
        return f"a .npy file of numbers ({sizes}), any real dtype; the first {feature.shape[0]} steps"

    def limits(self, feature: Any) -> list[str]:
        """What is not seen."""
        return [f"steps after the first {feature.shape[0]} are not seen."]
