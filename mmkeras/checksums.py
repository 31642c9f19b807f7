"""SHA-256 of every file of an exported version: written by `export` as its last file, checked by `verify`.

The file has the format of `sha256sum`: `sha256sum --check assets.extra/SHA256SUMS` in the version's folder checks it
without mmkeras. Whoever can change the files can change it as well: what is signed is its own SHA-256, the digest.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

from mmkeras.errors import InputError, shown

NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
LONGEST = 2**24  # bytes of the list


def place(folder: Path) -> Path:
    """Where the list of a version stands: beside the other papers of a SavedModel, or in the folder itself."""
    papers = folder / "assets.extra"
    return (papers if papers.is_dir() else folder) / NAME


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the list itself: dict of path in the folder, with "/", -> hexadecimal digits.

    Raises:
        InputError: a link, a pipe or a device, a name that a list cannot hold, a file that cannot be read.
    """
    found = {}
    try:
        for root, folders, names in os.walk(folder, onerror=_raise):
            for name in folders:
                _check_kind(Path(root) / name, stat.S_ISDIR, "a folder")
            for name in names:
                path = Path(root) / name
                _check_kind(path, stat.S_ISREG, "a regular file")
                with open(path, "rb") as file:
                    found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {str(error.filename)!r}: {error.strerror}") from error
    found.pop(place(folder).relative_to(folder).as_posix(), None)
    return dict(sorted(found.items()))


def _raise(error: OSError) -> None:
    raise error


def _check_kind(path: Path, is_kind: object, expected: str) -> None:
    if not is_kind(path.lstat().st_mode):  # type: ignore[operator]
        raise InputError(f"expected {expected}, received a link, a pipe or a device: {str(path)!r}")
    if not path.name.isprintable() or "\\" in path.name:
        raise InputError(f"expected a name of printable characters, received {shown(str(path))}")


def as_text(found: dict[str, str]) -> str:
    """The list, in the format of `sha256sum`."""
    return "".join(f"{digits}  {path}\n" for path, digits in sorted(found.items()))


def digest(found: dict[str, str]) -> str:
    """SHA-256 of the list: it stands for all files. 64 hexadecimal digits."""
    return hashlib.sha256(as_text(found).encode()).hexdigest()


def write(folder: Path) -> None:
    """Write the list of a version whose other files are complete."""
    place(folder).write_text(as_text(hashes(folder)), encoding="utf-8")


def read(folder: Path) -> dict[str, str] | None:
    """The list of a version; None if there is none.

    Raises:
        InputError: a file that is no such list.
    """
    path = place(folder)
    if not path.exists():
        return None
    if path.stat().st_size > LONGEST:
        raise InputError(f"{str(path)!r}: expected at most {LONGEST:,} bytes")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not match or match[2] in found:
            raise InputError(f"{str(path)!r} line {number}: expected SHA-256 and path, received {shown(line)}")
        found[match[2]] = match[1]
    return found


def difference(expected: dict[str, str], found: dict[str, str]) -> str:
    """The files that are changed, missing or not in the list, in words; "" if there are none."""
    both = set(expected) & set(found)
    kinds = {
        "changed": {path for path in both if expected[path] != found[path]},
        "missing": set(expected) - set(found),
        "not in the list": set(found) - set(expected),
    }
    words = []
    for kind, paths in kinds.items():
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        words += [f"{kind}: {', '.join(sorted(paths)[:5])}{more}"] if paths else []
    return "; ".join(words)
