"""Helpers of figures: matplotlib where it is installed, colours, styles, short names."""

from typing import Any

from mmkeras.errors import InputError

INK, GREY, PALE = "#22262b", "#5f6670", "#e6e8eb"  # titles; axes and remarks; rules
OTHERS = "#b4bac2"  # for the rest
# Twelve distinct colours, the first six of them after Okabe and Ito (2008)
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#3d4148", "#b3a100"]
COLORS += ["#6a51a3", "#8c564b", "#66a61e", "#e7298a"]
# Charts, with axes at the left and at the bottom; and pictures and maps, in frames of four sides
CHART = {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "text.color": INK}
CHART |= {"xtick.color": GREY, "ytick.color": GREY, "axes.labelcolor": GREY, "font.size": 10, "axes.axisbelow": True}
FRAMED = {"font.size": 10, "text.color": INK, "axes.edgecolor": GREY}
FRAMED |= {f"axes.spines.{side}": True for side in ("left", "right", "top", "bottom")}


def pyplot() -> Any:
    """`matplotlib.pyplot`. Raises `InputError` where it is not installed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        message = 'figure: needs matplotlib, which is not installed: pip install "mmkeras[notebooks]"'
        raise InputError(message) from error
    return plt


def shortened(text: str, most: int) -> str:
    """The text, or the beginning of one of more than `most` characters.

    >>> shortened("a long label", 8)
    'a long …'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def shortened_inside(name: str, most: int) -> str:
    """The name, or both ends of one of more than `most` characters, as long names differ at either end.

    >>> shortened_inside("tower_question_dropout", 12)
    'tower…ropout'
    """
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"
