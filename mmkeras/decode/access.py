"""What the cells of a table may have opened: rules that travel with its records.

A table decides which files are read, and it may come from somebody else. Before any file is opened, be it to check, to
decode, to describe or to explain it, `Access.refusal` says whether it may be.
"""

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mmkeras.decode.files import irregular, is_url, local_path, scheme_of, scheme_reason
from mmkeras.errors import shown

if TYPE_CHECKING:
    from mmkeras.decode.base import Codec

MAX_BYTES = 2**30  # of one file


@dataclass(frozen=True)
class Access:
    """What may be opened.

    Attributes:
        folders: of the tables, real paths or URLs; what is in them may be opened.
        confine: whether nothing else may be.
        urls: whether URLs outside of the folders may be.
        max_bytes: of one file, at most.
    """

    folders: tuple[str, ...] = ()
    confine: bool = False
    urls: bool = False
    max_bytes: int = MAX_BYTES

    def refusal(self, codec: "Codec", path: str) -> str | None:
        """Why nothing is opened at a path or URL, or None. That there is no such file is left to the codec."""
        if is_url(path):
            if reason := self._of_url(path):
                return reason
            if scheme_of(path) != "file":
                return self._of_remote(codec, path)
        return self._of_local(codec, local_path(path))

    def too_large(self, codec: "Codec", size: int) -> str | None:
        """The reason to refuse a file of so many bytes, or None."""
        if size > self.max_bytes:
            return f"a file of {size:,} bytes, more than max_bytes={self.max_bytes:,}"
        if size > codec.largest:
            return f"a file of {size:,} bytes, more than the {codec.largest:,} that can be decoded"
        return None

    def only(self, codec: "Codec", paths: Any) -> np.ndarray:
        """These paths, an array of str: "" in the place of what may not be opened and of files without content."""
        paths = np.asarray(paths, object)
        kept = [path if path and self._may_open(codec, path) else "" for path in paths.ravel()]
        return np.array(kept, object).reshape(paths.shape)

    def _may_open(self, codec, path):
        # a file of no bytes holds no value; those of /proc are of no bytes too, wherever they are mounted
        return self.refusal(codec, path) is None and not (not is_url(path) and is_empty(path))

    def _of_url(self, path):
        if reason := scheme_reason(path):
            return reason
        if self._is_inside(path):
            return None
        if self.confine:
            return "outside of the table's folder, which confine=True forbids"
        return None if self.urls else "a URL, which needs read(..., urls=True)"

    def _of_remote(self, codec, path):
        try:
            found = tf.io.gfile.stat(path)
        except tf.errors.NotFoundError:
            return None  # the codec says that
        except tf.errors.OpError as error:
            return f"cannot be reached: {shown(error.message)}"
        return None if found.is_directory else self.too_large(codec, found.length)

    def _of_local(self, codec, path):
        try:
            if self.confine and not self._is_inside(path):
                return "outside of the table's folder, which confine=True forbids"
            if not os.path.isdir(path):
                return self._of_file(codec, path)
            for inside in codec.opens(path) if codec.is_file(path) else ():
                if self.confine and not self._is_inside(inside):
                    return f"{os.path.basename(inside)!r} in it is outside of the table's folder: confine=True"
                if reason := self._of_file(codec, inside):
                    return f"{os.path.basename(inside)!r} in it: {reason}"
        except FileNotFoundError:
            pass  # the codec says that
        except OSError as error:
            return error.strerror or str(error)
        except ValueError:  # a NUL, or what is no Unicode
            return "no path"
        return None

    def _of_file(self, codec, path):
        found = os.stat(path)
        return irregular(found) or (None if stat.S_ISDIR(found.st_mode) else self.too_large(codec, found.st_size))

    def _is_inside(self, path):
        if is_url(path) and scheme_of(path) != "file":
            return ".." not in path.split("/") and any(path.startswith(f"{folder}/") for folder in self.folders)
        real = os.path.realpath(local_path(path))
        folders = [os.path.realpath(local_path(folder)) for folder in self.folders if not _is_remote(folder)]
        return any(os.path.commonpath([real, folder]) == folder for folder in folders)


def is_empty(path: str) -> bool:
    """Whether a local path is that of a file without content."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return not stat.S_ISDIR(found.st_mode) and not found.st_size


def _is_remote(folder: Any) -> bool:
    return is_url(folder) and scheme_of(folder) != "file"
