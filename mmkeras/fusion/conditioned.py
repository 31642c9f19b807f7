"""A fusion in which one modality conditions the others."""

from collections.abc import Mapping

import keras
from keras import ops

from mmkeras.checks import check_whole
from mmkeras.errors import unknown
from mmkeras.fusion.checks import check_two
from mmkeras.fusion.vectors import dense_layers, side_by_side
from mmkeras.inputs import Input
from mmkeras.layers import Fused, Tensor, Tokens, joined, masked_mean


def film(
    tokens: Mapping[str, Tokens],
    *,
    width: int,
    features: Mapping[str, Input],
    by: str | None = None,
    depth: int = 2,
    dropout: float = 0.0,
) -> Fused:
    """One modality scales and shifts the features of the others' tokens, in residual blocks (FiLM).

    With c the mean token of the conditioning modality, every token x of another one goes through `depth` blocks,

        x += relu((1 + gamma) * norm(W x + b) + beta),    gamma, beta = V c + d

    where norm scales to mean 0 and standard deviation 1 over the features, each block and modality has weights of its
    own, and x begins as a projection of the token. Then `h = relu(W [m_1; ...; m_k] + b)` of the means of the others'
    tokens. Worth it where one modality asks about the others: questions about pictures, instructions, settings.
    Give it towers with `tokens="all"`, so that places can be treated differently. Source: Perez et al., FiLM: Visual
    Reasoning with a General Conditioning Layer, 2018 (there with 3x3 convolutions and batch normalisation).

    Args:
        tokens: dict of name -> `Tokens`, of at least two modalities.
        width: width of the result and of the tokens in the blocks.
        features: dict of input name -> the schema's entry.
        by: name of the conditioning modality; None: the first text, or else the first modality.
        depth: number of blocks, from 1.
        dropout: share of the values dropped in training before the last dense layer.

    Returns:
        `Fused`: the vector `(batch, width)`, and the others' tokens `(batch, tokens, width)`, in the order of the
        modalities.

    Raises:
        InputError: fewer than two modalities, an unknown `by`, a depth below 1.
    """
    check_two("film", tokens)
    check_whole(depth, "depth", "fusion 'film': ")
    if by is None:
        texts = [name for name in tokens if name in features and features[name].wire == "text"]
        by = [*texts, *tokens][0]
    elif by not in tokens:
        raise unknown("modality in by:", by, tokens, where="fusion 'film': ")
    condition = masked_mean(tokens[by])
    others = []
    for name, part in tokens.items():
        if name != by:
            x = keras.layers.Dense(width, name=f"film_{name}_project")(part.values)
            for block in range(depth):
                x = _film_block(x, condition, f"film_{name}_{block}")
            others.append(Tokens(x, part.mask))
    return Fused(dense_layers(side_by_side(map(masked_mean, others)), width, 1, dropout, "film"), joined(others))


def _film_block(x: Tensor, condition: Tensor, name: str) -> Tensor:
    """Tokens `(batch, tokens, width)`, conditioned on a vector `(batch, any width)`."""
    width = x.shape[-1]
    both = keras.layers.Dense(2 * width, name=f"{name}_condition")(condition)[:, None]
    y = keras.layers.Dense(width, name=f"{name}_dense")(x)
    y = keras.layers.LayerNormalization(center=False, scale=False, name=f"{name}_norm")(y)
    return x + ops.relu((1 + both[..., :width]) * y + both[..., width:])
