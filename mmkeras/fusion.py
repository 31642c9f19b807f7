"""Fusions: the tokens of all modalities in, one vector out.

A fusion is a function `(tokens, *, width) -> (batch, width)` of a dict of name -> `Tokens` in schema order. It may have
options of its own.
"""

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, masked_mean, self_attention
from mmkeras.registry import arguments, choose, registrar


def concat(tokens, *, width, depth=1, dropout=0.0):
    """The modalities' mean tokens side by side, then dense layers.

    `h = relu(W [m_1; ...; m_n] + b)`, with m_i the mean of the tokens of modality i that are there.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result and of every dense layer.
        depth: number of dense layers.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        `(batch, width)`.
    """
    vectors = [masked_mean(part) for part in tokens.values()]
    x = keras.layers.Concatenate(name="concat")(vectors) if len(vectors) > 1 else vectors[0]
    for number in range(depth):
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"concat_dropout{number}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"concat_dense{number}")(x)
    return x


def attention(tokens, *, width, depth=2, heads=4, dropout=0.0):
    """Self-attention over the tokens of all modalities (Vaswani et al., 2017), then their mean.

    Each modality is first projected by a dense layer of its own, whose bias tells the modalities apart; then `depth`
    times, with layer normalisation before each part: `x += self_attention(x)`, `x += W2 gelu(W1 x)`.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result; a multiple of heads.
        depth: number of transformer layers.
        heads: of the attention.
        dropout: share of the values dropped in training behind each of the two parts.

    Returns:
        `(batch, width)`.
    """
    if width % heads:
        raise InputError(f"fusion 'attention': expected width to be a multiple of heads={heads}, received {width}")
    values, mask = _sequence(tokens, width)
    for number in range(depth):
        name = f"attention{number}"
        x = keras.layers.LayerNormalization(name=f"{name}_norm")(values)
        x = self_attention(x, mask, heads=heads, name=name)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
        values = keras.layers.Add(name=f"{name}_add")([values, x])
        x = keras.layers.LayerNormalization(name=f"{name}_dense_norm")(values)
        x = keras.layers.Dense(2 * width, activation="gelu", name=f"{name}_dense1")(x)
        x = keras.layers.Dense(width, name=f"{name}_dense2")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dense_dropout")(x)
        values = keras.layers.Add(name=f"{name}_dense_add")([values, x])
    values = keras.layers.LayerNormalization(name="attention_norm")(values)
    return masked_mean(Tokens(values, mask))


def _sequence(tokens, width):
    """All tokens in one sequence, each modality projected to `width`; the mask is None if no modality has one."""
    values = [keras.layers.Dense(width, name=f"{name}_project")(part.values) for name, part in tokens.items()]
    mask = None
    if any(part.mask is not None for part in tokens.values()):
        masks = [ops.ones_like(p.values[..., 0], dtype="bool") if p.mask is None else p.mask for p in tokens.values()]
        mask = ops.concatenate(masks, axis=1)
    return ops.concatenate(values, axis=1), mask


FUSIONS = {"concat": concat, "attention": attention}

register = registrar("fusion", FUSIONS)


def fuse(tokens, choice, *, width):
    """The fused vector `(batch, width)` by the fusion that `choice` (a name, or a dict of "kind" and options) names."""
    kind, build, options = choose("fusion", FUSIONS, choice, "")
    fused = build(tokens, **arguments("fusion", kind, build, options, {"width": width}, ""))
    if tuple(fused.shape[1:]) != (width,):
        raise InputError(f"expected fusion {kind!r} to return (batch, {width}), received {tuple(fused.shape)}")
    return fused
