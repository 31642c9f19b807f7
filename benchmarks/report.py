"""Figures as they stand in the tables: means, standard deviations, intervals."""

import statistics
from collections.abc import Sequence

import numpy as np
import scipy.stats


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation, as text."""
    if not values:
        return ""
    more = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{more}"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of their mean, by Student's t."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def median_interval(values: np.ndarray, draws: int = 10_000) -> tuple[float, float]:
    """The 95 % interval of their median, by the bootstrap."""
    rows = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(np.median(values[rows], axis=1), [0.025, 0.975])
    return low, high


def middle(values: Sequence[float]) -> str:
    """Median, least and most, as text."""
    return f"{np.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"
