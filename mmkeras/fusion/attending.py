"""Fusions by attention between the tokens of the modalities: of all to all, of pairs, and through a bottleneck."""

from collections.abc import Mapping

import keras

from mmkeras.checks import check_whole
from mmkeras.fusion.checks import check_two
from mmkeras.fusion.vectors import dense_layers, side_by_side
from mmkeras.layers import Fused, LearnedTokens, Tokens, check_heads, joined, masked_mean, transformer_block


def attention(
    tokens: Mapping[str, Tokens], *, width: int, depth: int = 2, heads: int = 4, dropout: float = 0.0
) -> Tokens:
    """Self-attention over the tokens of all modalities, then their mean.

    `h = norm(mean(x))` of one sequence x of all tokens, after `depth` transformer layers
    (`mmkeras.layers.transformer_block`). Each modality is first projected by a dense layer of its own, whose bias is
    the modality's embedding: it is added to each of its tokens and tells the modalities apart. Worth it where tokens
    of one modality belong to certain tokens of another (a word and a place), with towers that give `tokens="all"`;
    over single tokens it costs more than `concat` and says little more. Source: Vaswani et al., 2017; as one stream of
    all modalities: Chen et al., UNITER, 2020.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result; a multiple of heads.
        depth: number of transformer layers, from 1.
        heads: of the attention.
        dropout: share of the values dropped in training after each of the two parts.

    Returns:
        `Tokens` `(batch, tokens of all modalities, width)` in the order of the modalities, normalised; the vector is
        their mean.

    Raises:
        InputError: a width that is not a multiple of heads, a depth below 1.
    """
    _check("attention", width, heads, depth)
    x, mask, _ = joined(_projected(tokens, width, "attention").values())
    for number in range(depth):
        x = transformer_block(x, mask, heads=heads, dropout=dropout, name=f"attention{number}")
    return Tokens(keras.layers.LayerNormalization(name="attention_norm")(x), mask)


def cross_attention(
    tokens: Mapping[str, Tokens], *, width: int, depth: int = 1, heads: int = 4, dropout: float = 0.0
) -> Fused:
    """Every modality attends to every other one: cross-attention in both directions of each pair, then dense.

    For each pair i <- j, the tokens x of modality i go through `depth` transformer layers that attend to those of j,

        x += attend(norm(x), norm([o_j; y_j])),    x += W2 gelu(W1 norm(x)),

    x and y_j being projections of the tokens; then `h = relu(W [m_12; m_13; ...; m_n,n-1] + b)` of the means m_ij of
    the tokens. o_j is a learned token that means "nothing fits": without it the softmax over a modality of one
    token would always be 1, and over one that is all padding it would give the mean of the padding. Worth it where
    modalities must be aligned, at different rates or without common times; n (n - 1) streams make it the most
    expensive fusion. Source: Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences, 2019
    (with self-attention after each modality's streams, which is left out here).

    Args:
        tokens: dict of name -> `Tokens`, of at least two modalities.
        width: width of the result and of the tokens; a multiple of heads.
        depth: number of layers of each pair, from 1.
        heads: of the attention.
        dropout: share of the values dropped in training after each of the two parts.

    Returns:
        `Fused`: the vector `(batch, width)`, and the tokens x of all streams `(batch, tokens, width)`: each modality's
        tokens n - 1 times, once for each other modality.

    Raises:
        InputError: fewer than two modalities, a width that is not a multiple of heads, a depth below 1.
    """
    check_two("cross_attention", tokens)
    _check("cross_attention", width, heads, depth)
    asking = _projected(tokens, width, "cross_attention")
    contexts = {}
    for name, part in asking.items():
        nothing = LearnedTokens(name=f"cross_attention_{name}_nothing")(part.values)
        contexts[name] = joined([Tokens(nothing), part])
    streams = []
    for name, part in asking.items():
        for other, (context, mask, _) in contexts.items():
            if other != name:
                x = part.values
                for number in range(depth):
                    layer = f"cross_attention_{name}_from_{other}_{number}"
                    x = transformer_block(x, mask, context=context, heads=heads, dropout=dropout, name=layer)
                streams.append(Tokens(x, part.mask))
    vector = dense_layers(side_by_side(map(masked_mean, streams)), width, 1, 0, "cross_attention")
    return Fused(vector, joined(streams))


def bottleneck(
    tokens: Mapping[str, Tokens],
    *,
    width: int,
    depth: int = 2,
    bottlenecks: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
) -> Fused:
    """Attention within each modality and a few learned tokens, through which alone the modalities meet.

    In each of `depth` layers every modality has a transformer layer of its own over its tokens and the bottleneck,

        [x_i; b_i] = transformer_i([x_i; b]),    b = mean_i b_i,

    and `h = norm(mean_i m_i)` of the means m_i of the modalities' tokens: the tokens read in one layer what the
    bottleneck gathered in the layer before, so the modalities meet from depth 2 on. Worth it with many tokens (long
    recordings, videos), where attention of all to all is expensive and most tokens need not know of each other. Source:
    Nagrani et al., Attention Bottlenecks for Multimodal Fusion, 2021 (there the mean is of one class token a modality).

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result and of the tokens; a multiple of heads.
        depth: number of layers, from 2.
        bottlenecks: number of learned tokens, from 1.
        heads: of the attention.
        dropout: share of the values dropped in training after each of the two parts.

    Returns:
        `Fused`: the vector `(batch, width)`, and the tokens of all modalities `(batch, tokens, width)` in their order,
        without the bottleneck.

    Raises:
        InputError: a width that is not a multiple of heads, a depth below 2, bottlenecks below 1.
    """
    _check("bottleneck", width, heads, depth, least=2)
    check_whole(bottlenecks, "bottlenecks", "fusion 'bottleneck': ")
    parts = _projected(tokens, width, "bottleneck")
    shared = LearnedTokens(bottlenecks, name="bottleneck_tokens")(next(iter(parts.values())).values)
    for number in range(depth):
        seen = []
        for name, part in parts.items():
            x, mask, _ = joined([Tokens(shared), part])
            x = transformer_block(x, mask, heads=heads, dropout=dropout, name=f"bottleneck_{name}_{number}")
            parts[name] = part._replace(values=x[:, bottlenecks:])
            seen.append(x[:, :bottlenecks])
        shared = sum(seen) / len(seen)
    means = [masked_mean(part) for part in parts.values()]
    vector = keras.layers.LayerNormalization(name="bottleneck_norm")(sum(means) / len(means))
    return Fused(vector, joined(parts.values()))


def _check(fusion: str, width: int, heads: int, depth: int, least: int = 1) -> None:
    check_heads(heads, width, f"fusion {fusion!r}: ")
    check_whole(depth, "depth", f"fusion {fusion!r}: ", least=least)


def _projected(tokens: Mapping[str, Tokens], width: int, fusion: str) -> dict[str, Tokens]:
    """Each modality's tokens, projected to `width` by a dense layer of its own."""
    return {
        name: Tokens(keras.layers.Dense(width, name=f"{fusion}_{name}_project")(part.values), part.mask)
        for name, part in tokens.items()
    }
