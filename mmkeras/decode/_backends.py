"""Which library reads which format on this machine: the one place that decides."""

import functools
import importlib.util
import warnings
from types import ModuleType

import tensorflow as tf

from mmkeras.errors import InputError

_WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"  # one pixel


def backends() -> dict[str, str | None]:
    """The library that reads each format here: a dict from the format's name to a package, or None for not at all.

    What "tensorflow" reads is read by the served graph too, all others in training only. WebP: TensorFlow 2.16 cannot
    read it; this is tried once. MP4 takes the package av, where it is installed.

    FLAC, OGG and MP3 stay with soundfile even where the native decoders of tensorflow-io load, which is with
    TensorFlow 2.16 alone. Their samples are the same (FLAC exactly, OGG to 3e-7, MP3 to 2e-6, without any shift), but
    they do not tell the rate, take 2 to 5 times the processor time, and break on bad files: FLAC that is cut between
    two frames never returns, OGG whose second stream has fewer channels ends the process.
    """
    return {
        "WAV": "tensorflow",
        **dict.fromkeys(("FLAC", "OGG", "MP3"), "soundfile"),
        **dict.fromkeys(("JPEG", "PNG", "GIF", "BMP"), "tensorflow"),
        "WebP": "tensorflow" if _reads_webp() else None,
        "MP4": "av" if importlib.util.find_spec("av") else None,
        "npy": "numpy",
        "csv": "pandas",
    }


@functools.cache
def _reads_webp():
    with tf.init_scope(), tf.device("CPU"):
        try:
            return tf.io.decode_image(_WEBP).shape[:2] == (1, 1)
        except tf.errors.InvalidArgumentError:
            return False


@functools.cache
def waveform_ops() -> ModuleType:
    """The module `tensorflow_io.audio`, of which only what consists of TensorFlow's own ops may be used.

    Importing it warns twice where its native ops do not fit the installed TensorFlow; none of them is used.

    Raises:
        InputError: tensorflow-io is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_io
    except ImportError as error:
        raise InputError(
            "Audio: trim and fade need the package tensorflow-io, which is made for Python 3.12 at most: expected it "
            f"to be installed, received {error}"
        ) from error
    return tensorflow_io.audio
