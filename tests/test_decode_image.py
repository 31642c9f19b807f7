import functools
import io
import resource
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from mmkeras import decode
from mmkeras.decode.image import bring_to_size, decode_image
from mmkeras.schema import Image

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
GREY = RGB[..., 0]
SMOOTH = np.add.outer(np.arange(4) * 20, np.arange(6) * 20).astype(np.uint8)  # what JPEG keeps
FLAT = np.stack([np.full((4, 6), level, np.uint8) for level in (200, 90, 0)])
SEEN = Image(4, 6, 3)
WAV = b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x10\0\0\0" + bytes(16)


def picture(pixels, kind, palette=False, **options):
    """The bytes of a picture file; several pictures make an animation."""
    frames = [PIL.Image.fromarray(frame) for frame in (pixels if isinstance(pixels, list) else [pixels])]
    if palette:
        frames = [frame.quantize(32) for frame in frames]  # the 24 pixels keep their own colours
    if len(frames) > 1:
        options = {**options, "save_all": True, "append_images": frames[1:]}
    file = io.BytesIO()
    frames[0].save(file, kind, **options)
    return file.getvalue()


@functools.cache
def compiled(feature):
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(decode.decoder(feature), input_signature=signature, autograph=False)


def eagerly(feature, raw):
    return decode.decoder(feature)(tf.constant(raw, tf.string))[:2]


def in_function(feature, raw):
    return compiled(feature)(tf.constant(raw, tf.string))[:2]


def in_data(feature, raw):
    data = tf.data.Dataset.from_tensors(tf.constant(raw, tf.string)).map(decode.decoder(feature))
    return data.get_single_element()[:2]


def one_by_one(feature, raw):
    """Without `decoder`, in Python's own time."""
    return tf.stack([decode_image(tf.constant(one), feature) for one in raw]), tf.zeros(len(raw), tf.int32)


everywhere = pytest.mark.parametrize("run", [eagerly, in_function, in_data])


def alone(feature, raw):
    """The decoded value and the status of one raw value."""
    values, status = in_function(feature, [raw])
    assert values.shape == (1, *feature.shape)
    assert values.dtype == feature.dtype
    return values[0].numpy(), int(status[0])


with_alpha = np.dstack([RGB, GREY // 2])
ON_WHITE = (RGB * (GREY[..., None] // 2 / 255) + 255 - GREY[..., None] // 2 + 0.5).astype(np.uint8)
GREY_ON_WHITE = (GREY * (GREY // 2 / 255) + 255 - GREY // 2 + 0.5).astype(np.uint8)
FILES = {  # bytes, the pixels, how far off a lossy format may be
    "png": (picture(RGB, "PNG"), RGB, 0),
    "png grey": (picture(GREY, "PNG"), GREY, 0),
    "png grey, alpha": (picture(np.dstack([GREY, GREY // 2]), "PNG"), GREY_ON_WHITE, 0),
    "png alpha": (picture(with_alpha, "PNG"), ON_WHITE, 0),
    "png palette": (picture(RGB, "PNG", palette=True), RGB, 0),
    "png 1 bit": (picture(GREY > 127, "PNG"), np.where(GREY > 127, 255, 0).astype(np.uint8), 0),
    "jpeg": (picture(np.dstack([SMOOTH] * 3), "JPEG", quality=95), SMOOTH, 8),
    "jpeg grey": (picture(SMOOTH, "JPEG", quality=95), SMOOTH, 8),
    "gif": (picture(RGB, "GIF", palette=True), RGB, 0),
    "gif animated": (picture(list(FLAT), "GIF"), FLAT[0], 0),
    "bmp": (picture(RGB, "BMP"), RGB, 0),
    "bmp grey": (picture(GREY, "BMP"), GREY, 0),
    "bmp alpha": (picture(with_alpha, "BMP"), RGB, 0),
    "bmp palette": (picture(RGB, "BMP", palette=True), RGB, 0),
    "webp": (picture(RGB, "WEBP", lossless=True), RGB, 0),
    "webp alpha": (picture(with_alpha, "WEBP", lossless=True, exact=True), ON_WHITE, 0),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_picture_formats(name, channels):
    raw, pixels, off = FILES[name]
    found, status = alone(Image(4, 6, channels), raw)
    assert status == decode.OK
    if pixels.ndim == 2:
        wanted = np.repeat(pixels[..., None], channels, axis=-1)
    elif channels == 3:
        wanted = pixels
    else:  # the luma of ITU-R BT.601
        wanted, off = (pixels @ [0.299, 0.587, 0.114])[..., None], 1
    np.testing.assert_allclose(found.astype(float), wanted, rtol=0, atol=off)


def test_animated_webp_does_no_harm():
    """It may be refused or give the first frame, but must not write beyond its buffer: so in another process."""
    raw = picture([np.full((64, 64, 3), level, np.uint8) for level in (200, 90, 0)], "WEBP", lossless=True)
    code = (
        "import sys, tensorflow as tf; from mmkeras import decode; from mmkeras.schema import Image\n"
        "decoder, raw = decode.decoder(Image(64, 64, 3)), tf.constant([sys.stdin.buffer.read()] * 20)\n"
        "values, status, _ = decoder(raw)\n"
        "print(bool(tf.reduce_all((status == decode.UNREADABLE) | tf.reduce_all(values == 200, axis=[1, 2, 3]))))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=raw, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().strip()) == (0, "True"), done.stderr.decode()[-300:]


@everywhere
def test_a_picture_of_another_size_is_stretched(run):
    steps = np.repeat(np.array([0, 100, 200], np.uint8), 40).reshape(3, 40)
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found, status = run(Image(9, 5, 3), [picture(steps, "PNG"), picture(board, "PNG")])
    assert status.numpy().tolist() == [decode.OK, decode.OK]
    assert found[0, :, 2, 1].numpy().tolist() == [0, 0, 33, 67, 100, 133, 167, 200, 200]  # linear between the centres
    assert np.ptp(found[0], axis=(1, 2)).tolist() == [0] * 9
    np.testing.assert_allclose(found[1], 128, atol=8)  # averaged, not picked


CUT = [FILES[name][0][:40] for name in ("png", "jpeg", "gif", "bmp", "webp")]


@pytest.mark.parametrize("raw", [b"", b"junk", *CUT, picture(RGB, "TIFF"), WAV])
def test_bytes_that_are_no_picture(raw):
    found, status = alone(SEEN, raw)
    assert status == decode.UNREADABLE
    assert not found.any()
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(raw), SEEN)


# Two colours beside or above each other, and what becomes of them, worked out by hand.
SIDES = np.repeat(np.array([[10, 250]], np.uint8), 4, axis=1).repeat(4, axis=0)  # (4, 8): 4 columns of 10, 4 of 250
THIRDS = np.repeat(np.array([[10, 250, 90]], np.uint8), 3, axis=1).repeat(3, axis=0)  # (3, 9)
FITTED = [  # pixels, size, fit, wanted along the longer side, and 0 around it
    (SIDES, (2, 4), "stretch", [[10, 40, 220, 250]] * 2),
    (SIDES, (4, 4), "crop", [[10, 10, 250, 250]] * 4),
    (SIDES, (4, 5), "crop", [[10, 10, 10, 250, 250]] * 4),
    (SIDES, (4, 8), "crop", SIDES),
    (THIRDS, (3, 3), "crop", [[250] * 3] * 3),
    (THIRDS, (3, 4), "crop", [[10] + [250] * 3] * 3),
    (SIDES, (8, 8), "pad", [[0] * 8] * 2 + [[10] * 4 + [250] * 4] * 4 + [[0] * 8] * 2),
    (THIRDS, (6, 9), "pad", [[0] * 9] + THIRDS.tolist() + [[0] * 9] * 2),
    (THIRDS, (3, 12), "pad", [[0] + row + [0] * 2 for row in THIRDS.tolist()]),
    (np.full((1, 100), 7, np.uint8), (4, 4), "pad", [[0] * 4, [7] * 4, [0] * 4, [0] * 4]),
    (np.full((1, 100), 7, np.uint8), (4, 4), "crop", [[7] * 4] * 4),
]


@pytest.mark.parametrize("run", [eagerly, in_function, in_data, one_by_one])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("case", FITTED)
def test_fits(case, turned, run):
    pixels, (height, width), fit, wanted = case
    pixels, wanted = np.array(pixels), np.array(wanted)
    if turned:
        pixels, wanted, height, width = pixels.T, wanted.T, width, height
    values, status = run(Image(height, width, 1, fit=fit), [picture(np.ascontiguousarray(pixels), "PNG")] * 2)
    assert status.numpy().tolist() == [decode.OK] * 2
    for value in values:
        assert value[..., 0].numpy().tolist() == wanted.tolist()


def test_a_picture_of_the_size_is_not_touched():
    for fit in ("stretch", "crop", "pad"):
        assert np.array_equal(alone(Image(4, 6, 3, fit=fit), picture(RGB, "PNG"))[0], RGB)


def test_an_extreme_shape_is_fitted_without_the_pixels_that_are_cut_off():
    raw = picture(np.full((1, 20_000), 7, np.uint8), "PNG")  # covering would make 512 x 10,240,000 of it
    assert (alone(Image(512, 512, 1, fit="crop"), raw)[0] == 7).all()
    assert alone(Image(512, 512, 1, fit="pad"), raw)[0].sum() == 7 * 512


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("found", [1, 2, 3, 4])
def test_a_stack_is_brought_to_size_as_each_of_it(fit, channels, found):
    frames = RANDOM.integers(0, 256, (3, 7, 5, found), dtype=np.uint8)
    feature = Image(4, 9, channels, fit=fit)
    stack = bring_to_size(tf.constant(frames), feature)
    assert stack.shape == (3, 4, 9, channels)
    np.testing.assert_array_equal(stack, [bring_to_size(tf.constant(frame), feature) for frame in frames])
    signature = [tf.TensorSpec([None, None, None, None], tf.uint8)]
    compiled = tf.function(lambda x: bring_to_size(x, feature), signature, autograph=False)
    np.testing.assert_array_equal(stack, compiled(frames))


def png(height, width, depth):
    """A grey PNG of zeros, without the pixels ever being there."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, row = zlib.compressobj(9), bytes(1 + (width * depth + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def put(raw, at, *numbers, order="<", kind="H"):
    """The bytes with numbers written over those at one place."""
    new = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
    return raw[:at] + new + raw[at + len(new) :]


GIF = picture(RGB, "GIF", palette=True)
GIF_FRAME = 13 + 3 * 2 ** (GIF[10] % 8 + 1)
JPEG, PROGRESSIVE = (picture(np.dstack([SMOOTH] * 3), "JPEG", progressive=more) for more in (False, True))
GREY_JPEG = picture(SMOOTH, "JPEG")
JPEG_SIZE, GREY_JPEG_SIZE = 163, 94
EXIF = PIL.Image.Exif()
EXIF[0x010E] = "a picture of \xff\xc0\x00\x11\x08\x00\x01\x00\x01 " * 20
WEBP, LOSSY_WEBP = picture(RGB, "WEBP", lossless=True), picture(RGB, "WEBP")
ALPHA_WEBP = picture(with_alpha, "WEBP")
HUGE_JPEG = put(JPEG, JPEG_SIZE, 60_000, 60_000, order=">")
NOTE = b"\xff\xfe\0\x0c\xff\xc0\0\x11\x08\0\1\0\1\3"  # what looks like a size is in a comment
BETWEEN = {"fill bytes": b"\xff" * 7, "bytes": b"\0\1\xff\0\2", "marks alone": b"\xff\x01\xff\xd3", "a note": NOTE}
BOMBS = {
    "png": png(20_000, 20_000, 1),
    "png grey": png(20_000, 20_000, 8),
    "png just above": png(10_000, 10_001, 1),
    "png long": put(png(4, 4, 8), 16, 2**31, 2**31, order=">", kind="I"),
    "png longest": put(png(4, 4, 8), 16, 2**32 - 1, 2**32 - 1, order=">", kind="I"),
    "png that does not begin with its size": put(png(20_000, 20_000, 1), 12, *b"abCd", kind="B"),
    "jpeg": HUGE_JPEG,
    "jpeg grey": put(GREY_JPEG, GREY_JPEG_SIZE, 20_000, 20_000, order=">"),
    "jpeg progressive": put(PROGRESSIVE, JPEG_SIZE, 60_000, 60_000, order=">"),
    **{f"jpeg with {name} between": HUGE_JPEG[:20] + more + HUGE_JPEG[20:] for name, more in BETWEEN.items()},
    "gif": put(GIF, 6, 60_000, 60_000),
    "gif of a larger frame": put(GIF, GIF_FRAME + 5, 60_000, 60_000),
    "bmp": put(picture(RGB, "BMP"), 18, 30_000, 30_000, kind="i"),
    "bmp top down": put(picture(RGB, "BMP"), 18, 30_000, -30_000, kind="i"),
    "bmp palette": put(picture(RGB, "BMP", palette=True), 18, 30_000, 30_000, kind="i"),
    "bmp of the oldest kind": put(put(picture(RGB, "BMP"), 14, 12, kind="I"), 18, 30_000, 30_000, 1, 24),
    "webp lossless": put(WEBP, 21, 2**28 - 1, kind="I"),
    "webp lossy": put(LOSSY_WEBP, 26, 16_000, 16_000),
    "webp extended": put(ALPHA_WEBP, 24, *b"\xff\xff\x00" * 2, kind="B"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(name):
    good = picture(RGB, "PNG")
    for kind in (SEEN, Image(4, 6, 3, max_pixels=9_000)):  # the second knows no harmless size of two bytes
        in_function(kind, [good, GIF, JPEG])
        most, memory = [], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            start = time.perf_counter()
            values, status = in_function(kind, [good, BOMBS[name], good])
            most.append(time.perf_counter() - start)
        assert status.numpy().tolist() == [decode.OK, decode.UNREADABLE, decode.OK]
        assert values.numpy().tolist() == [RGB.tolist(), np.zeros_like(RGB).tolist(), RGB.tolist()]
        assert min(most) < 0.1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20_000  # kilobytes
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_image(tf.constant(BOMBS[name]), kind)


@pytest.mark.parametrize("name", BETWEEN)
def test_a_jpeg_is_read_as_leniently_as_its_decoder_does(name):
    changed = JPEG[:20] + BETWEEN[name] + JPEG[20:]
    np.testing.assert_array_equal(alone(SEEN, changed)[0], alone(SEEN, JPEG)[0])


SIZED = {
    "png": lambda pixels: picture(pixels, "PNG"),
    "jpeg": lambda pixels: picture(pixels, "JPEG"),
    "jpeg of colours": lambda pixels: picture(np.dstack([pixels] * 3), "JPEG"),
    "jpeg progressive": lambda pixels: picture(np.dstack([pixels] * 3), "JPEG", progressive=True),
    "jpeg with Exif": lambda pixels: picture(pixels, "JPEG", exif=EXIF),
    "gif": lambda pixels: picture(pixels, "GIF"),
    "gif with a note": lambda pixels: picture(pixels, "GIF", comment=b"a, b " * 100),
    "gif animated": lambda pixels: picture([pixels, pixels + 20, pixels + 40], "GIF"),
    "bmp": lambda pixels: picture(np.dstack([pixels] * 3), "BMP"),
    "bmp palette": lambda pixels: picture(pixels, "BMP"),
    "webp lossless": lambda pixels: picture(pixels, "WEBP", lossless=True),
    "webp lossy": lambda pixels: picture(pixels, "WEBP"),
    "webp alpha": lambda pixels: picture(np.dstack([pixels] * 3 + [pixels + 99]), "WEBP"),
}


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize(("height", "width"), [(90, 100), (9000, 1), (513, 257)])
def test_the_limit_is_exact(name, height, width):
    raw = SIZED[name](np.full((height, width), 100, np.uint8))
    for feature, wanted in [
        (Image(5, 3, 1, max_pixels=height * width, background=100), decode.OK),
        (Image(5, 3, 1, max_pixels=height * width - 1), decode.UNREADABLE),
    ]:
        value, status = alone(feature, raw)
        assert status == wanted
        assert (abs(value.astype(int) - (100 if wanted == decode.OK else 0)) <= 2).all()


def test_of_a_gif_only_the_first_frame_is_read():
    noise = RANDOM.integers(0, 256, (300, 200), dtype=np.uint8)  # blocks of data, full and not
    whole = picture([noise, noise[::-1], noise[:, ::-1]], "GIF")
    feature = Image(300, 200, 1)
    np.testing.assert_array_equal(alone(feature, whole)[0][..., 0], noise)
    alone_noise = picture(noise, "GIF")
    for changed in (alone_noise[:-1], alone_noise + b"junk"):
        np.testing.assert_array_equal(alone(feature, changed)[0][..., 0], noise)
    assert alone(feature, alone_noise[:-300])[1] == decode.UNREADABLE
    second = picture(FLAT[1], "GIF")
    at = second.index(b",", 13 + 3 * 2 ** (second[10] % 8 + 1))
    both = picture(FLAT[0], "GIF")[:-1] + put(second[at:], 5, 60_000, 60_000)
    np.testing.assert_array_equal(alone(SEEN, both)[0][..., 0], FLAT[0])


def test_a_gif_or_jpeg_of_very_many_parts_is_refused_soon():
    size = GIF.index(b",", GIF_FRAME) + 10
    in_function(SEEN, [GIF, JPEG])
    for raw in (GIF[: size + 1] + b"\1\0\2\0\0" * 200_000, JPEG[:2] + b"\xff\xfe\0\2" * 250_000 + JPEG[2:]):
        start = time.process_time()
        assert alone(SEEN, raw)[1] == decode.UNREADABLE
        assert time.process_time() - start < 3


def test_every_cut_of_a_file_is_answered():
    for raw in (JPEG, GIF, WEBP, LOSSY_WEBP, ALPHA_WEBP, picture(RGB, "BMP", palette=True), picture(RGB, "PNG")):
        cut = [raw[:length] for length in range(0, min(len(raw), 200), 3)]
        _, status = in_function(SEEN, [*cut, raw])
        assert status.numpy().tolist() == [decode.UNREADABLE] * len(cut) + [decode.OK]
        for one in cut[::8]:
            with pytest.raises(tf.errors.InvalidArgumentError):
                decode_image(tf.constant(one), SEEN)


def test_in_an_exported_graph(tmp_path):
    module = tf.Module()
    signature = [tf.TensorSpec([None], tf.string)]
    module.serve = tf.function(decode.decoder(Image(4, 4, 1, fit="pad")), signature, autograph=False)
    tf.saved_model.save(module, str(tmp_path))
    raw = [picture(SIDES, kind) for kind in ("PNG", "GIF", "BMP")] + list(BOMBS.values())
    values, status, _ = tf.saved_model.load(str(tmp_path)).serve(tf.constant(raw))
    assert status.numpy().tolist() == [decode.OK] * 3 + [decode.UNREADABLE] * len(BOMBS)
    assert (values[:3] == values[0]).numpy().all()
