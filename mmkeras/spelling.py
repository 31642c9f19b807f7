"""One value, one spelling: which words of a column are the same, though they are written in several ways.

A column's spelling is one of these, decided when a schema is fitted, and kept in it:

"text"     blanks around a word do not count, nor does the form of Unicode (NFC): " café" is "café"
"number"   and so do zeros behind the point: "1.0" is "1", as pandas writes whole numbers of a column with a hole
"truth"    and True, true, TRUE, 1 and 1.0 are one value, False, false, FALSE, 0 and 0.0 the other
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

from mmkeras.errors import InputError, unknown

SPELLINGS = ("text", "number", "truth")
NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"  # 007 and 1e3 are codes
ZEROS = r"^(-?[0-9]+)\.0+$"  # the part before the point stays
TRUE, FALSE = r"(?i)^(?:true|1(?:\.0+)?)$", r"(?i)^(?:false|0(?:\.0+)?)$"
STYLES = (("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("0", "1"))


def clean(text: str) -> str:
    """A text without blanks around it, in NFC.

    >>> clean(" cafe\\u0301 ") == "caf\\u00e9"
    True
    """
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def key(word: str, spelling: str) -> str:
    """What two words of one spelling have in common if they are the same.

    >>> key("1.0", "number"), key("1.0", "text"), key("TRUE", "truth")
    ('1', '1.0', '1')
    """
    word = clean(word)
    if spelling == "number":
        return re.sub(ZEROS, r"\1", word)
    if spelling == "truth":
        return "1" if re.match(TRUE, word) else "0" if re.match(FALSE, word) else word
    return word


def spelling_of(words: Collection[str]) -> str:
    """The spelling of a column that holds these different words, none of them empty.

    Truth values, if it holds nothing else. Numbers, if it holds nothing else and either all are whole, or no two of
    them are one: a column of 1, 1.0 and 1.5 may hold versions.

    >>> spelling_of(["True", "0"]), spelling_of(["1.0", "2"]), spelling_of(["1", "1.0", "1.5"]), spelling_of(["007"])
    ('truth', 'number', 'text', 'text')
    """
    words = {clean(word) for word in words}
    if not words:
        return "text"
    if all(re.match(TRUE, word) or re.match(FALSE, word) for word in words):
        return "truth"
    if not all(re.fullmatch(NUMBER, word) for word in words):
        return "text"
    keys = [key(word, "number") for word in words]
    return "number" if len(set(keys)) == len(keys) or not any("." in one for one in keys) else "text"


def names(words: Collection[str], spelling: str) -> dict[str, str]:
    """The one spelling of each of a column's words: dict of word -> name.

    >>> names(["1.0", "2", "2.0"], "number")
    {'1.0': '1', '2': '2', '2.0': '2'}
    >>> names(["true", "TRUE", "false"], "truth")
    {'true': 'true', 'TRUE': 'true', 'false': 'false'}
    """
    if spelling == "truth":
        found = {clean(word) for word in words}
        style = next((style for style in STYLES if found & {*style}), STYLES[-1])
        return {word: dict(zip("01", style, strict=True)).get(key(word, spelling), clean(word)) for word in words}
    if spelling == "number" and any("." in key(word, spelling) for word in words):
        return {word: clean(word) for word in words}  # 0.5, 1.0, 1.5 stay as they are
    return {word: key(word, spelling) for word in words}


def of_given(where: str, words: Sequence[str], spelling: str | None) -> str:
    """The spelling of a list of different words that a schema is given, or holds.

    Raises:
        InputError: two of them are the same in the spelling that is given, or apart from blanks and Unicode's form.
    """
    found = check(where, spelling) or spelling_of(words)
    if spelling is None and _twice(words, found):
        found = "text"
    if twins := _twice(words, found):
        raise InputError(f"{where}: expected distinct words, received {twins[0]!r} and {twins[1]!r}, which are one")
    return found


def check(where: str, spelling: str | None) -> str | None:
    """A spelling's name, or None. Raises an `InputError` for anything else."""
    if spelling is not None and spelling not in SPELLINGS:
        raise unknown("spelling", spelling, SPELLINGS, f"{where}: ")
    return spelling


def _twice(words, spelling):
    """Two words that are the same; None if there are none."""
    seen: dict[str, str] = {}
    for word in words:
        if (other := seen.setdefault(key(word, spelling), word)) != word:
            return other, word
    return None


def twins(words: Iterable[str]) -> list[list[str]]:
    """Words that differ in blanks, case, Unicode's form or zeros behind the point alone, in groups of two and more.

    >>> twins(["cat", "dog", " cat", "Cat", "1", "1.0"])
    [['cat', ' cat', 'Cat'], ['1', '1.0']]
    """
    groups: dict[str, list[str]] = {}
    for word in dict.fromkeys(words):
        plain = re.sub(ZEROS, r"\1", " ".join(unicodedata.normalize("NFKC", word).split()))
        groups.setdefault(plain.casefold(), []).append(word)
    return [group for group in groups.values() if len(group) > 1]
