"""How the sets write their files, so that nobody takes half of a set for the whole."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mmkeras.disk import disk_reason
from mmkeras.errors import InputError
from mmkeras.files import one_at_a_time, remove_unfinished, write_whole


def write_once(
    directory: str | os.PathLike[str], settings: dict[str, Any], names: Sequence[str], write: Callable[[Path], None]
) -> Path:
    """Write a set unless `directory` holds it already; returns the path of its manifest.

    `<set>.json` beside the manifest tells what the directory holds. It says "complete": false before the first file is
    written and true after the last, so a set that was cut short is known as ours, and is never taken for whole. One
    process at a time writes in a directory.
    """
    directory = Path(directory)
    manifest, label = directory / "manifest.csv", directory / f"{settings['set']}.json"
    try:
        if _is_whole(directory, label, settings, names):
            return manifest
        directory.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(directory, f"{settings['set']}: "):
            remove_unfinished(directory)
            if not _is_whole(directory, label, settings, names):
                write_whole(label, json.dumps({**settings, "complete": False}) + "\n")
                manifest.unlink(missing_ok=True)
                write(directory)
                write_whole(label, json.dumps({**settings, "complete": True}) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {error.filename or directory}: {disk_reason(error)}") from error
    return manifest


def _is_whole(directory: Path, label: Path, settings: dict[str, Any], names: Sequence[str]) -> bool:
    """Whether the directory holds this very set; raises `InputError` if it holds something that is not ours."""
    present = [name for name in names if (directory / name).exists()]
    if label.exists():
        found = _label(label, settings["set"])
        return found == {**settings, "complete": True} and len(present) == len(names)
    if present:
        raise InputError(f"{directory}: expected no {present[0]} or one beside {label.name}; this is not ours")
    return False


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_whole(path, text.getvalue())


def _label(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("set") != name:
        raise InputError(f"{path}: expected the label of a {name} set; this is not ours and we leave it")
    return found
