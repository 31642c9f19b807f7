"""Photos that EXIF turns, transparent places, and files of 16 bits: as Pillow reads them, or as worked out by hand."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from mmkeras import decode
from mmkeras.decode.image import decode_image
from mmkeras.errors import InputError
from mmkeras.schema import Image, Schema, Video

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
SMOOTH = np.dstack([np.add.outer(np.arange(5) * 20, np.arange(7) * 10).astype(np.uint8)] * 3)
ALPHA = np.dstack([RGB, RANDOM.integers(0, 256, (5, 7), dtype=np.uint8)])
DEEP = RANDOM.integers(0, 65536, (5, 7)).astype(np.uint16)
DEEP[0, :2] = 0, 65535
SEEN = Image(5, 7, 3)


def written(image, kind, **options):
    image = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(number, endian="<"):
    tags = PIL.Image.Exif()
    tags[0x010E], tags[0x0112] = "before", number
    tags.endian = endian
    return tags.tobytes()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def opened(raw):
    return PIL.Image.open(io.BytesIO(raw))


PHOTOS = {
    "jpeg": lambda tags: written(SMOOTH, "JPEG", quality=95, exif=tags),
    "jpeg with a colour profile": lambda tags: written(
        SMOOTH, "JPEG", quality=95, exif=tags, icc_profile=b"a" * 70_000
    ),
    "png": lambda tags: written(RGB, "PNG", exif=tags),
    "png, behind its pixels": lambda tags: written(RGB, "PNG")[:-12] + chunk(b"eXIf", tags[6:]) + chunk(b"IEND", b""),
    "webp": lambda tags: written(RGB, "WEBP", lossless=True, exif=tags),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_all_orientations(name):
    raw = [PHOTOS[name](exif(number, endian)) for endian in "<>" for number in range(1, 9)]
    off = 8 if "jpeg" in name else 0  # decoders of JPEG differ, by less than the steps of the picture
    for upright, shapes in ((True, (Image(5, 7, 3), Image(7, 5, 3))), (False, (Image(5, 7, 3, upright=False),))):
        for feature in shapes:
            values, status, _ = decode.decoder(feature)(tf.constant(raw))
            assert not status.numpy().any()
            for one, value in zip(raw, values.numpy(), strict=True):
                wanted = PIL.ImageOps.exif_transpose(opened(one)) if upright else opened(one)
                if wanted.size == (feature.width, feature.height):
                    np.testing.assert_allclose(value.astype(int), np.asarray(wanted.convert("RGB")), rtol=0, atol=off)


@pytest.mark.parametrize(
    "tags", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\1"]
)
def test_broken_exif_turns_nothing(tags):
    raw = written(SMOOTH, "JPEG", quality=95)
    raw = raw[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(tags)) + tags + raw[2:]
    np.testing.assert_array_equal(decode_image(tf.constant(raw), SEEN), decode_image(tf.constant(raw), Image(5, 7)))
    assert int(decode.decoder(SEEN)(tf.constant([raw])).status[0]) == decode.OK


def on(ground, raw):
    image = opened(raw).convert("RGBA")
    return np.asarray(
        PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, (*ground, 255)), image).convert("RGB")
    )


PALETTE = PIL.Image.fromarray(RGB).quantize(16)
GREY = PIL.Image.fromarray(RGB).convert("L")
CLEAR = {
    "png": written(ALPHA, "PNG"),
    "png grey": written(PIL.Image.fromarray(ALPHA).convert("LA"), "PNG"),
    "png palette": written(PALETTE, "PNG", transparency=bytes([0, 100, 200])),
    "png, one colour": written(RGB, "PNG", transparency=tuple(map(int, RGB[2, 3]))),
    "png, one grey": written(GREY, "PNG", transparency=GREY.getpixel((3, 2))),
    "png of 1 bit": written(GREY.convert("1"), "PNG", transparency=0),
    "webp": written(ALPHA, "WEBP", lossless=True, exact=True),
    "gif": written(PALETTE, "GIF", transparency=3),
    "gif without": written(PALETTE, "GIF"),
}


@pytest.mark.parametrize("ground", [(255, 255, 255), (10, 200, 30)])
def test_transparent_places_show_the_ground(ground):
    raw, wanted = list(CLEAR.values()), [on(ground, one) for one in CLEAR.values()]
    values, status, _ = decode.decoder(Image(5, 7, 3, background=ground))(tf.constant(raw))
    assert not status.numpy().any()
    np.testing.assert_array_equal(values, wanted)
    values, _, _ = decode.decoder(Image(5, 7, 1, background=ground))(tf.constant(raw))
    np.testing.assert_allclose(values[..., 0], np.array(wanted) @ [0.299, 0.587, 0.114], rtol=0, atol=1.5)


def test_frames_of_videos_show_the_ground():
    clear, drawn = np.zeros((5, 7), np.uint8), np.zeros((5, 7), np.uint8)
    drawn[1, 2] = 1
    frames = []
    for pixels in (clear, drawn):
        frames.append(PIL.Image.fromarray(pixels).convert("P"))
        frames[-1].putpalette([0, 0, 0, 200, 10, 10])
    raw = written(frames[0], "GIF", save_all=True, append_images=frames[1:], transparency=0, optimize=False)
    values, status, length = decode.decoder(Video(2, 5, 7, background=90))(tf.constant([raw]))
    assert (int(status[0]), int(length[0])) == (decode.OK, 2)
    wanted = np.full((2, 5, 7, 3), 90, np.uint8)
    wanted[1, 1, 2] = 200, 10, 10
    np.testing.assert_array_equal(values[0], wanted)
    with_alpha = [PIL.Image.fromarray(np.roll(ALPHA, shift, axis=0)) for shift in range(2)]
    raw = written(with_alpha[0], "WEBP", save_all=True, append_images=with_alpha[1:], lossless=True, exact=True)
    values = decode.decoder(Video(2, 5, 7, background=90))(tf.constant([raw])).values
    np.testing.assert_array_equal(values[0, 0], on((90, 90, 90), written(ALPHA, "WEBP", lossless=True, exact=True)))


def test_the_rotation_of_an_mp4(tmp_path):
    av = pytest.importorskip("av")
    left = np.zeros((32, 64, 3), np.uint8)
    left[:, :32] = 255
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.height, stream.width, stream.pix_fmt = *left.shape[:2], "yuv420p"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(left, format="rgb24")), *stream.encode()]:
            film.mux(packet)
    raw = (tmp_path / "film.mp4").read_bytes()
    matrix = raw.index(b"tkhd") + 44
    turned = raw[:matrix] + struct.pack(">9i", 0, 2**16, 0, -(2**16), 0, 0, 0, 0, 2**30) + raw[matrix + 36 :]
    (tmp_path / "film.mp4").write_bytes(turned)  # shown turned by 90 degrees clockwise: the left is above
    paths = tf.constant([str(tmp_path / "film.mp4")])
    for upright in (True, False):
        pixels = decode.decoder(Video(1, 64, 64, 1, upright=upright), files=True)(paths).values[0, 0, ..., 0].numpy()
        bright = pixels[:32].mean() if upright else pixels[:, :32].mean()
        assert bright > 240
        assert pixels.mean() < 140


def test_the_fourth_byte_of_a_bmp_is_no_alpha():
    raw = written(np.dstack([RGB, np.zeros((5, 7), np.uint8)]), "BMP")
    np.testing.assert_array_equal(decode_image(tf.constant(raw), SEEN), RGB)


def test_16_bits_are_refused_or_scaled_by_the_rule():
    deep, twelve = written(DEEP, "PNG"), written(DEEP >> 4, "PNG")
    colours = png_16(np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]]))
    for bits, statuses in ((8, [1, 1, 1, 0]), (12, [1, 0, 1, 0]), (16, [0, 0, 0, 0])):
        feature = Image(5, 7, 3, bits=bits)
        values, status, _ = decode.decoder(feature)(tf.constant([deep, twelve, colours, written(RGB, "PNG")]))
        assert status.numpy().tolist() == statuses
        np.testing.assert_array_equal(values[3], RGB)
    np.testing.assert_array_equal(values[0, ..., 0], DEEP >> 8)
    np.testing.assert_array_equal(values[2, ..., 1], DEEP[::-1] >> 8)
    values = decode.decoder(Image(5, 7, 1, bits=12))(tf.constant([twelve])).values
    np.testing.assert_array_equal(values[0, ..., 0], DEEP >> 8)


def png_16(pixels):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_reasons(tmp_path):
    codec = decode.codec_of(Image)
    for raw, feature, message in [
        (
            written(DEEP, "PNG"),
            SEEN,
            r"expected 8 bits a sample, found 16: say how many are used, as Image\(..., bits=12",
        ),
        (written(DEEP, "PNG"), Image(5, 7, bits=12), "samples of at most bits=12 bits"),
        (written(RGB, "TIFF"), SEEN, "found a TIFF file"),
    ]:
        (tmp_path / "picture").write_bytes(raw)
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(codec.reason(feature, str(tmp_path / "picture")))


def test_options():
    assert Image(5, 7, background=9).background == Image(5, 7, background=[9, 9, 9]).background == (9, 9, 9)
    schema = Schema({"image": Image(5, 7, upright=False, background=[1, 2, 3], bits=12)}, {})
    assert Schema.from_json(schema.to_json()) == schema
    old = schema.to_json().replace('"upright": false', '"optional": false')
    assert Schema.from_json(old).inputs["image"].upright
    for options in ({"background": 256}, {"background": (1, 2)}, {"background": "white"}, {"bits": 7}, {"upright": 1}):
        with pytest.raises(InputError, match=f"expected {next(iter(options))} to be"):
            Image(5, 7, **options)
