"""Small files of random content."""

import wave
from pathlib import Path

import numpy as np
import tensorflow as tf


def write_picture(path: Path, random: np.random.Generator, side: int = 16) -> None:
    """A grey PNG."""
    path.write_bytes(tf.io.encode_png(random.integers(0, 256, (side, side, 1), np.uint8)).numpy())


def write_recording(path: Path, random: np.random.Generator, samples: int) -> None:
    """A WAV of 16 bits at 8 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(random.integers(-9999, 9999, samples, np.int16).tobytes())
