"""Lists of labels in one cell of a table."""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from mmkeras.errors import InputError, shown

_OPEN, _CLOSE = "[({", "])}"
_NO_COMMA = r"""(?:'\s+'|"\s+")"""  # as NumPy prints an array: Python would read one long label
LONGEST = 100_000  # characters of a list in a text


def is_list(value: object) -> bool:
    """Whether a value holds several values without names: a list, tuple, set, array or Series."""
    if isinstance(value, str | bytes | Mapping):
        return False
    return isinstance(value, list | tuple | set | frozenset) or (hasattr(value, "tolist") and hasattr(value, "__len__"))


def list_in(text: str) -> Any:
    """The list that JSON or Python has written as this text; None: it is no such text.

    >>> list_in("['cat', 'red']"), list_in("[1]"), list_in("[UNK]"), list_in("cat")
    (['cat', 'red'], [1], None, None)
    """
    text = text.strip()
    if len(text) < 2 or text[0] not in _OPEN or text[-1] not in _CLOSE or len(text) > LONGEST:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if read is ast.literal_eval and is_list(found) and re.search(_NO_COMMA, text):
            raise InputError("expected labels, found an array as NumPy prints it, without commas")
        return found if is_list(found) or isinstance(found, Mapping) else None
    return None


def labels_in(values: Any) -> list[str]:
    """The labels of a list, in order; of a set, sorted.

    Raises:
        InputError: a list in it, an empty or missing value.
    """
    inside = values.tolist() if hasattr(values, "tolist") else list(values)
    labels = []
    for value in inside if isinstance(inside, list) else [inside]:
        missing = value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
        if is_list(value) or isinstance(value, Mapping | bytes):
            raise InputError(f"expected a list of labels, found {shown(value)} in it")
        if missing or not str(value).strip():
            raise InputError(f"expected a list of labels, found {shown(value)} in it: leave it out; [] is none of them")
        labels.append(str(value).strip())
    return sorted(labels) if isinstance(values, set | frozenset) else labels
