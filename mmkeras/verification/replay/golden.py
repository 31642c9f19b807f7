"""The golden batch: its inputs, and whether the outputs are the golden ones."""

import base64
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]  # by the name of an input or output


def feeds(golden: dict[str, Any], taken: dict[str, Any]) -> Arrays:
    """The golden inputs as arrays of the kinds and shapes that a signature takes."""
    given = golden["inputs"]
    if sorted(given) != sorted(taken):
        raise AssertionError(
            f"the signature takes {', '.join(sorted(taken))}; golden.json has {', '.join(sorted(given))}"
        )
    return {name: _feed(name, given[name], *taken[name]) for name in given}


def _feed(name, value, dtype, shape):
    array = np.array(_plain(value), dtype.as_numpy_dtype)
    if array.size == 0 and array.ndim < shape.rank:  # empty lists do not show their inner axes
        array = array.reshape(array.shape + tuple(size or 0 for size in shape[array.ndim :]))
    if not shape.is_compatible_with(array.shape):
        raise AssertionError(f"input {name!r}: the signature takes the shape {shape}, golden.json has {array.shape}")
    return array


def _plain(value):
    """A value of JSON with bytes for texts and for {"b64": ...}."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


def compare_golden(golden: dict[str, Any], found: Arrays) -> str:
    """Compare outputs with the golden ones: words if they agree, AssertionError with the differences."""
    expected = {}
    for name, value in golden["outputs"].items():
        strings = name in found and found[name].dtype.hasobject
        expected[name] = np.array(_plain(value), object if strings or name not in found else float)
    return compare(expected, found, golden["tolerance"])


def compare(expected: Arrays, found: Arrays, tolerance: float) -> str:
    """Compare outputs with others: words if they agree, AssertionError with the differences.

    Strings and whole numbers must be equal. Other numbers may differ by `tolerance`, relative to the expected number if
    that is above 1.
    """
    problems = [f"{name}: not answered" for name in expected if name not in found]
    problems += [f"{name}: there is no expected value" for name in found if name not in expected]
    largest = 0.0
    for name in sorted(set(expected) & set(found)):
        problem, gap = _difference(name, expected[name], found[name], tolerance)
        problems += [problem] if problem else []
        largest = max(largest, gap)
    if problems:
        raise AssertionError("; ".join(problems))
    rows = len(next(iter(found.values())))
    return (
        f"{rows} row{'s' * (rows != 1)}, {len(found)} output{'s' * (len(found) != 1)}, largest difference {largest:.2g}"
    )


def _difference(name, expected, found, tolerance):
    """The difference of two arrays in words, None if they agree; and the largest difference of numbers."""
    if expected.shape != found.shape:
        return f"{name}: expected the shape {expected.shape}, received {found.shape}", 0.0
    if not found.size:
        return None, 0.0
    if found.dtype.hasobject or found.dtype.kind in "biu":
        gaps, allowed = (expected != found).astype(float), 0.0
    else:
        expected, found = expected.astype(float), found.astype(float)
        same = (expected == found) | (np.isnan(expected) & np.isnan(found))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0.0, np.abs(expected - found))
        gaps = np.where(np.isnan(gaps), np.inf, gaps)
        allowed = tolerance * np.maximum(1.0, np.nan_to_num(np.abs(expected)))
    wrong = gaps > allowed
    numbers = not found.dtype.hasobject
    if not wrong.any():
        return None, float(gaps.max()) if numbers else 0.0
    worst = np.unravel_index(np.argmax(np.where(wrong, gaps, -1.0)), gaps.shape)
    rows = int(wrong.reshape(len(wrong), -1).any(axis=1).sum())
    place = f"row {worst[0]}" + "".join(f"[{index}]" for index in worst[1:])
    most = f", at most by {gaps[worst]:.3g}" if numbers else ""
    told = f"expected {_shown(expected[worst])}, received {_shown(found[worst])}"
    return f"{name}: {rows} of {len(wrong)} rows differ{most} in {place}: {told}", 0.0


def _shown(value):
    if isinstance(value, bytes):
        return repr(value.decode(errors="backslashreplace"))
    return f"{value:.6g}"
