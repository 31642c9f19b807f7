"""Tables of word vectors: which row belongs to which word, in the source and in the target."""

from collections.abc import Hashable, Iterable, Sequence

import keras

from mmkeras.errors import InputError
from mmkeras.inputs import Input
from mmkeras.schema import Schema

Places = tuple[list[tuple[int, int]], int, int]  # (new row, old row) of common words; rows of the old, of the new


def word_places(
    schemas: Sequence[Schema] | None, given: str, taken: str, tower: keras.Model, weights: Iterable[str]
) -> dict[str, Places]:
    """Dict of the name of a table of words -> the new places of its rows.

    Args:
        schemas: of source and target; None: not known.
        given, taken: names of the input in the source and in the target.
        tower: of the target.
        weights: names of its weights; those of a model that is part of it begin with "backbone/".

    Raises:
        InputError: words without `schemas`, other columns of an input that has several, another vocabulary of a model
            whose table of words is not known.
    """
    where = f"transfer_weights: {taken}: "
    if schemas is None:
        _require_no_words(tower, weights, where)
        return {}
    features = schemas[0].inputs[given], schemas[1].inputs[taken]
    if all(feature.wire == "cells" for feature in features):
        before, after = (_columns(feature, name) for feature, name in zip(features, (given, taken), strict=True))
        if before != after:
            raise InputError(f"{where}expected the columns of the source in their order, {before}, received {after}")
    old, new = map(_rows, features)
    tables = [name for name in weights if name in old and name in new]
    if old and new and old != new and not tables:
        raise InputError(
            f"{where}expected the source's vocabulary, as the rows of a model's own tables belong to its words, "
            "received another"
        )
    return {name: _common(old[name], new[name]) for name in tables}


def _require_no_words(tower: keras.Model, weights: Iterable[str], where: str) -> None:
    """Raise an `InputError` if a tower has a table of words, or reads token ids."""
    tables = [name for name in weights if name.endswith("/embeddings") and not name.startswith("backbone/")]
    if tables or (tower.inputs[0].dtype == "int32" and len(tower.inputs[0].shape) == 2):
        raise InputError(
            f"{where}{tables[0] if tables else 'its model'} has a row for each word of a vocabulary: "
            "expected schemas=(the source's Schema, the target's Schema), received None"
        )


def _columns(feature: Input, name: str) -> list[list[str]]:
    """The columns of an input of several cells: those without words, and those with."""
    columns = feature.table_columns(name)
    return [[column for column in columns if column not in feature.words], list(feature.words)]


def _rows(feature: Input) -> dict[str, list[Hashable]]:
    """Dict of the name of a table of word vectors -> the word of each row; empty for inputs without words.

    The names in towers: "embedding" for a sentence, "embedding0", "embedding1" ... for columns of words, and "words"
    for one table of all columns. The first row is padding or a hole, the second a word outside the vocabulary.
    """
    words = feature.words.items()
    rows: list[list[Hashable]] = [[(column, word) for word in ("", None, *known)] for column, known in words]
    if list(feature.words) == [""]:
        return {"embedding/embeddings": rows[0]}
    single = {f"embedding{number}/embeddings": one for number, one in enumerate(rows)}
    return single | ({"words/embeddings": [row for one in rows for row in one]} if rows else {})


def _common(old: list[Hashable], new: list[Hashable]) -> Places:
    """The places of common rows."""
    places = {key: row for row, key in enumerate(old)}
    return [(row, places[key]) for row, key in enumerate(new) if key in places], len(old), len(new)
