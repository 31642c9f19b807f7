"""The one way to write a file or a folder: whole or not at all, and on the disk before it has its name.

What a killed process left is known by a lock that died with it (flock), and is removed by the next writer. The lock
holds among the processes of a machine, and on NFS among machines if the server offers locks. On Windows, and on disks
without locks, nobody is kept out, and what killed processes left stays.
"""

import contextlib
import errno
import io
import json
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mmkeras.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK, WORK = ".mmkeras.lock", "work"
_PART, _RANDOM = re.compile(r"\..+\.[0-9a-f]{16}\.part"), re.compile("[a-z0-9_]{8}")  # the second as of tempfile


def write_whole(
    path: str | os.PathLike[str], content: str | bytes | Callable[[BinaryIO], object], *, mode: int | None = None
) -> Path:
    """Write a file, or replace it, whole or not at all.

    It is written next to the file under a new name, brought to the disk and renamed: a reader finds the old file or the
    new one, also after a power cut. A link stays, and the file that it points to is replaced. A file that is replaced
    keeps its permissions. On an error no new file remains; what a killed process left is removed by the next call.

    Args:
        path: of the file; its folder exists.
        content: text (written as UTF-8), bytes, or a function that writes them to the open binary file; `file.name` is
            its current path, for libraries that take a path and lock no files (HDF5 does).
        mode: permissions, as 0o755; None: those of the file that is replaced, or of every new file.

    Returns:
        `path`.

    Raises:
        OSError: a folder that does not exist or cannot be written, a file that cannot be written, a pipe, a device, a
            link to nothing, a full disk. Errors of `content` are passed on.
    """
    path = Path(path)
    target, found = _target(path)
    _remove_dead_parts(target.parent, f".{target.name[:40]}.")
    part = None
    try:
        with _new_part(target, 0o666 if found is None else stat.S_IMODE(found.st_mode)) as file:
            part = Path(file.name)
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            _set_permissions(part, found, mode)
            os.fsync(file.fileno())
            if fcntl is None:  # Windows renames no open file
                file.close()
            os.replace(part, target)  # before the lock is released, or another process may take it for a dead one's
    except OSError as error:
        if error.filename == str(part):  # a name that the user did not give
            error.filename = str(path)
        raise
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    _sync_folder(target.parent)
    return path


def _target(path: Path) -> tuple[Path, os.stat_result | None]:
    """The file that is replaced, behind links, and what the system knows of it; raises as `open` does, never waits."""
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "it is a link to nothing", str(path)) from None
        return path, None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    os.close(os.open(path, os.O_WRONLY))  # refused where the file, or another user's link to it, may not be written
    return path.resolve(), found


def _new_part(target: Path, mode: int) -> BinaryIO:
    """A new file next to the target, open and locked."""
    while True:
        part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
        # "x": never an existing file; the caller closes it
        file = open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115
        if _lock(file.fileno()) is not False and _is_at(file.fileno(), part):
            return file
        file.close()  # taken for a dead one by another process before it was locked


def _set_permissions(part: Path, found: os.stat_result | None, mode: int | None) -> None:
    if found is not None and hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root may give a file away
            os.chown(part, found.st_uid, found.st_gid)
    if mode is not None or found is not None:
        os.chmod(part, mode if mode is not None else stat.S_IMODE(found.st_mode))


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write plain values as JSON, as `write_whole` does."""
    return write_whole(path, json.dumps(content))


def remove_unfinished(folder: Path) -> None:
    """Remove the files that `write_whole` left in a folder when its process was killed."""
    _remove_dead_parts(folder, ".")


def _remove_dead_parts(folder: Path, start: str) -> None:
    for name in _names(folder):
        if name.startswith(start) and _PART.fullmatch(name):
            _remove_dead(folder / name, lambda path: None)


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(PermissionError):  # a folder that may be written but not listed
        return os.listdir(folder)
    return []


def _remove_dead(path: Path, empty: Callable[[Path], None]) -> None:
    """Lock a file that another process left, call `empty` and remove the file; nothing if a process still has it."""
    try:
        number = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # gone, or somebody else's
        return
    try:
        if _lock(number) and _is_at(number, path):
            empty(path)
            path.unlink()
    finally:
        os.close(number)


@contextlib.contextmanager
def private_folder(parent: str | os.PathLike[str] | None = None, prefix: str = "mmkeras-") -> Iterator[Path]:
    """An empty folder of this user and process alone, which is removed at the end.

    If the process is killed, the next call with the same arguments removes what it left.

    Args:
        parent: where it is made; None: the system's folder for temporary files.
        prefix: of its name.

    Yields:
        Its path; it may be renamed before the end.

    Raises:
        OSError: a parent that cannot be written.
    """
    parent = Path(parent if parent is not None else tempfile.gettempdir())
    for name in _names(parent) if fcntl is not None else ():
        if name.startswith(prefix) and _RANDOM.fullmatch(name[len(prefix) :]):
            _remove_left(parent / name)
    while True:
        outer = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _held(outer / LOCK)
        if lock is not None:
            break
    try:
        (outer / WORK).mkdir()
        yield outer / WORK
    finally:
        shutil.rmtree(outer / WORK, ignore_errors=True)
        with contextlib.suppress(OSError):
            (outer / LOCK).unlink()  # last: it tells that the folder is ours
        os.close(lock)
        with contextlib.suppress(OSError):
            outer.rmdir()


def _remove_left(outer: Path) -> None:
    """Remove a private folder whose process is gone: one of this user with our lock in it, and only what is ours."""
    with contextlib.suppress(OSError):
        found = outer.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            _remove_dead(outer / LOCK, lambda lock: shutil.rmtree(lock.with_name(WORK), ignore_errors=True))
            outer.rmdir()  # where something else is in it, it stays


@contextlib.contextmanager
def one_at_a_time(folder: Path, where: str, name: str = LOCK) -> Iterator[None]:
    """Keep other processes out of a folder, by a lock file in it, which dies with this process.

    Args:
        folder: there must be one.
        where: of the message, as "tune: ".
        name: of the lock file.

    Raises:
        InputError: another process, or thread, is at work in the folder.
        OSError: a folder that cannot be written.
    """
    path = folder / name
    lock = _held(path)
    if lock is None:
        raise InputError(
            f"{where}another process is at work in {str(folder)!r}{_holder(path)}; wait for its end, or give another "
            "folder"
        )
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(lock)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        told = path.read_bytes()[:200].decode(errors="replace")
        return f" ({told})" if told else ""
    return ""


def _held(path: Path) -> int | None:
    """Open and lock a file, made if there is none; None if another process holds it, or has removed its folder."""
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:
            return None
        if _lock(number) is False:
            os.close(number)
            return None
        if _is_at(number, path):
            return number
        os.close(number)  # its holder has removed it


def _lock(number: int) -> bool | None:
    """Lock an open file; False: another process has it; None: there are no locks here."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _is_at(number: int, path: Path) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


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


def npy_bytes(values: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
