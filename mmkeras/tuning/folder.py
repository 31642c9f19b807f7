"""The folder of a search: what in it is ours, which search it holds, and who is at work in it."""

import json
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmkeras.errors import InputError, shown, warn
from mmkeras.files import LOCK, one_at_a_time, remove_unfinished, write_json
from mmkeras.schema import Schema

SCHEMA, SETTINGS = "schema.json", "search.json"
KEYS = {"tuner", "objective", "seed", "training", "features", "space", "schema"}
_TRIALS = r"trial_\d+|towers|tuned|full/\d+|controls/\d+/[^/]+"
_FOLDERS = re.compile(rf"{_TRIALS}|full|controls|controls/\d+|report")
_FILES = re.compile(
    rf"(schema|oracle|tuner0|chief)\.json|({_TRIALS})/(trial\.json|outcome\.json|request\.json|log\.txt|"
    r"checkpoint\.weights\.h5)|report/(report\.md|trials\.csv|best\.json|training\.json|overview\.png|controls\.csv|"
    r"controls\.png)"
)


def at_work(folder: Path, worker: str | None) -> AbstractContextManager[None]:
    """Keep a second search, or a second worker of this name, out of the folder as long as this process lives."""
    return one_at_a_time(folder, "tune: ", f".mmkeras.{worker}.lock" if worker else LOCK)


def begin_anew(folder: Path) -> None:
    """Remove the search from its folder, and nothing else; warns of what stays.

    Raises:
        InputError: a folder that holds something else but no search; nothing is removed then.
    """
    settings = folder / SETTINGS
    remove_unfinished(folder)
    others = [name for name in sorted(os.listdir(folder)) if name not in (LOCK, SCHEMA)]
    if not _is_search(settings):
        if others:
            raise InputError(
                f"tune: overwrite=True: expected a folder with a search (with {SETTINGS}), or an empty one, received "
                f"{str(folder)!r} with {_named(others)}; nothing was removed. Give another directory"
            )
        return
    for name in others:
        if (_FOLDERS.fullmatch(name) or _FILES.fullmatch(name)) and (folder / name).is_symlink():
            raise InputError(
                f"tune: overwrite=True: {str(folder / name)!r} is a link, and what is behind it is not removed; "
                "expected none. Remove it, or give another directory"
            )
    stays = remove_ours(folder)
    settings.unlink()  # last: until then the folder is known to be ours
    if stays:
        warn(f"tune: overwrite=True removed the search in {str(folder)!r}; what is not its own stays: {_named(stays)}")


def remove_ours(root: Path, part: str = "") -> list[str]:
    """Remove the files of a search, and the folders that are empty then.

    Args:
        root: folder of the search.
        part: path in it, as "trial_3"; "": all but search.json.

    Returns:
        list of paths in `root` of what is not ours, and stays.
    """
    stays = []
    for entry in sorted(os.scandir(root / part), key=lambda entry: entry.name):
        path = f"{part}/{entry.name}" if part else entry.name
        if entry.is_dir(follow_symlinks=False) and _FOLDERS.fullmatch(path) and _is_ours(root, path):
            stays += remove_ours(root, path)
            remove_unfinished(root / path)
            if not os.listdir(entry.path):
                os.rmdir(entry.path)
        elif entry.is_file(follow_symlinks=False) and (_FILES.fullmatch(path) or _of_worker(root / path, part)):
            os.unlink(entry.path)
        elif path != SETTINGS and not re.fullmatch(r"\.mmkeras\.(.+\.)?lock|job-.+|.+\.part", path):
            stays.append(path)
    return stays


def _is_ours(root, path):
    """Whether a folder of this name is ours; "report" is a name that others use as well."""
    report = root / path / "report.md"
    return path != "report" or (report.is_file() and report.read_bytes().startswith(b"# Search in "))


def _of_worker(path, part):
    """KerasTuner's file of a worker: {} by the worker's name."""
    return not part and path.suffix == ".json" and path.stat().st_size == 2 and path.read_bytes() == b"{}"


def _is_search(settings):
    found = _read(settings)
    return isinstance(found, dict) and found.keys() == KEYS


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def _named(names):
    return ", ".join(repr(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def claim(folder: Path, schema: Schema, settings: dict[str, Any]) -> None:
    """Write down which search the folder holds, or see that it is this one.

    Raises:
        InputError: the folder holds another search, or files of our names that are not ours.
    """
    told = json.loads(schema.to_json())
    wanted = json.loads(json.dumps({**settings, "schema": told}, default=str))
    path = folder / SETTINGS
    if not path.exists():
        if (folder / SCHEMA).exists() and _read(folder / SCHEMA) != told:
            raise InputError(
                f"tune: {str(folder / SCHEMA)!r} is there already, of another schema; expected none. Give another "
                "directory"
            )
        schema.save(folder / SCHEMA)  # first: a folder with search.json is whole
        write_json(path, wanted)
    there = _read(path)
    if not _is_search(path):
        raise InputError(f"tune: {str(path)!r} is there already, and it is not of a search. Give another directory")
    for key, value in wanted.items():
        if there.get(key) != value:
            raise InputError(
                f"tune: {str(folder)!r} holds a search with another {key}: expected {shown(there.get(key))}, received "
                f"{shown(value)}; give another directory, or overwrite=True"
            )
    if not (folder / SCHEMA).exists():
        schema.save(folder / SCHEMA)
