"""What a model will not see of texts and words, in figures."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.spelling import characters_of, keys
from mmkeras.decode.tokens import in_nfc, split
from mmkeras.errors import shown
from mmkeras.inputs import Tabular, Text
from mmkeras.spelling import key
from mmkeras.tokenizers import tokenizer_of

LOOKED_AT = 2_000  # cells of a column, at even distances
MOST = 0.5  # the share from which it is said
# symbols that a text may turn on, the # of c# among them
_SYMBOLS = re.compile(r"[$+<=>|~]|(?<=\w)#|[^\x00-\x7f\w\s]")
# Thai, Lao, Burmese, Khmer, Kana, Han: scripts that put no spaces between words
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PHRASE = re.compile(f"[{_NO_SPACES}]{{5,}}")
_KINDS = {"So", "Sm", "Sc"}  # of Unicode: symbols of any kind, of mathematics, of currency
_LETTERS = re.compile(f"[{_NO_SPACES}]{{2,}}")


def some(cells: np.ndarray) -> np.ndarray:
    """Those of the cells `(n,)` of str that are not empty, at most `LOOKED_AT` of them, at even distances."""
    filled = cells[cells != ""]
    return filled[np.linspace(0, len(filled) - 1, min(len(filled), LOOKED_AT)).round().astype(int)]


def in_texts(feature: Text, texts: np.ndarray) -> Iterator[str]:
    """Sentences about what is unknown in most of these texts: `(n,)` of str, not empty; `feature` fitted."""
    unit, rows = tokenizer_of(feature.tokenizer).unit, split(feature, in_nfc(texts))
    distinct, number = tf.unique(rows.flat_values)
    known = {word.encode() for word in feature.vocabulary or ()}
    strange = np.array([token not in known for token in distinct.numpy()], bool)
    count = np.bincount(number, minlength=len(strange)) * strange
    empty = (rows.row_lengths().numpy() == 0) & np.array([not text.isspace() for text in texts], bool)
    total = len(number) + empty.sum()
    if (share := (count.sum() + empty.sum()) / max(total, 1)) > MOST:
        example = distinct.numpy()[count.argmax()].decode() if count.any() else texts[empty.argmax()]
        yield f"{share:.1%} of the {unit} are outside the vocabulary of {len(known):,}, as {shown(example, 40)}"
    tokens = words_of(rows)
    if (share := np.mean([one_word(row) for row in tokens]) if tokens else 0) > MOST:
        yield (
            f"{share:.1%} of the texts have no spaces between words: the tokenizer {feature.tokenizer!r} makes one "
            "word of a whole phrase"
        )
    lost = [left_out(text, row) for text, row in zip(texts, tokens, strict=True)]
    if (share := np.mean([bool(symbols) for symbols in lost]) if lost else 0) > MOST:
        example = next(symbols for symbols in lost if symbols)
        yield f"{share:.1%} of the texts hold symbols that the tokenizer leaves out, as {' '.join(example)[:20]}"


def words_of(rows: tf.RaggedTensor) -> list[list[str]]:
    """The tokens of texts, `(n, (tokens))` string, as lists of str."""
    joined = tf.strings.reduce_join(rows, axis=-1, separator="\0").numpy()
    return [text.decode(errors="replace").split("\0") for text in joined]


def one_word(tokens: Sequence[str]) -> bool:
    """Whether a phrase of a script without spaces between words is one of these tokens of a text.

    >>> one_word(["今天天气很好"]), one_word(["今天", "天气"]), one_word(["it", "is"])
    (True, False, False)
    """
    return any(_PHRASE.search(token) for token in tokens) or (len(tokens) == 1 and bool(_LETTERS.fullmatch(tokens[0])))


def left_out(text: str, tokens: Sequence[str]) -> list[str]:
    """The different symbols of a text that none of its tokens holds.

    >>> left_out("c++ and c# 😀", ["c", "and", "c"])
    ['+', '#', '😀']
    """
    found = dict.fromkeys(_SYMBOLS.findall(text))
    if not found:
        return []
    kept = set("".join(tokens))
    return [char for char in found if char not in kept and (char == "#" or unicodedata.category(char) in _KINDS)]


def in_words(feature: Tabular, cells: np.ndarray) -> Iterator[tuple[str, str]]:
    """Pairs of a column and a sentence, for the categorical columns most of whose words are unknown.

    Args:
        feature: fitted.
        cells: `(rows, columns)` of str.
    """
    columns = zip(feature.categorical, feature.vocabularies or (), feature.spellings or (), strict=True)
    for at, (column, vocabulary, spelling) in enumerate(columns, len(feature.numeric)):
        words = some(cells[:, at])
        known = {key(word, spelling).encode() for word in vocabulary}
        found: Any = keys(tf.constant(words, tf.string), spelling, characters_of(vocabulary)).numpy()
        strange = np.array([word not in known for word in found], bool)
        if len(words) and strange.mean() > MOST:
            example = shown(words[strange.argmax()], 40)
            yield (
                column,
                f"{strange.mean():.1%} of the words are outside the vocabulary of {len(known):,}, as {example}",
            )
