"""Towers for traces of sensors."""

import keras
import numpy as np
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, check_tokens, hide_padding, masked_mean, one_token
from mmkeras.schema import Series

NARROWEST = 8  # steps that conv1d leaves by default


def standardised(x, feature, mask, name):
    """A trace in units of its channels' deviations, float32; zeros (the means) behind the mask.

    Args:
        x: `(batch, steps, channels)`, float32.
        feature: fitted `Series`.
        mask: `(batch, steps)`, bool; None: every step is there.
        name: of the input.
    """
    means, variances = list(feature.means), np.square(feature.deviations).tolist()
    normalise = keras.layers.Normalization(mean=means, variance=variances, dtype="float32", name=f"{name}_standardised")
    return hide_padding(Tokens(normalise(x), mask)).values


def conv1d(x, *, mask=None, feature: Series, width, name, filters=32, kernel=5, depth=None, dropout=0.0, tokens="one"):
    """Convolutions over a trace, each halving its steps and doubling the filters.

    The steps are standardised, and zeros stand behind the end of a trace before every convolution, so a longer padding
    changes nothing. One token is made of the mean and the maximum of each filter over the steps that are there (the
    mean tells how much, the maximum whether at all), and not of the flattened steps: traces differ in length, so a
    place in the padded trace means nothing.

    Args:
        x: `(batch, steps, channels)`, float32, in the sensors' units.
        mask: `(batch, steps)`, bool, True up to the end of the trace.
        feature: fitted `Series`, for its means and deviations.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        filters: of the first convolution; each further one doubles them.
        kernel: steps that a convolution sees, an odd number.
        depth: number of Conv1D layers of stride 2; None: until at most 8 steps are left, from 1 to 4.
        dropout: share of the values dropped in training before the last dense layer.
        tokens: "one" (mean and maximum, then dense) or "all" (one token a step of the last convolution).

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps / 2**depth, width)` with a mask, rounded up.
    """
    check_tokens(tokens, name)
    if isinstance(kernel, bool) or not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
        raise InputError(f"{name!r}: expected kernel to be an odd whole number above 0, received {kernel!r}")
    if depth is None:
        depth = min(max(1, ((x.shape[1] - 1) // NARROWEST).bit_length()), 4)
    x = standardised(x, feature, mask, name)
    for block in range(depth):
        # padded by hand: where padding="same" begins depends on the number of steps
        x = keras.layers.ZeroPadding1D(kernel // 2, name=f"{name}_pad{block}")(x)
        convolve = keras.layers.Conv1D(
            filters * 2**block, kernel, strides=2, activation="relu", name=f"{name}_conv{block}"
        )
        mask = None if mask is None else mask[:, ::2]
        x = hide_padding(Tokens(convolve(x), mask)).values
    dense = keras.layers.Dense(width, activation="relu", name=f"{name}_dense")
    drop = keras.layers.Dropout(dropout, name=f"{name}_dropout") if dropout else lambda value: value
    if tokens == "all":
        return Tokens(dense(drop(x)), mask)
    # behind relu nothing is below the zeros behind the mask: the maximum needs no mask of its own
    pooled = [masked_mean(Tokens(x, mask)), ops.max(x, axis=1)]
    return one_token(dense(drop(keras.layers.Concatenate(name=f"{name}_pooled")(pooled))))
