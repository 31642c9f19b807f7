"""Fusions: the tokens of all modalities in, one vector out.

A fusion is a function `(tokens, *, width) -> (batch, width)` of a dict of name -> `Tokens` in schema order. It may ask
for `features`, a dict of input name -> the schema's entry, and have options of its own. A fusion of decisions gives a
dict of name -> `(batch, width)` instead: each head then answers from every vector, and the answers are averaged.
"""

import keras
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import Tokens, check_heads, masked_mean, transformer_block
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
    transformer layers follow (`mmkeras.layers.transformer_block`).

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result; a multiple of heads.
        depth: number of transformer layers.
        heads: of the attention.
        dropout: share of the values dropped in training behind each of the two parts.

    Returns:
        `(batch, width)`.
    """
    check_heads(heads, width, "fusion 'attention': ")
    values, mask = _sequence(tokens, width)
    for number in range(depth):
        values = transformer_block(values, mask, heads=heads, dropout=dropout, name=f"attention{number}")
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


def fuse(tokens, choice, *, width, features=None):
    """What the fusion that `choice` (a name, or a dict of "kind" and options) names makes of the tokens.

    Args:
        tokens: dict of name -> `Tokens`.
        choice: name of a fusion, or a dict of "kind" and options.
        width: of the fused vector.
        features: dict of input name -> the schema's entry, for fusions that ask for it.

    Returns:
        The fused vector `(batch, width)`; or, of a fusion of decisions, a dict of name -> vector `(batch, width)`.
    """
    kind, build, options = choose("fusion", FUSIONS, choice, "")
    given = {"width": width, "features": features or {}}
    fused = build(tokens, **arguments("fusion", kind, build, options, given, ""))
    for vector in fused.values() if isinstance(fused, dict) else [fused]:
        if tuple(vector.shape[1:]) != (width,):
            raise InputError(f"expected fusion {kind!r} to return (batch, {width}), received {tuple(vector.shape)}")
    return fused
