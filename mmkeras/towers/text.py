"""Word vectors, and towers that ignore the order of words."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
from keras import KerasTensor, ops

from mmkeras.errors import InputError, shown
from mmkeras.inputs import Text
from mmkeras.layers import Frozen, Tokens, check_counts, hide_padding, masked_mean, one_token
from mmkeras.word_vectors import WordVectors, read_word_vectors

FEW = 0.5  # it warns if a smaller share of the vocabulary is in the file


def word_vectors(
    x: KerasTensor,
    mask: KerasTensor | None,
    feature: Text,
    name: str,
    *,
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool = True,
) -> KerasTensor:
    """A vector for each word, and zeros where the mask is False.

    Args:
        x: `(batch, length)`, int32 token ids.
        mask: `(batch, length)`, bool, True where there is a word; None: everywhere.
        feature: fitted `Text`, for its vocabulary.
        name: of the input.
        embedding: width of the vectors; None: that of the file, or 64.
        vectors: path of a file of GloVe or word2vec vectors to begin with (see `read_word_vectors`), read when the
            model is built; a saved model does not need it. None: they begin at random.
        train_vectors: whether training changes the vectors of the file. With False the model has a layer of mmkeras:
            `import mmkeras` before `keras.models.load_model`.

    Returns:
        `(batch, length, embedding)`.

    Raises:
        InputError: a file that is not one of vectors or holds none of the words; another width than the file's;
            `train_vectors=False` without a file.
    """
    if not isinstance(train_vectors, bool) or (vectors is None and not train_vectors):
        raise InputError(
            f"{name!r}: expected train_vectors to be False only with vectors, received {shown(train_vectors)}"
        )
    options: dict[str, Any] = {"name": f"{name}_embedding"}
    if vectors is not None:
        read = _read(vectors, tuple(feature.vocabulary), name)
        options |= {"weights": [read.values]}
        if embedding not in (None, read.values.shape[1]):
            raise InputError(
                f"{name!r}: {vectors} has vectors of {read.values.shape[1]} numbers, not {shown(embedding)}"
            )
        embedding = read.values.shape[1]
    embedding = 64 if embedding is None else embedding
    check_counts(name, embedding=embedding)
    table = keras.layers.Embedding(feature.tokens, embedding, **options)
    table = table if train_vectors else Frozen(table, name=f"{name}_frozen")
    return hide_padding(Tokens(table(x), mask)).values


def _read(path: str, vocabulary: tuple[str, ...], name: str) -> WordVectors:
    """The file's vectors of these words, with a warning if there are few."""
    if not isinstance(path, str):  # a ModelSpec is kept as JSON
        raise InputError(f"{name!r}: expected vectors to be a path as a string, received {shown(path)}")
    file = Path(path)
    read = _read_once(path, vocabulary, file.stat().st_mtime_ns if file.exists() else None)
    if read.share < FEW:
        warnings.warn(f"{name!r}: {path} holds few of its words: {read!r}", stacklevel=2)
    return read


@lru_cache(maxsize=2)
def _read_once(path: str, vocabulary: tuple[str, ...], _changed: int | None) -> WordVectors:
    """A search builds many models from one file, which may have gigabytes: the words' vectors are kept."""
    return read_word_vectors(path, vocabulary)


def bag(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Text,
    width: int,
    name: str,
    depth: int = 2,
    word_dropout: float = 0.3,
    dropout: float = 0.0,
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool = True,
) -> Tokens:
    """Mean and maximum of the word vectors, then dense layers: a deep averaging network (Iyyer et al., 2015).

    The order of the words changes nothing. The paper uses the mean alone, which fades in long texts.

    Args:
        x: `(batch, length)`, int32 token ids.
        mask: `(batch, length)`, bool, True where there is a word.
        feature: fitted `Text`, for its vocabulary.
        width: width of the token and of every dense layer.
        name: of the input, prefix of the layers' names.
        depth: number of dense layers.
        word_dropout: share of the words that are left out in training, as in the paper.
        dropout: share of the values dropped in training before each dense layer.
        embedding, vectors, train_vectors: see `word_vectors`.

    Returns:
        `Tokens` of `(batch, 1, width)`, no mask.

    Raises:
        InputError: an option out of its range.
    """
    check_counts(name, depth=depth)
    front: dict[str, Any] = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x = word_vectors(x, mask, feature, name, **front)
    there = ops.ones_like(x[..., 0], dtype="float32") if mask is None else ops.cast(mask, "float32")
    if word_dropout:
        there = keras.layers.Dropout(word_dropout, dtype="float32", name=f"{name}_word_dropout")(there)
    there = ops.greater(there, 0)
    x = ops.concatenate([masked_mean(Tokens(x, there)), _masked_max(x, there)], axis=-1)
    for number in range(depth):
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{number}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_dense{number}")(x)
    return one_token(x)


def _masked_max(x: KerasTensor, mask: KerasTensor) -> KerasTensor:
    """Maximum of the tokens that are there, `(batch, width)`; zeros where none is."""
    highest = ops.max(ops.where(mask[..., None], x, ops.full_like(x, -1e30)), axis=1)
    return ops.where(ops.any(mask, axis=1, keepdims=True), highest, ops.zeros_like(highest))
