"""What figures share: matplotlib where it is installed, colours of what is not data, short names."""

from mmkeras.errors import InputError

INK, GREY, PALE = "#22262b", "#5f6670", "#e6e8eb"  # titles; axes and remarks; rules


def pyplot():
    """`matplotlib.pyplot`. Raises `InputError` where it is not installed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        message = 'figure: needs matplotlib, which is not installed: pip install "mmkeras[notebooks]"'
        raise InputError(message) from error
    return plt


def shortened(text, most):
    """The text, or the beginning of one of more than `most` characters.

    >>> shortened("a long label", 8)
    'a long …'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def shortened_inside(name, most):
    """The name, or both ends of one of more than `most` characters, as long names differ at either end.

    >>> shortened_inside("tower_question_dropout", 12)
    'tower…ropout'
    """
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"
