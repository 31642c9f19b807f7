"""Words between spaces."""

from typing import Any

from mmkeras.tokenizers.base import Tokenizer


class Words(Tokenizer):
    """Words in lower case (any script), without apostrophes; other punctuation is a space.

    >>> import tensorflow as tf
    >>> Words().split(tf.constant(["What's the SUM, Élodie?"]), tf.strings).to_list()[0][-1].decode()
    'élodie'
    >>> Words().text([[3, 1, 2, 0]], ["cat", "a"])
    ['a [UNK] cat']
    """

    unit = "words"
    joint = " "

    def split(self, texts: Any, strings: Any) -> Any:
        """`(n,)` string -> `(n, (words))`."""
        texts = strings.lower(texts, encoding="utf-8")
        texts = strings.regex_replace(texts, "['\u2019`]", "")
        return strings.split(strings.regex_replace(texts, r"[\p{P}\p{S}\p{Z}]+", " "))
