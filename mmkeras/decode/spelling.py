"""Words and texts in one spelling, in TensorFlow's own ops: `mmkeras.spelling` for the served graph."""

import unicodedata
from collections.abc import Iterable

import tensorflow as tf

from mmkeras import spelling as spellings

BLANKS = r"[\t-\r\x1c-\x1f\x{85}\p{Z}]+"  # what Python's `str.strip` takes off
_SINGLES = (range(0x340, 0x3000), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20))  # Unicode's second names of a letter


def keys(words: tf.Tensor, spelling: str, characters: str) -> tf.Tensor:
    """What the spellings of one word have in common, as `mmkeras.spelling.key` gives it.

    Args:
        words: string of any shape.
        spelling: of the column.
        characters: of `characters_of`, for its vocabulary.
    """
    words = tf.strings.regex_replace(words, f"^{BLANKS}|{BLANKS}$", "")
    if spelling == "truth":
        return tf.strings.regex_replace(tf.strings.regex_replace(words, spellings.TRUE, "1"), spellings.FALSE, "0")
    if spelling == "number":
        return tf.strings.regex_replace(words, spellings.ZEROS, r"\1")
    return composed(words, characters)


def characters_of(words: Iterable[str]) -> str:
    """The different characters of a vocabulary, in both cases, that are not ASCII."""
    found = {char for word in words if not word.isascii() for char in word + word.upper() if not char.isascii()}
    return "".join(sorted(found))


def composed(texts: tf.Tensor, characters: str) -> tf.Tensor:
    """Texts in which these characters are one code point each, as in NFC, where they were letters and marks.

    TensorFlow has no op for Unicode's normal forms. Other characters stay as they are: no word of the vocabulary holds
    them, so their words are unknown in either form.

    Args:
        texts: string of any shape.
        characters: str.
    """
    steps = _steps(characters)
    if not steps:
        return texts

    def compose():
        made = texts
        for parts, whole in steps:
            made = tf.strings.regex_replace(made, parts, whole)
        return made

    last = "".join(sorted({parts[-1] for parts, _ in steps}))
    wanted = tf.reduce_any(tf.strings.regex_full_match(texts, f"(?s).*[{last}].*"))
    return tf.cond(wanted, compose, lambda: texts)


def _steps(characters):
    """Pairs of two code points, or another name, and the one that they make, in an order in which they can be made."""
    steps, wanted = {}, list(characters)
    for whole in wanted:
        base, *marks = unicodedata.normalize("NFD", whole)
        for place, mark in enumerate(marks):
            head = unicodedata.normalize("NFC", base + "".join(marks[:place] + marks[place + 1 :]))
            if len(head) == 1 and unicodedata.normalize("NFC", head + mark) == whole:
                steps[head + mark] = whole
                wanted += [head] * (len(marks) > 1 and head not in wanted)
    singles = {chr(code): unicodedata.normalize("NFC", chr(code)) for codes in _SINGLES for code in codes}
    known = set(wanted)
    named = [(char, whole) for char, whole in singles.items() if char != whole and whole in known]
    return named + sorted(steps.items(), key=lambda step: len(unicodedata.normalize("NFD", step[1])))
