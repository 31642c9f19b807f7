"""Pictures."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from mmkeras.checks import checked_keywords
from mmkeras.inputs.base import Input, check_columns, check_picture


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
        check_columns(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)
