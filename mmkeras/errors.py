"""The error for bad input, the text of a received value, and the message for an unknown name.

And `warn`, which warns at the user's own line.
"""

import difflib
import sys
import warnings
from collections.abc import Iterable

LONGEST = 80  # characters of a value in a message


class InputError(ValueError):
    """An invalid table, file, name or option. The message says what is wrong and where."""


def shown(value: object, longest: int = LONGEST) -> str:
    """The `repr` of a value, cut to its first characters.

    >>> shown("a" * 100, 20)
    "'aaaaaaaaaaaaaaaa..."
    """
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def nearest(name: object, known: Iterable[object]) -> str:
    """The known name that is most like this one; "" if none is."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return close[0] if close else ""


def unknown(kind: str, name: object, known: Iterable[object], where: str = "") -> InputError:
    """The error for a name that is not among the known ones, with the nearest of them.

    >>> print(unknown("tower", "con", ["conv", "lstm"]))
    unknown tower 'con'; did you mean 'conv'? Known: conv, lstm
    """
    known = sorted({str(one) for one in known})
    close = nearest(name, known)
    hint = f"did you mean {close!r}? " if close else ""
    return InputError(f"{where}unknown {kind} {shown(name)}; {hint}Known: {', '.join(known) or 'none'}")


def warn(message: str) -> None:
    """A `UserWarning` at the line that called the package, not at a line inside it."""
    level, frame = 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "mmkeras":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
