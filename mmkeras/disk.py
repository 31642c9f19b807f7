"""Paths, JSON and errors of the disk: what a user gives or what somebody else wrote, refused with a sentence."""

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmkeras.errors import InputError, shown

JSON_BYTES = 2**28  # of a JSON file; a vocabulary of a million words has some 20 million
_SPACE = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")


def check_path(path: Any, where: str) -> Path:
    """A given path as a `Path`.

    Args:
        path: str or os.PathLike.
        where: the beginning of the message, as "load: ".

    Raises:
        InputError: something else, an empty path, or one that no file can have: with a NUL, or with half a character.

    >>> check_path("", "load: ")
    Traceback (most recent call last):
    mmkeras.errors.InputError: load: expected a path, received ''
    """
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if isinstance(given, str) and given and "\0" not in given and _can_be_named(given):
        return Path(given)
    raise InputError(f"{where}expected a path, received {shown(path)}")


def _can_be_named(path):
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def parse_json(text: str, where: str, what: str = "JSON") -> Any:
    """What a JSON text holds; `where` is the beginning of the message, `what` the text that is expected.

    Raises:
        InputError: no JSON, or one with lists in lists without end, or with numbers of thousands of digits.

    >>> parse_json('"a', "x.json: ")
    Traceback (most recent call last):
    mmkeras.errors.InputError: x.json: expected JSON, received '"a' (line 1, column 1: Unterminated string starting at)
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        said = f"line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        said = "too many lists and objects in each other"
    except ValueError as error:  # a number of too many digits
        said = str(error).partition(";")[0]
    raise InputError(f"{where}expected {what}, received {shown(text[:100])} ({said})")


def read_json(path: str | os.PathLike[str], where: str, most: int = JSON_BYTES) -> Any:
    """What a JSON file holds; `where` is the beginning of the message, the path is added to it.

    Raises:
        InputError: no such file, one that cannot be read or is no regular file, or no JSON.
    """
    return parse_json(read_text(path, where, most), f"{where}{str(path)!r}: ")


def read_text(path: str | os.PathLike[str], where: str, most: int = JSON_BYTES) -> str:
    """The text in UTF-8 of a file, as `read_json` reads it."""
    path = check_path(path, where)
    try:
        with open(path, "rb", opener=regular) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= most:
                return file.read(most).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{where}cannot read {str(path)!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{where}cannot read {str(path)!r}: expected UTF-8, line {line}: {error}") from error
    raise InputError(f"{where}{str(path)!r}: expected at most {most:,} bytes, found {size:,}")


def regular(path: str, flags: int) -> int:
    """The `opener` of `open` for a regular file: a pipe would wait for its writer, a device would not end."""
    number = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    kind = stat.S_IFMT(os.fstat(number).st_mode)
    if kind == stat.S_IFREG:
        return number
    os.close(number)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], where: str) -> Iterator[None]:
    """While something is written to a path: an error of the disk becomes an `InputError` that names it and what to do.

    Args:
        path: of the file or folder, as the user gave it.
        where: the beginning of the message, as "export: ".
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of the libraries that write, some have errors of their own for a full disk
        if not isinstance(error, OSError) and not _FULL.search(str(error)):
            raise
        raise InputError(f"{where}cannot write {str(path)!r}: {disk_reason(error)}") from error


def disk_reason(error: Exception) -> str:
    """What is wrong with the disk, and what to do."""
    said = str(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
    number = getattr(error, "errno", None)
    if number in _SPACE or _FULL.search(said):
        return f"{_short(said)}: free some space, or give another place"
    if number in _FORBIDDEN:
        return f"{_short(said)}: give a folder that you may write"
    if number == errno.ENOENT:
        return f"{_short(said)}: make its folder first"
    return _short(said)


def _short(said):
    found = _FULL.search(said)
    return found[0] if found else (said.strip().splitlines() or ["unknown"])[0][:200]
