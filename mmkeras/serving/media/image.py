"""Pictures: PIL images and arrays of pixels are sent as PNG."""

import io
import sys
from types import ModuleType
from typing import Any

import numpy as np

from mmkeras.errors import InputError
from mmkeras.serving.failures import package
from mmkeras.serving.media.base import Media, described

_ORIENTATION = 0x0112  # EXIF's number of the tag
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class ImageMedia(Media):
    """Pictures."""

    expected = "a picture: its bytes, a path, a PIL image or a uint8 array"

    def from_value(self, value: Any) -> bytes | None:
        """PIL images, and uint8 arrays `(height, width)` or `(height, width, 1 | 3 | 4)`."""
        if isinstance(value, np.ndarray):
            return _picture(value)
        if "PIL.Image" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
            return png(value)
        return None


def _picture(pixels: np.ndarray) -> bytes:
    if pixels.ndim == 1 and pixels.dtype.kind == "f":
        raise InputError(f"expected a waveform as (rate, samples), received {described(pixels)} without its rate")
    flat = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    fits = flat.ndim == 2 or (flat.ndim == 3 and flat.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or not pixels.size:
        raise InputError(
            "expected a picture as uint8 array (height, width), (height, width, 1), (height, width, 3) or "
            f"(height, width, 4), received {described(pixels)}"
        )
    return png(_pillow().fromarray(np.ascontiguousarray(flat)))


def _pillow() -> ModuleType:
    return package("PIL.Image", "pillow", "a picture that is not sent as it is")


def png(image: Any) -> bytes:
    """A PIL image as PNG, with its EXIF orientation: the served model turns it, as its schema says."""
    if image.mode in ("F", "I"):  # Pillow would clip their values at 255
        raise InputError(f"expected a picture of 8 bits, or of 16 in the mode 'I;16', received the mode {image.mode!r}")
    file = io.BytesIO()
    try:
        found = image.getexif().get(_ORIENTATION, 1)
        exif = _pillow().Exif()
        exif[_ORIENTATION] = found
        turned = {"exif": exif.tobytes()} if found in range(2, 9) else {}
        _writable(image).save(file, "PNG", **turned)
    except (OSError, SyntaxError, ValueError) as error:  # a file cut short, or closed, is read only here
        raise InputError(f"cannot read the picture: {error}") from error
    return file.getvalue()


def _writable(image: Any) -> Any:
    """The PIL image in a mode that PNG has, with its alpha or its 16 bits."""
    if image.mode in _PNG_MODES:
        return image
    if image.mode.startswith("I;16"):
        return _pillow().fromarray(np.asarray(image).astype(np.uint16))
    return image.convert("RGBA" if "A" in image.mode or image.mode in ("La", "RGBa") else "RGB")


def upright(raw: bytes) -> bytes:
    """A rotated JPEG as an upright PNG, without a further loss; everything else unchanged."""
    if not raw.startswith(b"\xff\xd8"):
        return raw
    pillow = _pillow()
    try:
        image = pillow.open(io.BytesIO(raw))
        turned = package("PIL.ImageOps", "pillow", "a picture").exif_transpose
        return raw if image.getexif().get(_ORIENTATION, 1) == 1 else png(turned(image))
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError):
        return raw  # the server reports the error of this row
