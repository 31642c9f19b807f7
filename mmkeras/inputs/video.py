"""Short videos."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from mmkeras.checks import checked_keywords
from mmkeras.inputs.base import Input, check_columns, check_picture, check_positive


@checked_keywords
@dataclass(frozen=True)
class Video(Input):
    """A short video from a GIF, an animated WebP, a folder of pictures, a .npy file or (with PyAV) an MP4 file.

    The model receives `(batch, frames, height, width, channels)`, uint8, and `<name>_length` `(batch,)` int32: how many
    frames there are; zeros follow them. From a longer video, this many frames are taken at even distances.

    Args:
        frames: most frames kept.
        height, width: size of a frame in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        fit: how frames of another shape become that size, as in `Image`.
        upright: whether frames are turned as the file says: by EXIF orientation, and by the rotation of an MP4.
        background: what is seen through transparent places, as in `Image`.
        max_pixels: a file with more in all its frames together is refused before it is decoded.
        shared: many rows name one video: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file or folder; None: the input's own name.
        columns: instead, the columns that name several files of one thing, any of which may be missing: the model
            receives `(batch, columns, ...)`, and `<name>_there` `(batch, columns)` bool. One tower reads them all.
    """

    frames: int
    height: int
    width: int
    channels: int = 3
    _: KW_ONLY
    fit: str = "stretch"
    upright: bool = True
    background: int | Sequence[int] = 255
    max_pixels: int = 300_000_000
    shared: bool = False
    optional: bool = False
    column: str | None = None
    columns: Sequence[str] | None = None
    dtype = "uint8"
    wire = "bytes"
    files = True
    padded = True

    def __post_init__(self):
        check_positive(self, int, "frames")
        check_picture(self)
        check_columns(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """`(frames, height, width, channels)`."""
        return (self.frames, self.height, self.width, self.channels)
