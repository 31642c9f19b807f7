"""Fusions that multiply the modalities' features: one by one, all with all, and all with all at a low rank."""

from collections.abc import Mapping
from functools import reduce
from operator import mul

import keras
from keras import ops

from mmkeras.checks import check_choice, check_whole
from mmkeras.errors import InputError
from mmkeras.fusion.vectors import dense_layers
from mmkeras.layers import Tensor, Tokens, masked_mean

ACTIVATIONS = ("gelu", "linear", "relu", "sigmoid", "tanh")


def multiply(
    tokens: Mapping[str, Tokens], *, width: int, activation: str = "linear", depth: int = 1, dropout: float = 0.0
) -> Tensor:
    """The product of the modalities' projections, feature by feature (Hadamard), then dense layers.

    `h = f(W_1 m_1 + b_1) * ... * f(W_n m_n + b_n)`, with m_i the mean of the tokens of modality i that are there. The
    biases begin at 1, the neutral element: so the product begins as 1 plus the sum of the projections plus their
    products, and no modality's gradient begins by vanishing. Worth it where one modality decides what another one
    means, as a question about a picture does; cheaper than `tensor`. Source: Kim et al., Hadamard Product for Low-rank
    Bilinear Pooling, 2017.

    The activation f is linear by default. The paper's "tanh" is bounded and flat at its ends: it got stuck at 67 % on
    easy-VQA with a learning rate of 3e-3. "relu" makes the product of n modalities zero in all but about one of 2^n
    features.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result, the projections and every dense layer.
        activation: "linear", "tanh", "sigmoid", "relu" or "gelu".
        depth: number of dense layers, from 0.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: an unknown activation, a depth below 0.
    """
    check_choice(activation, "activation", ACTIVATIONS, "fusion 'multiply': ")
    check_whole(depth, "depth", "fusion 'multiply': ", least=0)
    parts = [
        keras.layers.Dense(width, activation, bias_initializer="ones", name=f"multiply_{name}_project")(
            masked_mean(part)
        )
        for name, part in tokens.items()
    ]
    return dense_layers(reduce(mul, parts), width, depth, dropout, "multiply")


def tensor(
    tokens: Mapping[str, Tokens], *, width: int, size: int = 8, limit: int = 10_000, dropout: float = 0.0
) -> Tensor:
    """The outer product of all modalities' features: every product of one, two, ... n features, then a dense layer.

    `h = relu(W vec([1; z_1] x ... x [1; z_n]))`, with `z_i = relu(U_i m_i + c_i)` of `size` features and m_i the mean
    of the tokens of modality i that are there. Because of the ones, the result also holds the features and the products
    of fewer modalities; the product of all the ones is the bias. Worth it for few modalities and small data with true
    interactions: the product has `(size + 1)^n` entries, so W grows fast; the weights of `low_rank` do not. Source:
    Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis, 2017.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result.
        size: features of each modality, from 1.
        limit: greatest number of entries of the product.
        dropout: share of the product's entries dropped in training.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: a size or limit below 1, a product of more entries than the limit.
    """
    for option, count in (("size", size), ("limit", limit)):
        check_whole(count, option, "fusion 'tensor': ")
    entries = (size + 1) ** len(tokens)
    if entries > limit:
        raise InputError(
            f"fusion 'tensor': expected a product of at most {limit} entries (limit), received (size + 1)^modalities = "
            f"{size + 1}^{len(tokens)} = {entries}; choose a smaller size or the fusion 'low_rank'"
        )
    product = None
    for vector in _features(tokens, size, "tensor"):
        vector = ops.concatenate([ops.ones_like(vector[:, :1]), vector], axis=1)
        if product is None:
            product = vector
        else:
            pairs = product[:, :, None] * vector[:, None, :]
            product = ops.reshape(pairs, (-1, pairs.shape[1] * pairs.shape[2]))
    if dropout:
        product = keras.layers.Dropout(dropout, name="tensor_dropout")(product)
    return keras.layers.Dense(width, activation="relu", use_bias=False, name="tensor_dense")(product)


def low_rank(
    tokens: Mapping[str, Tokens], *, width: int, rank: int = 4, size: int = 32, dropout: float = 0.0
) -> Tensor:
    """`tensor` with a weight of low rank, without ever making the product.

    `h = relu(1/R sum_r prod_i (A_ir z_i + a_ir))`, r = 1 ... R, with `z_i = relu(U_i m_i + c_i)` of `size` features and
    m_i the mean of the tokens of modality i that are there. It equals `tensor` with the weight
    `W = 1/R sum_r [a_1r, A_1r] x ... x [a_nr, A_nr]` (outer products, for each feature of the result). The a_ir begin
    at 1, as in `multiply`, which is nearly the same as rank 1. The number of weights grows linearly with the number of
    modalities, not exponentially: worth it where `tensor` is too large. Source: Liu et al., Efficient Low-rank
    Multimodal Fusion with Modality-Specific Factors, 2018.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result.
        rank: number R of products that are averaged, from 1.
        size: features of each modality, from 1.
        dropout: share of each modality's features dropped in training.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: a rank or size below 1.
    """
    for option, count in (("rank", rank), ("size", size)):
        check_whole(count, option, "fusion 'low_rank': ")
    factors = []
    for name, vector in zip(tokens, _features(tokens, size, "low_rank"), strict=True):
        if dropout:
            vector = keras.layers.Dropout(dropout, name=f"low_rank_{name}_dropout")(vector)
        factors.append(
            keras.layers.Dense(rank * width, bias_initializer="ones", name=f"low_rank_{name}_factors")(vector)
        )
    product = keras.layers.Reshape((rank, width), name="low_rank_products")(reduce(mul, factors))
    return ops.relu(ops.mean(product, axis=1))


def _features(tokens: Mapping[str, Tokens], size: int, fusion: str) -> list[Tensor]:
    """`size` features of each modality's mean token: list of `(batch, size)`."""
    return [
        keras.layers.Dense(size, activation="relu", name=f"{fusion}_{name}_features")(masked_mean(part))
        for name, part in tokens.items()
    ]
