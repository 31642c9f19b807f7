"""What the headers of files tell, without decoding them: of pictures, recordings, series and videos."""

import itertools
import math
import os
import struct

import numpy as np
import soundfile
import tensorflow as tf

from mmkeras.decode.files import open_file

PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
BROKEN = (OSError, ValueError, LookupError, struct.error, ZeroDivisionError, RuntimeError)  # the last: soundfile's
UNREAD = "unread (needs mmkeras[video])"
_SOUNDS = {b"fLaC": "FLAC", b"OggS": "OGG", b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"FORM": "AIFF"}


def picture(path):
    """Format, height, width and EXIF orientation of a picture file. Raises ValueError or struct.error."""
    with open_file(path) as file:
        return _picture(file)


def _picture(file):
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


def recording(path):
    """Kind, rate, channels and seconds of a sound file."""
    with open_file(path) as file:
        return _recording(file, path)


def _recording(file, path):
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return "WAV", *_wav(file)
    kind = next((kind for magic, kind in _SOUNDS.items() if head.startswith(magic)), _named(path))
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


def _named(path):
    return os.path.splitext(path)[1][1:].upper() or "no name"


def series(path):
    """Kind, steps and channels of a .npy or CSV file."""
    with open_file(path) as file:
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            shape = _array(file)
            if len(shape) > 2:
                raise ValueError("expected (steps,) or (steps, channels)")
            return "NPY", *(*shape, 1)[:2]
        return "CSV", *_rows(file)


def _array(file):
    """The shape of an open .npy file of numbers that is as long as its header says."""
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    start = file.tell()
    if kind.kind not in "biuf" or not shape or start + kind.itemsize * math.prod(shape) > file.seek(0, os.SEEK_END):
        raise ValueError("no numbers, or fewer than the header says")
    return shape


def _rows(file):
    """Number of rows below a header, if there is one, and of columns in an open CSV file."""
    file.seek(0)
    lines = (line for line in file if not line.isspace())
    first = [_cells(line) for line in itertools.islice(lines, 2)]
    good = [cells for cells in first if None not in cells]
    if not good or (len(first) == 2 and first[1] not in good):
        raise ValueError("no numbers")
    return len(good) + sum(1 for _ in lines), len(good[0])


def _cells(line):
    """The numbers in a line of a CSV file, of which None is none."""
    text = line.decode("utf-8-sig").strip()
    delimiter = next((mark for mark in ",;\t" if mark in text), None)
    return [_number(cell) for cell in text.split(delimiter)]


def _number(cell):
    try:
        return float(cell) if cell.strip() else np.nan
    except ValueError:
        return None


def video(path):
    """Kind, frames, height and width of a video file or a folder of pictures."""
    names = _inside(path)
    if names is not None:
        pictures = sorted(name for name in names if name.lower().endswith(PICTURES) and not name.startswith("."))
        return "folder", len(pictures), *picture(f"{path.rstrip('/')}/{pictures[0]}")[1:3]
    with open_file(path) as file:
        head = file.read(32)
        if head.startswith(np.lib.format.MAGIC_PREFIX):
            frames, height, width, *channels = _array(file)
            if len(channels) > 1:
                raise ValueError("expected (frames, height, width, channels)")
            return "NPY", frames, height, width
        file.seek(0)
        if head.startswith(b"GIF"):
            return "GIF", _gif_frames(file.read()), *struct.unpack("<HH", head[6:10])[::-1]
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            _, height, width, _ = _picture(file)
            return "WebP", _webp_frames(file), height, width
        return _other_video(file, path)


def _inside(path):
    """The names in a folder, or None for a file."""
    if "://" not in path:
        return os.listdir(path) if os.path.isdir(path) else None
    try:
        return tf.io.gfile.listdir(path) if tf.io.gfile.isdir(path) else None
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def _gif_frames(content):
    frames, at = 0, 13 + _palette(content[10])
    while at < len(content) and content[at] != 0x3B:  # the end
        if content[at] == 0x2C:  # a frame
            frames, at = frames + 1, at + 11 + _palette(content[at + 9])
        elif content[at] == 0x21:  # an extension
            at += 2
        else:
            raise ValueError("no block of a GIF")
        while content[at]:  # parts of the block, each behind its size
            at += 1 + content[at]
        at += 1
    if not frames:
        raise ValueError("no frame in this GIF")
    return frames


def _palette(flags):
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp_frames(file):
    end, position, frames = file.seek(0, os.SEEK_END), 12, 0
    while position + 8 <= end:
        file.seek(position)
        name, size = struct.unpack("<4sI", file.read(8))
        position += 8 + size + size % 2
        if position > end + 1:
            raise ValueError("this WebP ends too early")
        frames += name == b"ANMF"
    return frames or 1


def _other_video(file, path):
    try:
        import av
    except ImportError:
        return UNREAD, np.nan, np.nan, np.nan
    try:
        with av.open(file) as container:
            stream = container.streams.video[0]
            frames = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
            return _named(path), frames, stream.codec_context.height, stream.codec_context.width
    except av.FFmpegError as error:
        raise ValueError("no video") from error
