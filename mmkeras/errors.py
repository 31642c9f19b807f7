"""The one kind of error that bad input raises, and the sentence for a name that is not known."""

import difflib


class InputError(ValueError):
    """What was given is wrong: a table, a file, a name or an option. Its message says what and where."""


def unknown(kind, name, known, where=""):
    """The error for a name that is not among the known ones, with the nearest of them.

    >>> print(unknown("tower", "con", ["conv", "lstm"]))
    unknown tower 'con'; did you mean 'conv'? Known: conv, lstm
    """
    known = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InputError(f"{where}unknown {kind} {name!r}; {hint}Known: {', '.join(known) or 'none'}")
