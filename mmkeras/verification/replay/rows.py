"""Rows do not affect each other, and a batch may have none."""

from collections.abc import Callable

import numpy as np

from . import Skip
from .golden import Arrays, compare


def _needs(together, rows=1):
    if not together:
        raise Skip("the golden batch got no outputs")
    if len(next(iter(together.values()))) < rows:
        raise Skip(f"the golden batch has fewer than {rows} rows")


def alone(answer: Callable[[Arrays], Arrays], values: Arrays, together: Arrays, tolerance: float) -> str:
    """Each row in a batch of its own gives the same outputs as among the others."""
    _needs(together, 2)
    rows = len(next(iter(values.values())))
    found = [answer({name: value[row : row + 1] for name, value in values.items()}) for row in range(rows)]
    return compare(together, {name: np.concatenate([one[name] for one in found]) for name in found[0]}, tolerance)


def reverse(answer: Callable[[Arrays], Arrays], values: Arrays, together: Arrays, tolerance: float) -> str:
    """The rows in the opposite order give the same outputs."""
    _needs(together, 2)
    found = answer({name: value[::-1].copy() for name, value in values.items()})
    return compare(together, {name: value[::-1] for name, value in found.items()}, tolerance)


def none(answer: Callable[[Arrays], Arrays], values: Arrays, together: Arrays, tolerance: float) -> str:
    """A batch without rows gives outputs without rows, otherwise of the same shapes."""
    _needs(together)
    found = answer({name: value[:0] for name, value in values.items()})
    return compare({name: value[:0] for name, value in together.items()}, found, tolerance)
