"""The codec of pictures."""

import numpy as np
import tensorflow as tf

from mmkeras.decode.image import announced_size, announces_more, decode_image, many_parts
from mmkeras.decode.pixels import sixteen_bits
from mmkeras.decode.rows import FileCodec
from mmkeras.decode.table import register
from mmkeras.inputs import Image, Video


@register(Image)
class ImageCodec(FileCodec):
    """Files of the same formats in training and served."""

    format = "a picture (JPEG, PNG, GIF, BMP, WebP without animation)"
    begins = (b"\xff\xd8", b"\x89P", b"GI", b"BM", b"RI")

    def decode_bytes(self, feature: Image, raw: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """One picture, brought to size."""
        return (decode_image(raw, feature),)

    def exceeds(self, feature: Image, raw: tf.Tensor) -> tf.Tensor:
        """Whether it has more than `max_pixels`, or parts that take as much work."""
        return announces_more(raw, feature.max_pixels)

    def why(self, feature: Image, path: str) -> str:
        """That it has more pixels or bits than allowed, or parts, or what was expected."""
        raw = tf.io.read_file(path)
        if many := many_parts(raw.numpy()):
            return many
        height, width = announced_size(raw)
        if height * width > feature.max_pixels:
            return f"expected at most max_pixels={feature.max_pixels:,}, found {height * width:,} ({height} x {width})"
        if sixteen_bits(raw):
            if feature.bits == 8:
                return "expected 8 bits a sample, found 16: say how many are used, as Image(..., bits=12) or bits=16"
            return (
                f"expected a PNG with samples of at most bits={feature.bits} bits, found larger ones or a broken file"
            )
        if raw.numpy().startswith((b"II*\0", b"MM\0*")):
            return f"expected {self.format}, found a TIFF file"
        return super().why(feature, path)

    def made_up(self, feature: Image) -> bytes:
        """A PNG of random colours."""
        pixels = np.random.default_rng(0).integers(0, 256, feature.shape, np.uint8)
        with tf.init_scope():  # a value, within a graph too
            return tf.io.encode_png(pixels).numpy()

    def card(self, feature: Image) -> str:
        """Formats and size."""
        size = f"{feature.height} x {feature.width}, {colours(feature)}"
        turned = ", upright by EXIF" if feature.upright else ""
        return f"a JPEG, PNG, GIF, BMP or WebP file; becomes {size} ({feature.fit}{turned})"

    def limits(self, feature: Image) -> list[str]:
        """The most pixels."""
        bits = (
            "files of 16 bits a sample are refused" if feature.bits == 8 else f"samples have {feature.bits} bits of 16"
        )
        return [
            f"more than {feature.max_pixels:,} pixels are refused; {bits}; transparent places are {feature.background}."
        ]


def colours(feature: Image | Video) -> str:
    """Its channels in words."""
    return "grey" if feature.channels == 1 else "colours"
