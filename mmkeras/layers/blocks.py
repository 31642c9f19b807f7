"""Blocks of stock Keras layers that several towers and fusions are made of."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mmkeras.checks import is_whole
from mmkeras.errors import InputError, shown
from mmkeras.layers.tokens import Tensor, Tokens, check_counts, check_tokens, one_token


def conv_blocks(
    x: Tensor,
    *,
    width: int,
    filters: int,
    depth: int | None,
    dropout: float,
    tokens: str,
    name: str,
    pool: bool = True,
) -> Tokens:
    """Conv2D blocks, each halving the picture and doubling the filters, then tokens: for pictures and spectrograms.

    Args:
        x: `(batch, height, width_px, channels)`, float.
        width: width of the tokens.
        filters: of the first convolution.
        depth: number of blocks; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (the grid flattened, then dense: keeps places apart) or "all" (one token a place of the grid).
        name: prefix of the layers' names.
        pool: halve by max-pooling after each convolution; False: by its stride, at about a third of the cost.

    Returns:
        `Tokens` of `(batch, 1 or places, width)`; their grids are the output of each convolution, and the last one
        halved.
    """
    check_tokens(tokens, name)
    depth = halvings(x) if depth is None else depth
    check_counts(name, filters=filters, depth=depth)
    grids = []
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
        grids.append(x)
        if pool:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool{block}")(x)
    return grid_tokens(x, width=width, dropout=dropout, tokens=tokens, name=name, finer=grids if pool else grids[:-1])


def halvings(x: Tensor) -> int:
    """How often `(batch, height, width_px, channels)` is halved until its shorter side is at most 4: once or more."""
    return max(1, (min(x.shape[1:3]) - 1).bit_length() - 2)


def grid_tokens(
    x: Tensor, *, width: int, dropout: float, tokens: str, name: str, finer: Sequence[Tensor] = ()
) -> Tokens:
    """Tokens of a grid: one by flatten and dense, which keeps places apart, or one a place.

    Args:
        x: `(batch, rows, columns, channels)`, float.
        width: width of the tokens.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (the grid flattened, then dense) or "all" (one token a place, row by row).
        name: prefix of the layers' names.
        finer: grids that came before this one, the finest first.

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask, with all the grids.
    """
    grids = (*finer, x)
    if tokens == "all":
        x = keras.layers.Reshape((-1, x.shape[-1]), name=f"{name}_places")(x)
        return Tokens(keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(x), grids=grids)
    x = keras.layers.Flatten(name=f"{name}_flatten")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return one_token(keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(x))._replace(grids=grids)


def attend(x: Tensor, context: Tensor, mask: Tensor | None, *, heads: int, name: str) -> Tensor:
    """Multi-head attention of some tokens to others, `softmax(q k' / sqrt(width / heads)) v` in each head, then dense.

    The same outputs as `keras.layers.MultiHeadAttention` (Vaswani et al., 2017), from Dense layers: the gradient of its
    einsums costs about ten times the multiplication itself in TensorFlow on a CPU. The keys have no bias: it would add
    the same number to every score of a query, which softmax cancels, so it would get no gradient.

    Args:
        x: `(batch, tokens, width)`, the queries; x itself as context is self-attention.
        context: `(batch, others, any width)`, the tokens attended to.
        mask: `(batch, others)` bool, True for tokens that may be attended to; None: all.
        heads: number of heads; width is a multiple of it.
        name: prefix of the layers' names.

    Returns:
        `(batch, tokens, width)`.
    """
    tokens, width = x.shape[1:]
    query, key, value = (
        keras.layers.Reshape((given.shape[1], heads, width // heads), name=f"{name}_{part}_heads")(
            keras.layers.Dense(width, use_bias=part != "key", name=f"{name}_{part}")(given)
        )
        for part, given in (("query", x), ("key", context), ("value", context))
    )
    there = None if mask is None else mask[:, None, None, :]
    x = ops.dot_product_attention(query, key, value, mask=there)
    x = keras.layers.Reshape((tokens, width), name=f"{name}_joined")(x)
    return keras.layers.Dense(width, name=f"{name}_output")(x)


def transformer_block(
    x: Tensor, mask: Tensor | None, *, heads: int, dropout: float = 0.0, context: Tensor | None = None, name: str
) -> Tensor:
    """A transformer layer (Vaswani et al., 2017) with layer normalisation before each part (Xiong et al., 2020).

    `x += attend(norm(x), norm(x))`, or `attend(norm(x), norm(context))`, then `x += W2 gelu(W1 norm(x))`, twice as
    wide inside.

    Args:
        x: `(batch, tokens, width)`.
        mask: `(batch, tokens)`, of the context if there is one, bool, True for tokens that may be attended to; None:
            all.
        heads: of the attention; width is a multiple of it.
        dropout: share of the values dropped in training after each of the two parts.
        context: `(batch, others, any width)`, other tokens to attend to; None: x itself.
        name: prefix of the layers' names.

    Returns:
        `(batch, tokens, width)`.
    """
    width = x.shape[-1]
    normed = keras.layers.LayerNormalization(name=f"{name}_norm")(x)
    asked = normed if context is None else keras.layers.LayerNormalization(name=f"{name}_context_norm")(context)
    part = attend(normed, asked, mask, heads=heads, name=name)
    if dropout:
        part = keras.layers.Dropout(dropout, name=f"{name}_dropout")(part)
    x = keras.layers.Add(name=f"{name}_add")([x, part])
    part = keras.layers.LayerNormalization(name=f"{name}_dense_norm")(x)
    part = keras.layers.Dense(2 * width, activation="gelu", name=f"{name}_dense1")(part)
    part = keras.layers.Dense(width, name=f"{name}_dense2")(part)
    if dropout:
        part = keras.layers.Dropout(dropout, name=f"{name}_dense_dropout")(part)
    return keras.layers.Add(name=f"{name}_dense_add")([x, part])


def check_heads(heads: Any, width: int, where: str) -> None:
    """Raise an `InputError` unless heads is a whole number above 0 that divides the width."""
    if not is_whole(heads) or width % heads:
        raise InputError(
            f"{where}expected width to be a multiple of heads, received width={width}, heads={shown(heads)}"
        )
