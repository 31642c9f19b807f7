"""Numbers that float32 cannot tell apart: a model receives float32, which holds 24 binary digits."""

import numpy as np

SAMPLE = 1_000_000  # numbers that are looked at, at even distances
DIGITS = 11  # numbers that are equal in so many are one: 0.1 + 0.2 is 0.3
EXACT = 2**53  # whole numbers up to here are exact as float64
ADVICE = "subtract a constant, as the first of them"


def collapsed(values: np.ndarray) -> str | None:
    """What float32 does to numbers that it cannot tell apart; None: nothing that matters.

    It matters if numbers are rounded to steps of more than a hundredth of their spread (their standard deviation, or
    the distance of their quartiles if that is less); or if many of the different numbers become equal to another: more
    than 5% of whole numbers, or more than half and the steps are more than a thousandth of the spread. Values that are
    not finite do not count.

    Args:
        values: `(n,)` of whole or real numbers.

    >>> collapsed(1_700_000_000 + 10 * np.arange(4))
    '4 different numbers become 1: those around 1700000020 are rounded to multiples of 128'
    >>> collapsed(np.array([0.1, 0.1 + 1e-12, 0.3, 0.1 + 0.2])), collapsed(np.array([0, 2**30]))
    (None, None)
    """
    if len(values) > SAMPLE:
        values = values[np.linspace(0, len(values) - 1, SAMPLE).round().astype(int)]
    if values.dtype.kind not in "iuf" or values.dtype.itemsize < 4 or values.dtype == np.float32:
        return None
    found = _different(values)
    if len(found) < 2:
        return None
    with np.errstate(over="ignore"):
        single = found.astype(np.float32)
    near = found.dtype.kind == "f" or np.abs(found.astype(np.float64)).max() < 2**61
    apart = (found - found[0] if near else found.astype(np.float64) - float(found[0])).astype(np.float64)
    exact = np.abs(found.astype(np.float64)).max() <= EXACT and (single.astype(np.float64) == found).all()
    if exact or not np.isfinite(single).all():
        return None
    middle, step = found[len(found) // 2], float(np.spacing(np.median(np.abs(single))))
    quarters, spread = np.subtract(*np.percentile(apart, [75, 25])), apart.std()
    coarse = step / max(min(spread, quarters) if quarters else spread, 1e-300)
    kept = len(np.unique(single))
    lost, whole = 1 - kept / len(found), found.dtype.kind in "iu" or (found == np.floor(found)).all()
    many = (lost > 0.5 and (whole or coarse > 1e-3)) or (lost > 0.05 and whole and coarse > 1e-6)
    if coarse <= 1e-2 and not many:
        return None
    become = f"{len(found):,} different numbers become {kept:,}: those" if kept < len(found) else "numbers"
    return f"{become} around {middle:.12g} are rounded to multiples of {step:g}"


def _different(values):
    """The different numbers, in order; real ones as far as `DIGITS` digits tell."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)].astype(np.float64)
        if (values != np.floor(values)).any():
            size = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
            scale = 10.0 ** np.clip(DIGITS - 1 - size, -300, 300)
            values = np.round(values * scale) / scale
    return np.unique(values)
