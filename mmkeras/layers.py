"""Tokens, the one thing that every tower gives and every fusion takes, and what is done to them."""

from numbers import Real
from typing import Any, NamedTuple

import keras
import numpy as np
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


def attend(x, context, mask, *, heads, name):
    """Multi-head attention of some tokens to others, `softmax(q k' / sqrt(width / heads)) v` in each head, then dense.

    The numbers of `keras.layers.MultiHeadAttention` (Vaswani et al., 2017) from Dense layers: TensorFlow's gradient of
    the einsums there costs about ten times the multiplication itself on a CPU.

    Args:
        x: `(batch, tokens, width)`, the tokens that ask; x itself as context is self-attention.
        context: `(batch, others, any width)`, the tokens that are asked.
        mask: `(batch, others)` bool, True for tokens that may be attended to; None: all.
        heads: number of heads; width is a multiple of it.
        name: prefix of the layers' names.

    Returns:
        `(batch, tokens, width)`.
    """
    tokens, width = x.shape[1:]
    query, key, value = (
        keras.layers.Reshape((given.shape[1], heads, width // heads), name=f"{name}_{part}_heads")(
            keras.layers.Dense(width, name=f"{name}_{part}")(given)
        )
        for part, given in (("query", x), ("key", context), ("value", context))
    )
    there = None if mask is None else mask[:, None, None, :]
    x = ops.dot_product_attention(query, key, value, mask=there)
    x = keras.layers.Reshape((tokens, width), name=f"{name}_joined")(x)
    return keras.layers.Dense(width, name=f"{name}_output")(x)


def transformer_block(x, mask, *, heads, dropout=0.0, name):
    """A transformer layer (Vaswani et al., 2017) with layer normalisation before each part (Xiong et al., 2020).

    `x += attend(norm(x), norm(x))`, then `x += W2 gelu(W1 norm(x))`, twice as wide inside.

    Args:
        x: `(batch, tokens, width)`.
        mask: `(batch, tokens)` bool, True for tokens that may be attended to; None: all.
        heads: of the attention; width is a multiple of it.
        dropout: share of the values dropped in training behind each of the two parts.
        name: prefix of the layers' names.

    Returns:
        `(batch, tokens, width)`.
    """
    width = x.shape[-1]
    normed = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
    part = attend(normed, normed, mask, heads=heads, name=name)
    if dropout:
        part = keras.layers.Dropout(dropout, name=f"{name}_dropout")(part)
    x = keras.layers.Add(name=f"{name}_add")([x, part])
    part = keras.layers.LayerNormalization(name=f"{name}_dense_norm")(x)
    part = keras.layers.Dense(2 * width, activation="gelu", name=f"{name}_dense1")(part)
    part = keras.layers.Dense(width, name=f"{name}_dense2")(part)
    if dropout:
        part = keras.layers.Dropout(dropout, name=f"{name}_dense_dropout")(part)
    return keras.layers.Add(name=f"{name}_dense_add")([x, part])


def check_heads(heads, width, where):
    """Raise an `InputError` unless heads is a whole number above 0 that divides the width."""
    if isinstance(heads, bool) or not isinstance(heads, int) or heads < 1 or width % heads:
        raise InputError(f"{where}expected width to be a multiple of heads, received width={width}, heads={heads!r}")


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
class SinePositions(keras.layers.Layer):
    """Adds the place of each token, as sines and cosines (Vaswani et al., 2017), to tokens `(batch, tokens, width)`.

    With a grid, half of the width tells the row and half the column (as Beyer et al., Better plain ViT baselines,
    2022). There are no weights, so a longer input needs none.

    A model that holds it is no longer made of stock Keras layers alone: `import mmkeras.layers` before
    `keras.models.load_model` (`import mmkeras` does not load the modules behind it).

    Args:
        grid: `(rows, columns)` of which the tokens are the places, row by row; None: a sequence.
    """

    def __init__(self, grid=None, **kwargs):
        super().__init__(**kwargs)
        self.grid = None if grid is None else tuple(grid)
        self.supports_masking = True  # Keras' implicit masks may come in; `compute_mask` lets none out

    def call(self, x):
        """`(batch, tokens, width)` -> the same."""
        tokens, width = x.shape[1:]
        if self.grid is None:
            table = _sines(np.arange(tokens), width)
        else:
            rows, columns = np.divmod(np.arange(tokens), self.grid[1])
            table = np.concatenate([_sines(rows, width - width // 2), _sines(columns, width // 2)], axis=1)
        return x + ops.cast(table, x.dtype)

    def compute_mask(self, *args, **kwargs):
        """None: masks are explicit."""
        return None

    def compute_output_shape(self, input_shape):
        """The shape of the tokens."""
        return input_shape

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "grid": self.grid}


def _sines(places, width):
    """`(len(places), width)` float32: sines, then cosines, of wavelengths from 2 pi to 20,000 pi places."""
    half = width - width // 2
    angles = places[:, None] * 10_000.0 ** (-np.arange(half) / max(half, 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width].astype("float32")


@keras.saving.register_keras_serializable(package="mmkeras")
class AbsentToken(keras.layers.Layer):
    """Puts a learned absent token in the place of an absent modality.

    Called as `layer(values, mask, present)`, by position: values `(batch, tokens, width)`, mask `(batch, tokens)` bool
    or None, present `(batch,)` bool. Where present is False, the learned token `(width,)` is the row's first token,
    zeros stand behind it, and the mask is True for the first token alone. What the values of such a row are, junk or
    NaN, changes neither the outputs nor any gradient.

    Gives what a tower gives: values, or `[values, mask]`. Without a mask one token needs none; several get one.

    In training a share of the rows is treated as absent although the modality is there (modality dropout, as ModDrop:
    Neverova et al., 2015): the model learns to do without it.

    A model that holds it is no longer made of stock Keras layers alone: `import mmkeras.layers` before
    `keras.models.load_model` (`import mmkeras` does not load the modules behind it).

    Args:
        rate: share of the rows without the modality in training, 0 to below 1.
        seed: of the rows drawn, a whole number; None: another one in each process.

    Raises:
        InputError: a rate outside 0 to below 1.
    """

    def __init__(self, rate=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
            raise InputError(f"AbsentToken: expected rate to be from 0 to below 1, received {rate!r}")
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
