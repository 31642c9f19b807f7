"""The facts in the header of a picture, read by Pillow."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, WebPImagePlugin  # the latter: Pillow would look for WebP among all its formats

from mmkeras.decode.files import open_file

FORMATS = ("JPEG", "PNG", "GIF", "BMP", WebPImagePlugin.WebPImageFile.format)
NAMES = {"MPO": "JPEG", "WEBP": "WebP"}  # MPO: a JPEG that holds a second one
ORIENTATION = 0x0112  # the tag of EXIF
_LOCK = threading.Lock()


def picture(path: str) -> tuple[str, int, int, int]:
    """Format, height, width and EXIF orientation (1: upright) of a picture file, of any size.

    Raises one of `mmkeras.records.description.files.BROKEN` for a file that is no picture.
    """
    with open_file(path) as file, opened(file) as image:
        return format_name(image), image.height, image.width, _orientation(image)


@contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """An open file as a Pillow image of any size: no pixel of it is read.

    Pillow refuses large pictures by a limit for the whole process; it is lifted while a header is read.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield Image.open(file, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = most


def format_name(image: Image.Image) -> str:
    """An open picture's format, as people write it."""
    return NAMES.get(image.format or "", image.format or "")


def _orientation(image):
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        found = exif.get(ORIENTATION)
    except Exception:  # broken EXIF in a good picture
        return 1
    return found if isinstance(found, int) else 1
