"""Sequence encoders that several towers share: recurrent layers and a transformer encoder."""

from collections.abc import Sequence

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers.blocks import check_heads, transformer_block
from mmkeras.layers.positions import SinePositions
from mmkeras.layers.tokens import (
    Tensor,
    Tokens,
    check_counts,
    check_switches,
    check_tokens,
    hide_padding,
    masked_mean,
    one_token,
)

CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def recurrent(
    x: Tensor,
    mask: Tensor | None,
    *,
    cell: str,
    width: int,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tokens: str = "one",
    name: str,
) -> Tokens:
    """Recurrent layers over steps that are padded at their end.

    Args:
        x: `(batch, steps, channels)`, finite also where the mask is False.
        mask: `(batch, steps)` bool, True up to the last step; None: every step is there.
        cell: "lstm" (Hochreiter and Schmidhuber, 1997) or "gru" (Cho et al., 2014).
        width: width of the tokens.
        layers: number of layers, one upon the other.
        bidirectional: half of each layer's width reads from the last step to the first (Schuster and Paliwal, 1997).
        dropout: share of the values dropped in training before each layer.
        tokens: "one" (the state after the last step; of the half that reads backwards, after the first) or "all" (the
            state after every one).
        name: of the input, prefix of the layers' names.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, zeros where there is no step; or `(batch, steps, width)` with
        the mask.
    """
    check_tokens(tokens, name)
    check_counts(name, layers=layers)
    check_switches(name, bidirectional=bidirectional)
    if bidirectional and width < 2:
        raise InputError(f"{name!r}: expected width to be at least 2 with bidirectional, received {width}")
    # cuDNN refuses rows without any step: their first step is read, and its state replaced by zeros
    read = None if mask is None else ops.logical_or(mask, ops.equal(ops.arange(x.shape[1]), 0))
    for number in range(layers):
        every = tokens == "all" or number < layers - 1
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{number}")(x)
        layer, back = f"{name}_{cell}{number}", width // 2 if bidirectional else 0
        states = CELLS[cell](width - back, return_sequences=every, name=layer)(x, mask=read)
        if back:
            backwards = CELLS[cell](back, return_sequences=every, go_backwards=True, name=f"{layer}_back")(x, mask=read)
            # the states come in the order they were made; a Concatenate layer would return Keras' implicit masks
            states = ops.concatenate([states, ops.flip(backwards, axis=1) if every else backwards], axis=-1)
        x = states
    if tokens == "all":
        return Tokens(x, mask)
    if mask is not None:
        x = ops.where(ops.any(mask, axis=1, keepdims=True), x, ops.zeros_like(x))
    return one_token(x)


def placed(x: Tensor, width: int, name: str, grid: Sequence[int] | None = None) -> Tensor:
    """Values of any width as tokens `(batch, tokens, width)` with their positions.

    A dense layer, normalised so that value and position of a token have the same weight, plus `SinePositions`.
    """
    x = keras.layers.Dense(width, name=f"{name}_embed")(x)
    x = keras.layers.LayerNormalization(name=f"{name}_embed_norm")(x)
    return SinePositions(grid, name=f"{name}_positions")(x)


def encode(
    x: Tensor, mask: Tensor | None, *, depth: int, heads: int, dropout: float = 0.0, tokens: str = "one", name: str
) -> Tokens:
    """A transformer encoder: `transformer_block` several times, a layer normalisation, and a dense layer.

    Args:
        x: `(batch, tokens, width)`.
        mask: `(batch, tokens)` bool, True where there is a token; None: everywhere.
        depth: number of transformer layers.
        heads: of their attention; width is a multiple of it.
        dropout: share of the values dropped in training after each part of a layer.
        tokens: "one" (the mean of the tokens that are there) or "all".
        name: prefix of the layers' names.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, tokens, width)` with the mask.
    """
    width = x.shape[-1]
    check_tokens(tokens, name)
    check_counts(name, depth=depth)
    check_heads(heads, width, f"{name!r}: ")
    for block in range(depth):
        x = transformer_block(x, mask, heads=heads, dropout=dropout, name=f"{name}_block{block}")
    x = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
    dense = keras.layers.Dense(width, name=f"{name}_dense")
    if tokens == "all":
        return Tokens(dense(x), mask)
    return one_token(dense(masked_mean(hide_padding(Tokens(x, mask)))))
