"""Videos: the served model reads GIF and WebP."""

from pathlib import Path

from mmkeras.errors import InputError
from mmkeras.serving.media.base import Media


class VideoMedia(Media):
    """Short videos."""

    expected = "a video: its bytes, a path"

    def from_file(self, raw: bytes, path: Path) -> bytes:
        """GIF and WebP files as they are."""
        if raw[:4] not in (b"GIF8", b"RIFF"):
            raise InputError(f"expected a GIF or WebP file, as the served model reads no other, received {str(path)!r}")
        return raw
