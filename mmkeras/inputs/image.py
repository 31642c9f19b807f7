"""Pictures."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.inputs.base import Input, check_columns, check_picture, check_positive


@checked_keywords
@dataclass(frozen=True)
class Image(Input):
    """A picture from a JPEG, PNG, GIF, BMP or WebP file, brought to one size.

    The model receives `(batch, height, width, channels)`, uint8, 0 to 255.

    Args:
        height, width: size in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        fit: how a picture of another shape becomes that size: "stretch"; "crop" (scaled until it covers the size, the
            middle kept); "pad" (scaled until it fits into the size, in the middle of black).
        upright: whether a photo is turned as its EXIF orientation says; False: the pixels as they are stored.
        background: what is seen through transparent places: red, green and blue, 0 to 255 each, or one number for all.
        bits: how many bits of a sample of 16 hold the picture, from 9 to 16: value / 2 ** (bits - 8) is then what the
            model receives. 8: a file of 16 bits a sample is refused. Files of 8 bits are the same with any.
        max_pixels: a file with more is refused before it is decoded, however small it is (a decompression bomb).
        shared: many rows name one picture: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
        columns: instead, the columns that name several files of one thing, any of which may be missing: the model
            receives `(batch, columns, ...)`, and `<name>_there` `(batch, columns)` bool. One tower reads them all.
    """

    height: int
    width: int
    channels: int = 3
    _: KW_ONLY
    fit: str = "stretch"
    upright: bool = True
    background: int | Sequence[int] = 255
    bits: int = 8
    max_pixels: int = 100_000_000
    shared: bool = False
    optional: bool = False
    column: str | None = None
    columns: Sequence[str] | None = None
    dtype = "uint8"
    wire = "bytes"
    files = True

    def __post_init__(self):
        check_picture(self)
        check_positive(self, int, "bits")
        if not 8 <= self.bits <= 16:
            raise InputError(f"Image: expected bits to be from 8 to 16, received {self.bits}")
        check_columns(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)
