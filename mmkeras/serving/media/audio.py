"""Recordings: samples are sent as WAV, as are files that only the client can read."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mmkeras.checks import is_number
from mmkeras.errors import InputError
from mmkeras.serving.failures import package
from mmkeras.serving.media.base import Media, described

CHANNELS, FASTEST = 32, 10_000_000  # more channels: probably (channels, samples), the wrong order
LOUDEST = 8.0  # slightly above 1 is clipping, far above it another unit


class AudioMedia(Media):
    """Recordings."""

    expected = "a recording: its bytes, a path or (rate, samples)"
    suffixes = (".flac", ".ogg", ".oga", ".mp3")

    def from_file(self, raw: bytes, path: Path) -> bytes:
        """WAV files as they are, all others as WAV."""
        return raw if raw[:4] == b"RIFF" else _as_wav(raw, path)

    def from_value(self, value: Any) -> bytes | None:
        """`(rate, samples)`."""
        return wav(*value) if isinstance(value, tuple) and len(value) == 2 else None


def _as_wav(raw: bytes, path: Path) -> bytes:
    soundfile = package("soundfile", "soundfile", f"reading {str(path)!r}")
    try:
        samples, rate = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise InputError(f"cannot read the recording {str(path)!r}: {error}") from error
    return wav(rate, samples)


def wav(rate: float, samples: Any) -> bytes:
    """A WAV file: 16-bit PCM of int16, else 32-bit float.

    Args:
        rate: samples a second.
        samples: `(samples,)` or `(samples, channels)`, int16, or float in [-1, 1].
    """
    samples = np.asarray(samples)
    number = is_number(rate, 1, most=FASTEST)
    shaped = samples.ndim == 1 or (samples.ndim == 2 and 1 <= samples.shape[1] <= CHANNELS)
    if not number or not shaped:
        raise InputError(
            f"expected a recording as (rate, samples): samples a second from 1 to {FASTEST:,}, and an array (samples,) "
            f"or (samples, channels) of at most {CHANNELS} channels; received ({described(rate)}, {described(samples)})"
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
