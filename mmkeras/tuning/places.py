"""Places of the values of a hyperparameter and of the score on an axis."""

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

LEVELS = 8  # most different numbers that are placed at even distances


def is_number(values: pd.Series) -> bool:
    """Whether a column holds numbers."""
    return is_numeric_dtype(values) and not is_bool_dtype(values)


def places(values: pd.Series) -> tuple[np.ndarray, dict[float, str], bool]:
    """Places of a hyperparameter's values on an axis from 0 to 1.

    Few numbers, and words, are placed at even distances; many numbers to scale, logarithmic over a wide range.

    Args:
        values: Series with the hyperparameter's name, NaN for trials without it.

    Returns:
        Places (array, with NaN for NaN), dict of place of a tick -> label, and whether the distances are even.
    """
    known = values.dropna()
    if not is_number(values):
        levels = sorted(map(str, known.unique()), reverse=True)  # the first on top
        values = values.map(str, na_action="ignore")
    elif _few(known):
        levels = sorted(known.unique())
    else:
        low, high = float(known.min()), float(known.max())
        log = low > 0 and (high >= 10 * low or str(values.name).endswith("learning_rate"))

        def place_of(value: Any) -> float:
            at, start, end = np.log10([value, low, high]) if log else (value, low, high)
            return float(0.04 + 0.92 * (at - start) / (end - start))

        ticks = {place_of(at): written(at) for at in _ticks(low, high, log)}
        return np.array([place_of(value) for value in values.astype(float)]), ticks, False
    place = {level: (number + 0.5) / len(levels) for number, level in enumerate(levels)}
    found = np.array([place.get(value, np.nan) for value in values])
    return found, {at: written(level) for level, at in place.items()}, True


def _few(known):
    """Whether these are a few chosen numbers, not sampled from a range."""
    different = known.unique()
    chosen = all(value == int(value) or float(f"{value:.3g}") == value for value in different)
    return len(different) == 1 or (len(different) <= LEVELS and chosen)


def _ticks(low, high, log):
    from matplotlib.ticker import LogLocator, MaxNLocator

    found = []
    if log:
        found = [at for at in LogLocator(subs=(1, 2, 5)).tick_values(low, high) if low <= at <= high]
        if len(found) > 6:
            found = [at for at in LogLocator().tick_values(low, high) if low <= at <= high]
    if len(found) < 2:
        found = [at for at in MaxNLocator(4).tick_values(low, high) if low <= at <= high]
    return found


def written(value: Any) -> str:
    """A hyperparameter's value in three digits."""
    if isinstance(value, (str, bool, np.bool_)):
        return str(value)
    whole = value == int(value) and abs(value) < 1e6
    return f"{value:.0f}" if whole else f"{value:.3g}".replace("e-0", "e-")


def score_limits(values: Any, direction: str) -> tuple[float, float, bool]:
    """Least and most of the scores to draw, and whether the axis is logarithmic.

    Single scores that are far worse than most are cut off; losses over a wide range get a logarithmic axis.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    low, high, half = float(values.min()), float(values.max()), float(np.median(values))
    if direction == "max":
        return max(low, half - max(6 * (half - float(np.quantile(values, 0.25))), 3 * (high - half), 1e-9)), high, False
    high = min(high, half + max(6 * (float(np.quantile(values, 0.75)) - half), 3 * (half - low), 1e-9))
    return low, high, 0 < low < high / 30
