"""How recordings are described."""

import os
import struct

import pandas as pd
import soundfile

from mmkeras.decode.files import open_file
from mmkeras.inputs import Audio
from mmkeras.records.description.base import register
from mmkeras.records.description.files import FileDescriber, counts, suffix

_KINDS = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF"}


@register(Audio)
class AudioDescriber(FileDescriber):
    """Its table: file, kind, rate, channels, seconds."""

    columns = ("kind", "rate", "channels", "seconds")
    measure = "seconds"
    form = "{:.4g}"
    title = "length of recordings"

    def header(self, path: str) -> tuple[str, int, int, float]:
        """Kind, sampling rate, channels and seconds of a sound file."""
        with open_file(path) as file:
            head = file.read(12)
            if head[:4] == b"RIFF" and head[8:] == b"WAVE":
                return "WAV", *_wav(file)
            kind = next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), suffix(path))
            file.seek(0)
            info = soundfile.info(file)
            return kind, info.samplerate, info.channels, info.duration

    def limit(self, part: Audio) -> tuple[float, str]:
        """The seconds that are kept."""
        return part.seconds, f"seconds={part.seconds:g}"

    def more(self, part: Audio, readable: pd.DataFrame) -> list[str]:
        """The rates and the numbers of channels."""
        return [counts(readable["rate"], "Hz"), counts(readable["channels"], "channels")]


def _wav(file):
    """Rate, channels and seconds of an open WAV file."""
    end, position, channels, rate, frame = file.seek(0, os.SEEK_END), 12, 0, 0, 0
    while position + 8 <= end:
        file.seek(position)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"fmt ":
            _, channels, rate, _, frame = struct.unpack("<HHIIH", file.read(14))
        if name == b"data":
            return rate, channels, min(size, end - position - 8) // frame / rate
        position += 8 + size + size % 2
    raise ValueError("no samples in this WAV")
