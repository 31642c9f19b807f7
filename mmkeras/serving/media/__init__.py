"""Pictures, recordings, texts and files of any kind, in the form that is sent to a served model.

Bytes, and the files of a path, are sent unchanged. Kinds of input that accept more, as arrays of pixels, have a `Media`
object each, in `MEDIA`; your own kind joins by `register`.
"""

import os
from pathlib import Path
from typing import Any

from mmkeras.errors import InputError
from mmkeras.inputs import Audio, Image, Input, Video
from mmkeras.registry import Kinds
from mmkeras.serving.media.audio import AudioMedia, wav
from mmkeras.serving.media.base import Media, as_text, described, missing
from mmkeras.serving.media.image import ImageMedia, upright
from mmkeras.serving.media.numbers import NumbersMedia
from mmkeras.serving.media.video import VideoMedia

__all__ = ["MEDIA", "Media", "as_sent", "as_text", "missing", "register", "wav"]

MEDIA = Kinds("form in which values are sent", Media, __name__)
register = MEDIA.register
register(Image)(ImageMedia)
register(Audio)(AudioMedia)
register(Video)(VideoMedia)


class TextMedia(Media):
    """Texts, whatever kind of input reads them."""

    expected = "a text"


class AnyMedia(Media):
    """The values that can be sent if no schema tells the kind of the input."""

    expected = (
        "a text, bytes, a pathlib.Path, a PIL image, a uint8 array of a picture or (rate, samples) of a recording; "
        "with Client(schema=...) arrays of other numbers, too"
    )

    def from_file(self, raw: bytes, path: Path) -> bytes:
        """Files unchanged, except formats that only the client can read, by their names."""
        for media in MEDIA.values():
            if path.suffix.lower() in media.suffixes:
                return media.from_file(raw, path)
        return raw

    def from_value(self, value: Any) -> bytes | None:
        """The value by the first kind that accepts it."""
        made = (media.from_value(value) for media in MEDIA.values())
        return next((raw for raw in made if raw is not None), None)


def as_sent(value: Any, feature: Input | None = None, rotate: bool = False) -> str | bytes:
    """One picture, recording, video, text or file in the form that is sent.

    Args:
        value: see `Client`.
        feature: the schema's entry of the input, or None: not known.
        rotate: whether a JPEG is turned upright.

    Returns:
        str for a text, else bytes; "" for a missing value.

    Raises:
        InputError: a value of another type, a file that cannot be read, a missing package.
    """
    if missing(value):
        return ""
    words = feature is None or feature.wire == "text"
    if isinstance(value, str) and (words or not value):
        return as_text(value)
    media = _media_of(feature)
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        raw = media.from_file(read(path), path)
    elif isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
    else:
        made = media.from_value(value)
        if made is None:
            raise InputError(f"expected {media.expected}, received {described(value)}")
        return made
    return upright(raw) if rotate else raw


def _media_of(feature: Input | None) -> Media:
    if feature is None:
        return AnyMedia()
    if feature.wire == "text":
        return TextMedia()
    known = (MEDIA[kind] for kind in type(feature).__mro__ if kind in MEDIA)
    # bytes and files need no more than `Media`
    return next(known, NumbersMedia(feature) if feature.wire == "numbers" else Media())


def read(path: Path) -> bytes:
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error
