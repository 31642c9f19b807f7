"""One codec for each kind of input of mmkeras, a kind a file."""

from mmkeras.decode.codecs import audio, image, series, tabular, text, video

__all__ = ["audio", "image", "series", "tabular", "text", "video"]
