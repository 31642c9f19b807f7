"""The one way to write a file or a folder: whole or not at all, and on the disk before it has its name."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_whole(
    path: str | os.PathLike[str], content: str | bytes | Callable[[BinaryIO], object], *, mode: int | None = None
) -> Path:
    """Write a file, or replace it, whole or not at all.

    It is written next to the file under a new name, brought to the disk and renamed: a reader finds the old file or the
    new one, also after a power cut. A link is replaced, not followed. On an error no new file remains.

    Args:
        path: of the file; its folder exists.
        content: text (written as UTF-8), bytes, or a function that writes them to the open binary file; `file.name` is
            its current path, for libraries that take a path.
        mode: permissions, as 0o755; None: those of every new file.

    Returns:
        `path`.

    Raises:
        OSError: a folder that does not exist or cannot be written, a full disk. Errors of `content` are passed on.
    """
    path = Path(path)
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:  # "x": never an existing file or link
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if mode is not None:
                os.chmod(part, mode)
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.filename == str(part):  # a name that the user did not give
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return path


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write plain values as JSON, as `write_whole` does."""
    return write_whole(path, json.dumps(content))


def remove_unfinished(folder: Path) -> None:
    """Remove the files that `write_whole` left in a folder when its process was killed."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def rename_whole(folder: Path, target: Path) -> Path:
    """Rename a folder to `target` when its content is on the disk; returns `target`.

    Raises:
        OSError: there is such a file, or such a folder that is not empty; an invalid name.
    """
    for root, _, names in os.walk(folder):
        for name in names:
            with open(Path(root) / name, "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(root))
    folder.rename(target)
    _sync_folder(target.parent)
    return target


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can: Windows and some network disks cannot."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
