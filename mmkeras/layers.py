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


def self_attention(x, mask, *, heads, name):
    """Multi-head self-attention, `softmax(q k' / sqrt(width / heads)) v` in each head, then a dense layer.

    The numbers of `keras.layers.MultiHeadAttention` from Dense layers: TensorFlow's gradient of the einsums there costs
    about ten times the multiplication itself on a CPU.

    Args:
        x: `(batch, tokens, width)`.
        mask: `(batch, tokens)` bool, True for tokens that may be attended to; None: all.
        heads: number of heads; width is a multiple of it.
        name: prefix of the layers' names.

    Returns:
        `(batch, tokens, width)`.
    """
    tokens, width = x.shape[1:]
    split = (tokens, heads, width // heads)
    query, key, value = (
        keras.layers.Reshape(split, name=f"{name}_{part}_heads")(keras.layers.Dense(width, name=f"{name}_{part}")(x))
        for part in ("query", "key", "value")
    )
    attend = None if mask is None else mask[:, None, None, :]
    x = ops.dot_product_attention(query, key, value, mask=attend)
    x = keras.layers.Reshape((tokens, width), name=f"{name}_joined")(x)
    return keras.layers.Dense(width, name=f"{name}_output")(x)


def check_tokens(tokens, name):
    """Raise an `InputError` unless a tower's option `tokens` is "one" or "all"."""
    if tokens not in ("one", "all"):
        raise unknown("value of tokens", tokens, ("one", "all"), where=f"{name!r}: ")


def conv_blocks(x, *, width, filters, depth, dropout, tokens, name, pool=True):
    """Conv2D blocks, each halving the picture and doubling the filters, then tokens: for pictures and spectrograms.

    Args:
        x: `(batch, height, width_px, channels)`, float.
        width: width of the tokens.
        filters: of the first convolution.
        depth: number of blocks; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (the grid flattened, then dense: keeps places apart) or "all" (one token a place of the grid).
        name: prefix of the layers' names.
        pool: halve by max-pooling behind each convolution; False: by its stride, at about a third of the cost.

    Returns:
        `Tokens` of `(batch, 1 or places, width)`.
    """
    check_tokens(tokens, name)
    if depth is None:
        depth = max(1, (min(x.shape[1:3]) - 1).bit_length() - 2)
    for block in range(depth):
        convolve = keras.layers.Conv2D(
            filters * 2**block,
            3,
            strides=1 if pool else 2,
            padding="same",
            activation="relu",
            name=f"{name}_conv{block}",
        )
        x = convolve(x)
        if pool:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool{block}")(x)
    if tokens == "all":
        x = keras.layers.Reshape((-1, x.shape[-1]), name=f"{name}_places")(x)
        return Tokens(keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(x))
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return one_token(keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(x))


@keras.saving.register_keras_serializable(package="mmkeras")
class SpecAugment(keras.layers.Layer):
    """Hides random bands of a spectrogram in training: Park et al., SpecAugment, 2019, without the time warping.

    `(batch, mels, frames)` float -> the same shape and dtype. In each spectrogram every band has a width from 0 to the
    given share of its axis, then a place, both uniform; it is filled with the mean of that spectrogram, which is the
    paper's zero of normalised spectrograms. At inference the layer does nothing.

    A model that holds it is no longer made of stock Keras layers alone: `import mmkeras.layers` before
    `keras.models.load_model` (`import mmkeras` does not load the modules behind it).

    Args:
        frequency: greatest width of a band of mels, 0 to 1 of their number, rounded down.
        time: greatest width of a band of frames, 0 to 1 of their number, rounded down.
        masks: number of bands along frequency and along time; they may overlap.
        seed: whole number; None: another one in each process.

    Raises:
        InputError: a share outside 0 to 1, numbers of bands that are not two whole numbers from 0.
    """

    def __init__(self, frequency=0.2, time=0.2, masks=(1, 1), seed=None, **kwargs):
        super().__init__(**kwargs)
        for option, share in (("frequency", frequency), ("time", time)):
            if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
                raise InputError(f"SpecAugment: expected {option} to be from 0 to 1, received {share!r}")
        counts = tuple(masks) if isinstance(masks, (list, tuple)) else ()
        if len(counts) != 2 or not all(type(count) is int and count >= 0 for count in counts):
            raise InputError(f"SpecAugment: expected masks to be two whole numbers from 0, received {masks!r}")
        self.frequency, self.time, self.masks, self.seed = frequency, time, counts, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        """`(batch, mels, frames)` -> the same, with bands hidden in training."""
        if not training:
            return x
        mels = self._bands(x, 1, self.frequency, self.masks[0])
        frames = self._bands(x, 2, self.time, self.masks[1])
        return ops.where(mels[:, :, None] | frames[:, None, :], ops.mean(x, axis=(1, 2), keepdims=True), x)

    def _bands(self, x, axis, share, count):
        """Where along the axis a band lies: `(batch, places)` bool."""
        batch, places = ops.shape(x)[0], x.shape[axis]
        luck = keras.random.uniform((2, batch, count, 1), dtype="float32", seed=self.seed_generator)
        width = ops.floor(luck[0] * (int(share * places) + 1))
        start = ops.floor(luck[1] * (places - width + 1))
        place = ops.arange(places, dtype="float32")
        return ops.any((place >= start) & (place < start + width), axis=1)

    def get_config(self):
        """The layer's arguments."""
        own = {"frequency": self.frequency, "time": self.time, "masks": self.masks, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="mmkeras")
class AbsentToken(keras.layers.Layer):
    """Puts a learned absent token in the place of an absent modality.

    Called as `layer(values, mask, present)`, by position: values `(batch, tokens, width)`, mask `(batch, tokens)` bool
    or None, present `(batch,)` bool. Where present is False, the learned token `(width,)` is the row's first token,
    zeros stand behind it, and the mask is True for the first token alone. What the values of such a row are, junk or
    NaN, changes neither the outputs nor any gradient.

    Gives what a tower gives: values, or `[values, mask]`. Without a mask one token needs none; several get one.

    A model that holds it is no longer made of stock Keras layers alone: `import mmkeras.layers` before
    `keras.models.load_model` (`import mmkeras` does not load the modules behind it).
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` lets none out

    def build(self, values_shape, there_shape=None, present_shape=None):
        """Make the token: normally distributed with deviation 0.02."""
        self.token = self.add_weight(
            shape=(values_shape[-1],), initializer=keras.initializers.RandomNormal(stddev=0.02), name="token"
        )

    def call(self, values, there, present):
        """The values, or `[values, mask]`, with the token where present is False; `there` is the mask."""
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

    def compute_output_spec(self, values, there, present):
        """Values in their own dtype; a mask is bool."""
        shapes = self.compute_output_shape(values.shape, None if there is None else there.shape)
        if isinstance(shapes, tuple):
            return keras.KerasTensor(shapes, dtype=values.dtype)
        return [keras.KerasTensor(shapes[0], dtype=values.dtype), keras.KerasTensor(shapes[1], dtype="bool")]
