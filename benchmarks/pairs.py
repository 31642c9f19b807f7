"""Two sides measured in turn, so that whatever else the machine does falls on both."""

import time
from collections.abc import Callable, Sequence

import numpy as np


def timed(call: Callable, *arguments, **options) -> tuple[float, float]:
    """CPU-seconds of this process, all its threads, and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    call(*arguments, **options)
    return time.process_time() - cpu, time.perf_counter() - wall


def in_pairs(sides: Sequence[Callable[[], tuple[float, float]]], pairs: int, warm_up: int = 1) -> np.ndarray:
    """CPU-seconds and wall seconds of every call: `(sides, pairs, 2)`.

    Args:
        sides: functions that do the work and return their seconds, as `timed` does.
        pairs: calls of each side; which side comes first alternates from pair to pair.
        warm_up: calls of each side before, which are not counted.
    """
    for side in sides:
        for _ in range(warm_up):
            side()
    seconds = np.empty((len(sides), pairs, 2))
    for pair in range(pairs):
        order = range(len(sides)) if pair % 2 == 0 else reversed(range(len(sides)))
        for number in order:
            seconds[number, pair] = sides[number]()
    return seconds
