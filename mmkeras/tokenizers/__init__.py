"""Texts as numbers of tokens, and back: one tokenizer a file.

`TOKENIZERS` is the catalogue; `mk.Text(length, tokenizer="words")` names one, and your own joins by `register`:

    @mk.tokenizers.register("characters")
    class Characters(mk.tokenizers.Tokenizer):
        unit = "characters"

        def split(self, texts, strings):
            return strings.unicode_split(texts, "UTF-8")
"""

from mmkeras.errors import unknown
from mmkeras.registry import Catalogue
from mmkeras.tokenizers.base import PADDING, UNKNOWN, Tokenizer
from mmkeras.tokenizers.words import Words

__all__ = ["PADDING", "TOKENIZERS", "UNKNOWN", "Tokenizer", "Words", "register", "tokenizer_of"]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


TOKENIZERS = Catalogue(
    "tokenizer",
    {"words": Words()},
    __name__,
    lambda part: isinstance(part, Tokenizer),
    "a Tokenizer",
    Tokenizer,
)

register = TOKENIZERS.register


def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of this name. Raises `InputError` for an unknown one."""
    if name not in TOKENIZERS:
        raise unknown("tokenizer", name, TOKENIZERS)
    return TOKENIZERS[name]
