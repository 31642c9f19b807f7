"""Towers for rows of numbers and words."""

import keras
import numpy as np
from keras import KerasTensor, ops

from mmkeras.inputs import Tabular
from mmkeras.layers import NumberTokens, Tokens, check_counts, encode, one_token


def mlp(
    x: KerasTensor,
    *,
    feature: Tabular,
    width: int,
    name: str,
    embedding: int = 8,
    depth: int = 2,
    dropout: float = 0.0,
) -> Tokens:
    """Dense layers over standardised numbers, flags of which are there, and a vector for each word.

    A hole among the numbers becomes 0, which is the mean; a hole among the words has a vector of its own.

    Args:
        x: `(batch, 2 * numeric + categorical)`, float32: numbers, 1 where there is one, numbers of words.
        feature: fitted `Tabular`, for its means, standard deviations and vocabularies.
        width: width of the token and of every dense layer.
        name: of the input, prefix of the layers' names.
        embedding: width of the vectors of words.
        depth: number of dense layers.
        dropout: share of the values dropped in training before each dense layer but the first.

    Returns:
        `Tokens` of `(batch, 1, width)`, no mask.

    Raises:
        InputError: an option out of its range.
    """
    check_counts(name, depth=depth, embedding=embedding)
    parts = [*_numbers(x, feature, name), *_words(x, feature, embedding, name)]
    x = keras.layers.Concatenate(name=f"{name}_columns")(parts) if len(parts) > 1 else parts[0]
    for number in range(depth):
        if dropout and number:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{number}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_dense{number}")(x)
    return one_token(x)


def feature_tokens(
    x: KerasTensor,
    *,
    feature: Tabular,
    width: int,
    name: str,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """A transformer over one token for each column: FT-Transformer (Gorishniy et al., 2021).

    A standardised number becomes `x * w + b` with the weights of its column, a word becomes its vector, and each column
    has a vector for holes. One token is the mean of the columns' (the paper uses one more token that attends to them).

    Args:
        x: `(batch, 2 * numeric + categorical)`, float32: numbers, 1 where there is one, numbers of words.
        feature: fitted `Tabular`, for its means, standard deviations and vocabularies.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        depth: number of transformer layers.
        heads: of their attention; width is a multiple of it.
        dropout: share of the values dropped in training after each part of a layer.
        tokens: "one" (the mean of the columns) or "all" (one token a column, numbers first).

    Returns:
        `Tokens` of `(batch, 1 or columns, width)`, no mask.

    Raises:
        InputError: a width that is no multiple of heads, an option out of its range.
    """
    parts, numbers = [], _numbers(x, feature, name)
    if numbers:
        parts.append(NumberTokens(width, name=f"{name}_numbers")(*numbers))
    if feature.categorical:
        sizes = [len(words) + 2 for words in feature.vocabularies]
        codes = ops.cast(x[:, 2 * len(feature.numeric) :], "int32") + np.cumsum([0, *sizes[:-1]]).astype("int32")
        parts.append(keras.layers.Embedding(sum(sizes), width, name=f"{name}_words")(codes))
    x = ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
    return encode(x, None, depth=depth, heads=heads, dropout=dropout, tokens=tokens, name=name)


def _numbers(x: KerasTensor, feature: Tabular, name: str) -> list[KerasTensor]:
    """The standardised numbers and their flags, two of `(batch, numeric)` float32; nothing without numbers."""
    count = len(feature.numeric)
    if not count:
        return []
    normalise = keras.layers.Normalization(
        mean=list(feature.means),
        variance=np.square(feature.std).tolist(),
        dtype="float32",
        name=f"{name}_standardised",
    )
    values, flags = normalise(x[:, :count]), x[:, count : 2 * count]
    return [ops.where(flags > 0, values, ops.zeros_like(values)), flags]


def _words(x: KerasTensor, feature: Tabular, embedding: int, name: str) -> list[KerasTensor]:
    """A vector `(batch, embedding)` for each categorical column."""
    codes = ops.cast(x[:, 2 * len(feature.numeric) :], "int32")
    return [
        keras.layers.Embedding(len(words) + 2, embedding, name=f"{name}_embedding{column}")(codes[:, column])
        for column, words in enumerate(feature.vocabularies)
    ]
