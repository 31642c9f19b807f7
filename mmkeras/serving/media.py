"""Pictures, recordings and files of any kind to the bytes that a served model reads."""

import io
import os
import struct
import sys
from pathlib import Path

import numpy as np

from mmkeras.errors import InputError
from mmkeras.serving.failures import package

COMPRESSED = (".flac", ".ogg", ".oga", ".mp3")  # recordings that only the client can read
CHANNELS, FASTEST = 32, 10_000_000  # more channels are (channels, samples), the wrong way round
LOUDEST = 8.0  # a little above 1 is clipping, far above it another unit
_ORIENTATION = 0x0112  # EXIF's number of the tag
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def missing(value):
    """Whether a value stands for nothing: None, NaN, pandas' NA or NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def as_text(value):
    """A text, checked to be one that UTF-8 can hold."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"expected text that UTF-8 can hold, received {value[:40]!r}") from error
    return str(value)


def as_sent(value, kind=None, rotate=False):
    """One picture, recording, video or text as it is sent.

    Args:
        value: see `Client`.
        kind: of the input in the schema ("Image", "Audio", "Text", "Video"), or None: not known.
        rotate: whether a JPEG is turned upright.

    Returns:
        str for a text, else bytes; "" for a missing value.

    Raises:
        InputError: a value of another type, a file that cannot be read, a missing package.
    """
    if missing(value):
        return ""
    if isinstance(value, str) and (kind in (None, "Text") or not value):
        return as_text(value)
    if isinstance(value, str | os.PathLike):
        return _file(Path(value), kind, rotate)
    if isinstance(value, bytes | bytearray | memoryview):
        return _upright(bytes(value)) if rotate else bytes(value)
    if kind in (None, "Image"):
        if isinstance(value, np.ndarray):
            return _picture(value)
        if "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
            return png(value)
    if kind in (None, "Audio") and isinstance(value, tuple) and len(value) == 2:
        return wav(*value)
    raise InputError(f"expected {_EXPECTED[kind]}, received {_shown(value)}")


_FILE = "its bytes, a path"
_WAVE = "(rate, samples)"
_EXPECTED = {
    "Image": f"a picture: {_FILE}, a PIL image or a uint8 array",
    "Audio": f"a recording: {_FILE} or {_WAVE}",
    "Video": f"a video: {_FILE}",
    "Text": "a text",
    None: f"a text, bytes, a pathlib.Path, a PIL image, a uint8 array of a picture or {_WAVE} of a recording",
}


def _shown(value):
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{type(value).__name__} {str(value)[:40]!r}"


def read(path):
    """The bytes of a file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise InputError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from error


def _file(path, kind, rotate):
    raw = read(path)
    if (raw[:4] != b"RIFF") if kind == "Audio" else (kind is None and path.suffix.lower() in COMPRESSED):
        return _as_wav(raw, path)
    if kind == "Video" and raw[:4] not in (b"GIF8", b"RIFF"):
        raise InputError(f"expected a GIF or WebP file, which is what the served model reads, received {str(path)!r}")
    return _upright(raw) if rotate else raw


def _as_wav(raw, path):
    soundfile = package("soundfile", "soundfile", f"reading {str(path)!r}")
    try:
        samples, rate = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise InputError(f"cannot read the recording {str(path)!r}: {error}") from error
    return wav(rate, samples)


def wav(rate, samples):
    """A WAV file: 16-bit PCM of int16, else 32-bit float.

    Args:
        rate: samples a second.
        samples: `(samples,)` or `(samples, channels)`, int16, or float in [-1, 1].
    """
    samples = np.asarray(samples)
    number = isinstance(rate, int | float | np.number) and 1 <= rate <= FASTEST
    shaped = samples.ndim == 1 or (samples.ndim == 2 and 1 <= samples.shape[1] <= CHANNELS)
    if not number or not shaped:
        raise InputError(
            f"expected a recording as (rate, samples): samples a second from 1 to {FASTEST:,}, and an array (samples,) "
            f"or (samples, channels) of at most {CHANNELS} channels; received ({_shown(rate)}, {_shown(samples)})"
        )
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        raise InputError(f"expected samples as float in [-1, 1] or int16, received {samples.dtype}")
    loudest = np.abs(samples).max(initial=0) if samples.dtype.kind == "f" else 0
    if loudest > LOUDEST:
        raise InputError(f"expected samples as float in [-1, 1] or int16, received {samples.dtype} up to {loudest:g}")
    kind, dtype = (1, "<i2") if samples.dtype == np.int16 else (3, "<f4")
    data = samples.astype(dtype).tobytes()
    channels, width = samples[:1].size or 1, np.dtype(dtype).itemsize
    head = struct.pack("<HHIIHH", kind, channels, int(rate), int(rate) * channels * width, channels * width, 8 * width)
    chunks = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def _picture(pixels):
    if pixels.ndim == 1 and pixels.dtype.kind == "f":
        raise InputError(f"expected a waveform as (rate, samples), received {_shown(pixels)} without its rate")
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    fits = flat.ndim == 2 or (flat.ndim == 3 and flat.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or not pixels.size:
        raise InputError(
            "expected a picture as uint8 array (height, width), (height, width, 1), (height, width, 3) or "
            f"(height, width, 4), received {_shown(pixels)}"
        )
    return png(_pillow().fromarray(np.ascontiguousarray(flat)))


def _pillow():
    return package("PIL.Image", "pillow", "a picture that is not sent as it is")


def png(image):
    """A PIL image as PNG, turned as its EXIF orientation says."""
    turned = package("PIL.ImageOps", "pillow", "a picture").exif_transpose
    if image.mode in ("F", "I"):  # Pillow would cut their values off at 255
        raise InputError(f"expected a picture of 8 bits, or of 16 in the mode 'I;16', received the mode {image.mode!r}")
    file = io.BytesIO()
    try:
        image = turned(image)
        (image if image.mode in _PNG_MODES else image.convert("RGB")).save(file, "PNG")
    except (OSError, SyntaxError, ValueError) as error:  # a file cut short, or closed, is read only here
        raise InputError(f"cannot read the picture: {error}") from error
    return file.getvalue()


def _upright(raw):
    """A JPEG that lies on its side as an upright PNG, without another loss; all else as it is."""
    if not raw.startswith(b"\xff\xd8"):
        return raw
    pillow = _pillow()
    try:
        image = pillow.open(io.BytesIO(raw))
        return raw if image.getexif().get(_ORIENTATION, 1) == 1 else png(image)
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError):
        return raw  # the server says what is wrong with this row
