"""How videos are described."""

import os
import struct
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.decode.files import is_url, open_file, open_npy
from mmkeras.inputs import Video
from mmkeras.records.description.base import register
from mmkeras.records.description.files import FileDescriber, sizes, suffix
from mmkeras.records.description.pictures import opened, picture

PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
UNREAD = "unread (needs mmkeras[video])"


@register(Video)
class VideoDescriber(FileDescriber):
    """Its table: file, kind, frames, height, width."""

    columns = ("kind", "frames", "height", "width")
    measure = "frames"
    whole = True
    title = "frames of videos"
    beyond = "more than"

    def header(self, path: str) -> tuple[Any, ...]:
        """Kind, frames, height and width of a video file or a folder of pictures."""
        names = _inside(path)
        if names is not None:
            pictures = sorted(name for name in names if name.lower().endswith(PICTURES) and not name.startswith("."))
            return "folder", len(pictures), *picture(f"{path.rstrip('/')}/{pictures[0]}")[1:3]
        with open_file(path) as file:
            return _film(file, path)

    def limit(self, part: Video) -> tuple[float, str]:
        """The frames that are kept."""
        return part.frames, f"frames={part.frames}"

    def more(self, part: Video, readable: pd.DataFrame) -> list[str]:
        """The sizes."""
        return [sizes(part, readable)]


def _inside(path):
    """The names in a folder, or None for a file."""
    if not is_url(path):
        return os.listdir(path) if os.path.isdir(path) else None
    try:
        return tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else None
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _film(file: BinaryIO, path: str) -> tuple[Any, ...]:
    """Kind, frames, height and width of an open video file."""
    head = file.read(12)
    file.seek(0)
    if head.startswith(np.lib.format.MAGIC_PREFIX):
        frames, height, width, *channels = open_npy(file).shape
        if len(channels) > 1:
            raise ValueError("expected (frames, height, width, channels)")
        return "NPY", frames, height, width
    if head.startswith(b"GIF"):
        return "GIF", _gif_frames(file.read()), *struct.unpack("<HH", head[6:10])[::-1]
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        with opened(file) as image:
            return "WebP", getattr(image, "n_frames", 1), image.height, image.width
    return _other_film(file, path)


def _gif_frames(content):
    """The number of frames of a GIF that is whole."""
    frames, at = 0, 13 + _palette(content[10])
    while at < len(content) and content[at] != 0x3B:  # the end
        if content[at] == 0x2C:  # a frame
            frames, at = frames + 1, at + 11 + _palette(content[at + 9])
        elif content[at] == 0x21:  # an extension
            at += 2
        else:
            raise ValueError("no block of a GIF")
        while content[at]:  # parts of the block, each after its size
            at += 1 + content[at]
        at += 1
    if not frames:
        raise ValueError("no frame in this GIF")
    return frames


def _palette(flags):
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _other_film(file, path):
    """The same by PyAV, where it is installed."""
    try:
        import av
    except ImportError:
        return UNREAD, np.nan, np.nan, np.nan
    try:
        with av.open(file) as container:
            stream = container.streams.video[0]
            frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
            return suffix(path), frames, stream.codec_context.height, stream.codec_context.width
    except av.FFmpegError as error:
        raise ValueError("no video") from error
