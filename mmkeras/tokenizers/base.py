"""The base class of tokenizers: texts as numbers of tokens, and back."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

PADDING, UNKNOWN = 0, 1  # ids; from 2 on the vocabulary


class Tokenizer:
    """Base of all tokenizers; a new one defines `split`. `@mk.tokenizers.register("characters")`.

    Attributes:
        unit: the name of a token for people, in the plural.
        joint: the text between two tokens of a text.
    """

    unit: ClassVar[str] = "tokens"
    joint: ClassVar[str] = ""

    def split(self, texts: Any, strings: Any) -> Any:
        """The tokens of texts, in ops that a served graph may hold.

        Args:
            texts: `(n,)` string tensor, UTF-8.
            strings: TensorFlow's module `tf.strings`; a tokenizer needs no import of its own.

        Returns:
            `(n, (tokens))` string, a ragged tensor.
        """
        raise NotImplementedError(f"{type(self).__name__} has to split texts")

    def text(self, ids: Iterable[Iterable[int]], vocabulary: Sequence[str]) -> list[str]:
        """The texts of ids `(n, length)`: padding is left out, "[UNK]" is a token outside the vocabulary."""
        words = ["", "[UNK]", *vocabulary]
        return [self.joint.join(words[number] for number in row if number != PADDING) for row in ids]
