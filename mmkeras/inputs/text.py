"""Sentences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from unicodedata import normalize

from mmkeras.checks import as_words, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs.base import Input, check_columns, check_positive, check_switches, most_frequent
from mmkeras.tokenizers import TOKENIZERS


@checked_keywords
@dataclass(frozen=True)
class Text(Input):
    """A sentence, as ids of tokens, cut or padded at its end to one length.

    The model receives `(batch, length)`, int32: 0 padding, 1 a token outside the vocabulary, from 2 on the vocabulary.
    The form of Unicode does not count: "é" is one token, be it one code point (NFC) or a letter and its mark (NFD).

    Args:
        length: number of tokens kept.
        vocabulary: the tokens in the order of their ids; None: taken from the training rows, most frequent first.
        limit: largest vocabulary that fitting makes.
        tokenizer: a name of `mmkeras.tokenizers.TOKENIZERS`. "words": lower-case words without punctuation.
        max_bytes: a longer text (in UTF-8) is refused by the served model, before it is split into tokens.
        optional: whether cells may be empty.
        column: the table's column; None: the input's own name.
    """

    length: int
    vocabulary: Sequence[str] | None = None
    limit: int = 20_000
    _: KW_ONLY
    tokenizer: str = "words"
    max_bytes: int = 1_000_000
    optional: bool = False
    column: str | None = None
    dtype = "int32"
    wire = "text"
    zero_is_padding = True

    def __post_init__(self):
        check_positive(self, int, "length", "limit", "max_bytes")
        check_switches(self, "optional")
        check_columns(self)
        words = as_words("Text", "vocabulary", self.vocabulary)
        if words is not None and not words:
            raise InputError("Text: expected at least one word in vocabulary, received none")
        if self.tokenizer not in TOKENIZERS:
            raise unknown("tokenizer", self.tokenizer, TOKENIZERS, "Text: ")
        for word in words or ():
            spaces = self.tokenizer == "words" and word.split() != [word]
            if not word or spaces or word == "[UNK]":
                raise InputError(f"Text: expected words without spaces in vocabulary, received {shown(word)}")
        if words is not None and not all(map(str.isascii, words)):
            words = as_words("Text", "vocabulary", [normalize("NFC", word) for word in words])
        object.__setattr__(self, "vocabulary", words)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(length,)`."""
        return (self.length,)

    @property
    def words(self) -> dict[str, Sequence[str]]:
        """The vocabulary, none before it is known."""
        return {"": self.vocabulary} if self.vocabulary is not None else {}

    @property
    def tokens(self) -> int:
        """Number of different token ids, padding and the unknown word among them."""
        return len(self.vocabulary) + 2

    @property
    def fitted(self) -> bool:
        """Whether the vocabulary is known."""
        return self.vocabulary is not None

    def fit(self, words: Iterable[str] | Mapping[str, int]) -> "Text":
        """A copy whose vocabulary is the most frequent of `words`: str with repetitions, or a dict of their counts."""
        return replace(self, vocabulary=most_frequent(words, self.limit))
