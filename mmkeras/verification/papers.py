"""What is checked before anything of a bundle is loaded or run: its files, and its golden batch."""

import base64
import binascii
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmkeras import checksums
from mmkeras.checks import is_number
from mmkeras.errors import InputError, shown

MOST_TOLERANCE = 1e-2  # what export writes for a model that was exported on a GPU
LONGEST = 256 * 2**20  # bytes of golden.json
DEEPEST = 16  # lists within lists
OTHERS = ("saved_model.cpb", "saved_model.pbtxt")  # TensorFlow would load them instead of the graph that is checked


def check_golden(bundle: Path) -> None:
    """Raise an `InputError` unless there is a golden batch that can be compared with."""
    path = bundle / "assets.extra" / "golden.json"
    try:
        _check_whole(bundle, path)
        golden = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        inputs, outputs = golden["inputs"], golden["outputs"]
        columns = [*inputs.values(), *outputs.values()]
        rows = {len(column) if isinstance(column, list) else None for column in columns}
        name, tolerance = golden["signature_name"], golden["tolerance"]
        _check_values(columns)
    except FileNotFoundError:
        raise InputError(
            f"verify: {str(bundle)!r} has no golden outputs, so that nothing of it can be checked: there is no "
            "assets.extra/golden.json"
        ) from None
    except RecursionError:
        raise InputError(f"verify: {str(path)!r} holds no golden batch: it is nested too deeply") from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"verify: {str(path)!r} holds no golden batch: {type(error).__name__}: {error}") from error
    where = f"verify: {str(path)!r}: expected"
    if not (isinstance(name, str) and inputs and outputs) or len(rows) != 1 or rows & {0, None}:
        raise InputError(f"{where} a signature_name, inputs and outputs with equally many rows, at least one")
    if not is_number(tolerance, 0, most=MOST_TOLERANCE):
        received = f"received {shown(tolerance)}: with a larger one wrong outputs would pass"
        raise InputError(f"{where} a tolerance from 0 to {MOST_TOLERANCE}, {received}")


def _check_whole(bundle: Path, path: Path) -> None:
    """Raise an `InputError` for a link out of the bundle, and for a file that is too large to be read."""
    if path.resolve() != path and path.exists():
        raise InputError(f"verify: expected a file within the bundle, received a link: {str(path)!r}")
    if path.stat().st_size > LONGEST:
        raise InputError(f"verify: {str(path)!r}: expected at most {LONGEST:,} bytes, received {path.stat().st_size:,}")


def _no_number(name: str) -> None:
    raise ValueError(f"expected finite numbers, received {name}")


def _check_values(columns: list[Any]) -> None:
    """Raise a ValueError for what is no value of a signature: strings, numbers, base64, and lists of them."""
    level = columns
    for _ in range(DEEPEST):
        lists = [value for value in level if isinstance(value, list)]
        for value in level:
            if isinstance(value, dict):
                _check_base64(value)
            elif not isinstance(value, list | str | bool | int | float) or value in (math.inf, -math.inf):
                raise ValueError(f"expected strings and finite numbers, received {shown(value)}")
        if not lists:
            return
        level = [value for one in lists for value in one]
    raise ValueError(f"expected at most {DEEPEST} lists within lists")


def _check_base64(value: dict[str, Any]) -> None:
    try:
        base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise ValueError(f'expected {{"b64": ...}}, received {shown(value)}') from None


def hashes(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file. Raises `InputError` for links, pipes, and a graph beside the one that is checked."""
    for name in OTHERS:
        if (bundle / name).exists():
            raise InputError(f"verify: expected the graph in saved_model.pb alone, received {name} beside it")
    try:
        return checksums.hashes(bundle)
    except InputError as error:
        raise InputError(f"verify: {error}") from error


def check_files(bundle: Path, found: dict[str, str], expect: str | None) -> Iterator[tuple[str, str, str]]:
    """Compare every file with the list that export wrote, and the list with the digest that was signed.

    Args:
        bundle: the version's folder.
        found: of `hashes`.
        expect: the digest that it must have; None: any.

    Returns:
        Name, outcome and words of each check.

    Raises:
        InputError: a list that is none.
    """
    expected = checksums.read(bundle)
    digest = checksums.digest(found)
    if expect is not None:
        agree = expect == digest
        yield "digest", "passed" if agree else "failed", digest if agree else f"expected {expect}, received {digest}"
    if expected is None:
        words = f"there is no {checksums.NAME}: whether files were changed since the export cannot be told"
        yield "files", "skipped", words
        return
    words = checksums.difference(expected, found)
    yield "files", "failed" if words else "passed", words or f"{len(found)} as in {checksums.NAME}, digest {digest}"
