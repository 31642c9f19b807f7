"""Towers for sentences."""

import keras

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, check_tokens, one_token


def lstm(x, *, mask=None, feature, width, name, embedding=64, dropout=0.0, tokens="one"):
    """Word vectors read by an LSTM (Hochreiter and Schmidhuber, 1997).

    Args:
        x: `(batch, length)`, int32 token ids.
        mask: `(batch, length)`, bool, True where there is a word.
        feature: fitted `Text`, for the size of its vocabulary.
        width: width of the tokens and of the LSTM.
        name: of the input, prefix of the layers' names.
        embedding: width of the word vectors.
        dropout: share of the word vectors' values dropped in training.
        tokens: "one" (the state after the last word) or "all" (the state after every word).

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, length, width)` with the words' mask.
    """
    if len(x.shape) != 2 or x.dtype != "int32":
        raise InputError(
            f"{name!r}: tower 'lstm' reads token ids (batch, length) int32, received {x.dtype} {tuple(x.shape)}"
        )
    check_tokens(tokens, name)
    x = keras.layers.Embedding(feature.tokens, embedding, name=f"{name}_embedding")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    states = keras.layers.LSTM(width, return_sequences=tokens == "all", name=f"{name}_lstm")(x, mask=mask)
    return Tokens(states, mask) if tokens == "all" else one_token(states)
