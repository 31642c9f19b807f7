"""Tokens, the one thing that every tower gives and every fusion takes, and what is done to them."""

from numbers import Real
from typing import Any, NamedTuple

import keras
from keras import ops

from mmkeras.errors import InputError, unknown


class Tokens(NamedTuple):
    """What a tower has understood.

    Attributes:
        values: `(batch, tokens, width)`, float; zeros where the mask is False.
        mask: `(batch, tokens)`, bool, True where there is a token; None: everywhere.
    """

    values: Any
    mask: Any = None


class Fused(NamedTuple):
    """What a fusion has made of the tokens of all modalities, for the tasks to read.

    Attributes:
        vector: `(batch, width)`, float; None of a fusion of decisions.
        tokens: `Tokens` `(batch, tokens, width)`, before they were pooled to the vector.
        grids: dict of input -> tuple of feature maps `(batch, rows, columns, channels)`, the finest first, of towers
            of pictures; those that a task asks for.
        decisions: of a fusion of decisions ("late") dict of modality -> vector `(batch, width)`, each of which a task
            reads by itself; else None.
    """

    vector: Any
    tokens: Any = None
    grids: Any = None
    decisions: Any = None


def hide_padding(tokens):
    """The tokens with zeros behind the mask, so that neither junk nor NaN there reaches a fusion."""
    if tokens.mask is None:
        return tokens
    return Tokens(ops.where(tokens.mask[..., None], tokens.values, ops.zeros_like(tokens.values)), tokens.mask)


def masked_mean(tokens):
    """Mean of the tokens that are there: `(batch, width)`; zeros where none is. Summed in float32."""
    values, mask = tokens
    if values.shape[1] == 1 and mask is None:
        return values[:, 0]
    if mask is None:
        return ops.mean(values, axis=1)
    there = ops.cast(mask, "float32")
    total = ops.sum(ops.cast(values, "float32") * there[..., None], axis=1)
    return ops.cast(total / ops.maximum(ops.sum(there, axis=1, keepdims=True), 1.0), values.dtype)


def one_token(vector):
    """A vector `(batch, width)` as one token `(batch, 1, width)`."""
    return Tokens(ops.expand_dims(vector, 1))


def check_counts(name, **counts):
    """Raise an `InputError` unless these options of the input `name` are whole numbers above 0."""
    for option, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{name!r}: expected {option} to be a whole number above 0, received {count!r}")


def check_switches(name, **switches):
    """Raise an `InputError` unless these options of the input `name` are True or False."""
    for option, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"{name!r}: expected {option} to be True or False, received {value!r}")


def input_like(tensor, name=None):
    """An input for values like these; None for None."""
    return None if tensor is None else keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)


def check_tokens(tokens, name):
    """Raise an `InputError` unless a tower's option `tokens` is "one" or "all"."""
    if tokens not in ("one", "all"):
        raise unknown("value of tokens", tokens, ("one", "all"), where=f"{name!r}: ")


@keras.saving.register_keras_serializable(package="mmkeras")
class MissingToken(keras.layers.Layer):
    """Puts a learned missing token in the place of a missing modality.

    Called as `layer(values, mask, present)`, by position: values `(batch, tokens, width)`, mask `(batch, tokens)` bool
    or None, present `(batch,)` bool. Where present is False, the learned token `(width,)` is the row's first token,
    zeros stand behind it, and the mask is True for the first token alone. What the values of such a row are, junk or
    NaN, changes neither the outputs nor any gradient.

    Gives what a tower gives: values, or `[values, mask]`. Without a mask one token needs none; several get one.

    In training a share of the rows is treated as missing although the modality is there (modality dropout, as ModDrop:
    Neverova et al., 2015): the model learns to do without it.

    Args:
        rate: share of the rows without the modality in training, 0 to below 1.
        seed: of the rows drawn, a whole number; None: another one in each process.

    Raises:
        InputError: a rate outside 0 to below 1.
    """

    def __init__(self, rate=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
            raise InputError(f"MissingToken: expected rate to be from 0 to below 1, received {rate!r}")
        self.rate, self.seed = float(rate), seed
        self.seed_generator = keras.random.SeedGenerator(seed) if rate else None
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` lets none out

    def build(self, values_shape, there_shape=None, present_shape=None):
        """Make the token: normally distributed with deviation 0.02."""
        self.token = self.add_weight(
            shape=(values_shape[-1],), initializer=keras.initializers.RandomNormal(stddev=0.02), name="token"
        )

    def call(self, values, there, present, training=False):
        """The values, or `[values, mask]`, with the token where present is False; `there` is the mask."""
        if training and self.rate:
            luck = keras.random.uniform(ops.shape(present), dtype="float32", seed=self.seed_generator)
            present = ops.logical_and(present, luck >= self.rate)
        first = ops.equal(ops.arange(values.shape[1]), 0)
        token = ops.where(first[:, None], ops.cast(self.token, values.dtype), ops.zeros((), values.dtype))
        values = ops.where(present[:, None, None], values, token)
        if there is None and values.shape[1] == 1:
            return values
        there = ops.ones_like(values[..., 0], dtype="bool") if there is None else there
        return [values, ops.where(present[:, None], there, first)]

    def compute_mask(self, *args, **kwargs):
        """None: masks are explicit."""
        return None

    def compute_output_shape(self, values_shape, there_shape=None, present_shape=None):
        """The shape of the values, or a list of those of values and mask."""
        if there_shape is None and values_shape[1] == 1:
            return tuple(values_shape)
        return [tuple(values_shape), tuple(values_shape[:2])]

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}

    def compute_output_spec(self, values, there, present, training=False):
        """Values in their own dtype; a mask is bool."""
        shapes = self.compute_output_shape(values.shape, None if there is None else there.shape)
        if isinstance(shapes, tuple):
            return keras.KerasTensor(shapes, dtype=values.dtype)
        return [keras.KerasTensor(shapes[0], dtype=values.dtype), keras.KerasTensor(shapes[1], dtype="bool")]
