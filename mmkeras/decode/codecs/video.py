"""The codec of short videos."""

import math
import os
from collections.abc import Iterable

import tensorflow as tf

from mmkeras.decode.codecs.image import colours
from mmkeras.decode.rows import FileCodec
from mmkeras.decode.table import register
from mmkeras.decode.video import announces_more, decode_video, pictures_in, video_file, video_reason
from mmkeras.inputs import Video

# one black pixel, of which any size is made
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


@register(Video)
class VideoCodec(FileCodec):
    """GIF and WebP in training and served; folders of pictures, .npy and other files in training alone."""

    format = "a video"
    begins = (b"GIF8", b"RIFF")
    largest = math.inf  # films are read in part; of GIF and WebP see `video_file`

    def decode_bytes(self, feature: Video, raw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The frames kept of a GIF or WebP, and how many they are."""
        return decode_video(raw, feature)

    def decode_file(self, feature: Video, path: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The frames kept of any video file or folder."""
        return video_file(path, feature)

    def exceeds(self, feature: Video, raw: tf.Tensor) -> tf.Tensor:
        """Whether it has more than `max_pixels` in all frames together."""
        return announces_more(raw, feature.max_pixels)

    def is_file(self, path: str) -> bool:
        """A file, or a folder of pictures."""
        return os.path.isfile(path) or os.path.isdir(path)

    def opens(self, path: str) -> Iterable[str]:
        """The file, or the pictures in the folder."""
        return pictures_in(path) if os.path.isdir(path) else [path]

    def why(self, feature: Video, path: str) -> str:
        """What is wrong with a file or folder."""
        return video_reason(path, feature)

    def made_up(self, feature: Video) -> bytes:
        """A GIF of one frame."""
        return GIF

    def card(self, feature: Video) -> str:
        """Formats and size."""
        size = f"{feature.height} x {feature.width}, {colours(feature)}"
        return f"a GIF or WebP file; becomes {feature.frames} frames of {size}"

    def limits(self, feature: Video) -> list[str]:
        """The most pixels."""
        return [f"more than {feature.max_pixels:,} pixels are refused."]
