"""What the first bytes of picture and sound files tell, without decoding them."""

import os
import struct

import soundfile

_SOUNDS = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF"}


def picture(file, path):
    """Format, height, width and EXIF orientation of an open picture file. Raises ValueError or struct.error."""
    head = file.read(32)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG", *_jpeg(file)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG", *struct.unpack(">II", head[16:24])[::-1], 1
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF", *struct.unpack("<HH", head[6:10])[::-1], 1
    if head.startswith(b"BM"):
        width, height = struct.unpack("<HH", head[18:22]) if head[14] == 12 else struct.unpack("<ii", head[18:26])
        return "BMP", abs(height), width, 1
    if head[:4] == b"RIFF" and head[8:15] == b"WEBPVP8":
        if head[15:16] == b"X":
            width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        elif head[15:16] == b"L":
            bits = int.from_bytes(head[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        else:
            width, height = (size & 0x3FFF for size in struct.unpack("<HH", head[26:30]))
        return "WebP", height, width, 1
    raise ValueError("no picture")


def _jpeg(file):
    file.seek(2)
    orientation = 1
    while len(mark := file.read(4)) == 4 and mark[0] == 0xFF:
        if mark[1] == 0xFF:  # a fill byte
            file.seek(-3, os.SEEK_CUR)
            continue
        content = file.read(int.from_bytes(mark[2:], "big") - 2)
        if 0xC0 <= mark[1] <= 0xCF and mark[1] not in (0xC4, 0xC8, 0xCC):
            return *struct.unpack(">HH", content[1:5]), orientation
        if mark[1] == 0xE1 and content.startswith(b"Exif\0\0"):
            orientation = _orientation(content[6:])
    raise ValueError("no size in this JPEG")


def _orientation(tiff):
    try:
        order = "<" if tiff.startswith(b"II") else ">"
        start = struct.unpack(order + "I", tiff[4:8])[0] + 2
        for entry in range(start, start + 12 * struct.unpack(order + "H", tiff[start - 2 : start])[0], 12):
            tag, _, _, value = struct.unpack(order + "HHIH", tiff[entry : entry + 10])
            if tag == 0x0112:
                return value
    except struct.error:  # broken EXIF in a good picture
        return 1
    return 1


def recording(file, path):
    """Kind, rate, channels and seconds of an open sound file."""
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return "WAV", *_wav(file)
    named = os.path.splitext(path)[1][1:].upper() or "no name"
    kind = next((kind for magic, kind in _SOUNDS.items() if head.startswith(magic)), named)
    file.seek(0)
    info = soundfile.info(file)
    return kind, info.samplerate, info.channels, info.duration


def _wav(file):
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
