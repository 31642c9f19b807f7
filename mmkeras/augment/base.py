"""The base class of augmentations, one for each kind of input, and their random numbers."""

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from mmkeras.checks import is_number
from mmkeras.errors import InputError, shown, unknown


class Draws(NamedTuple):
    """Random numbers for one input of one batch: step is its number, scalar int64; rows its size, scalar int32."""

    seed: int
    name: str
    step: Any
    rows: Any

    def _key(self, purpose: str) -> tf.Tensor:
        digest = hashlib.blake2b(f"{self.seed} {self.name} {purpose}".encode(), digest_size=8).digest()
        return tf.stack([tf.constant(int.from_bytes(digest, "big", signed=True), tf.int64), self.step])

    def uniform(self, purpose: str, shape: tuple[int, ...], low: float, high: float) -> tf.Tensor:
        """`(rows, *shape)` float32, uniform from low to high, independent for each purpose."""
        return tf.random.stateless_uniform((self.rows, *shape), self._key(purpose), low, high)

    def around(self, purpose: str, shape: tuple[int, ...], most: float) -> tf.Tensor:
        """`(rows, *shape)` float32, uniform from -most to most."""
        return self.uniform(purpose, shape, -most, most)

    def normal(self, purpose: str, shape: tuple[int, ...]) -> tf.Tensor:
        """`(rows, *shape)` float32 of mean 0 and variance 1."""
        return tf.random.stateless_normal((self.rows, *shape), self._key(purpose))


class Augmentation:
    """Base of all augmentations; one for each kind of input, registered by `@mk.augment.register(Kind)`.

    Attributes:
        limits: dict of option -> (least value, greatest value, unit). Options of another form have None here
            and are checked by a `check` of your own.
    """

    limits: ClassVar[Mapping[str, tuple[float, float, str] | None]] = {}

    def check(self, option: str, value: Any, feature: Any, where: str) -> None:
        """Raise an `InputError` unless the option can have this value.

        Args:
            option: one of `limits`.
            value: as given.
            feature: the schema's entry.
            where: beginning of the message.
        """
        low, high, unit = self.limits[option]
        check_limits(option, value, low, high, unit, where)

    def mild(self, feature: Any) -> dict[str, Any]:
        """Options that leave the target right whatever it is, as `mk.train` uses them by default; {}: none."""
        return {}

    def apply(self, x: tf.Tensor, draws: Draws, options: Mapping[str, Any], feature: Any) -> tf.Tensor:
        """The values after the change.

        Args:
            x: `(batch, *feature.shape)` of the feature's dtype, in the units of the schema.
            draws: all random numbers come from here, so that a run can be repeated.
            options: those given, checked.
            feature: the schema's entry.

        Returns:
            Values of the same shape, dtype and range. In a padded input, the values after the end are made 0 again.
        """
        raise NotImplementedError(f"{type(self).__name__} has to change the values of its kind of input")

    def check_options(self, options: Mapping[str, Any], feature: Any, where: str) -> None:
        """Raise an `InputError` for an option that is not known or has a wrong value."""
        for option, value in options.items():
            if option not in self.limits:
                raise unknown(f"option of {type(feature).__name__}", option, self.limits, where)
            self.check(option, value, feature, where)


def check_limits(option: str, value: Any, low: float, high: float, unit: str, where: str) -> None:
    """Raise an `InputError` unless the value is a number within the limits."""
    if not is_number(value, low, most=high):
        raise InputError(f"{where}expected {option} to be from {low:g} to {high:g} ({unit}), received {shown(value)}")
