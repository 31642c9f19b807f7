"""Towers for sentences, and for other sequences that are read step by step."""

import keras
from keras import ops

from mmkeras.layers import Tokens, check_tokens, one_token
from mmkeras.schema import Series, Text
from mmkeras.towers.series import standardised


def lstm(x, *, mask=None, feature: Text | Series, width, name, embedding=64, dropout=0.0, tokens="one"):
    """An LSTM (Hochreiter and Schmidhuber, 1997) over word vectors, or over the standardised steps of a trace.

    Args:
        x: `(batch, length)`, int32 token ids; or `(batch, length, channels)`, float32, in the sensors' units.
        mask: `(batch, length)`, bool, True where there is a word or a step.
        feature: fitted `Text`, for the size of its vocabulary; or fitted `Series`, for its means and deviations.
        width: width of the tokens and of the LSTM.
        name: of the input, prefix of the layers' names.
        embedding: width of the word vectors; a trace has none.
        dropout: share of the values dropped in training before the LSTM.
        tokens: "one" (the state after the last word or step) or "all" (the state after every one).

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, length, width)` with the mask.
    """
    check_tokens(tokens, name)
    if isinstance(feature, Text):
        x = keras.layers.Embedding(feature.tokens, embedding, name=f"{name}_embedding")(x)
    else:
        x = standardised(x, feature, mask, name)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    # cuDNN refuses rows without any step: of those the first is read, and its state dropped again
    read = None if mask is None else ops.logical_or(mask, ops.equal(ops.arange(x.shape[1]), 0))
    states = keras.layers.LSTM(width, return_sequences=tokens == "all", name=f"{name}_lstm")(x, mask=read)
    if tokens == "all":
        return Tokens(states, mask)
    if mask is not None:
        states = ops.where(ops.any(mask, axis=1, keepdims=True), states, ops.zeros_like(states))
    return one_token(states)
