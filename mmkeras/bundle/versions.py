"""Versions of a model side by side in one folder, each written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from mmkeras import checksums
from mmkeras.disk import check_path, disk_reason
from mmkeras.errors import InputError
from mmkeras.files import private_folder, rename_whole


def write_version(directory: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Write the next version into `directory`; it has the first free number.

    It is written beside the versions and renamed: a server that polls the folder never sees half a version. What a
    killed export left is removed; other exports may be at work in the folder. SHA-256 of all files is its last file.

    Args:
        directory: folder of the versions; made if there is none.
        write: function of the folder (Path) that it fills.

    Returns:
        Path of the version.

    Raises:
        InputError: a folder that cannot be written; whatever `write` raises goes through. Nothing is left then.
    """
    directory = check_path(directory, "export: ")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with private_folder(directory, ".unfinished-") as unfinished:
            write(unfinished)
            checksums.write(unfinished)
            unfinished.chmod(0o755)  # a server may run as somebody else
            return _publish(unfinished, directory)
    except OSError as error:
        raise InputError(f"export: cannot write to {str(directory)!r}: {disk_reason(error)}") from error


def _publish(unfinished: Path, directory: Path) -> Path:
    """Rename to the first free version number; another process may take one in between."""
    version = max([int(path.name) for path in directory.iterdir() if path.name.isdecimal()], default=0)
    while True:
        version += 1
        try:
            return rename_whole(unfinished, directory / str(version))
        except OSError:
            if not (directory / str(version)).exists():
                raise
