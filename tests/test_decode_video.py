import functools
import io
import subprocess
import sys
import tempfile
import time

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from mmkeras.decode.image import decode_image
from mmkeras.decode.video import decode_video, video_reason
from mmkeras.schema import Image, Video

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (9, 12, 16, 3), dtype=np.uint8)
LEVELS = np.stack([np.full((12, 16, 3), 20 * n + 10, np.uint8) for n in range(9)])
PATCHES = np.repeat(NOISE[:1], 5, axis=0)  # each frame has another patch on the first picture
for n in range(1, 5):
    PATCHES[n:, n : n + 4, 2 * n : 2 * n + 5] = 50 * n
FEATURE = Video(9, 12, 16)


def file(frames, kind, **options):
    """The bytes of an animation; `frames` are arrays or pictures."""
    frames = [frame if isinstance(frame, PIL.Image.Image) else PIL.Image.fromarray(frame) for frame in frames]
    out = io.BytesIO()
    several = {"save_all": True, "append_images": frames[1:]} if kind in ("GIF", "WEBP") else {}
    frames[0].save(out, kind, **several, **options)
    return out.getvalue()


def seen(raw, ground=255):
    """The frames as Pillow shows them, on a ground."""
    with PIL.Image.open(io.BytesIO(raw)) as picture:
        shown = []
        for number in range(picture.n_frames):
            picture.seek(number)
            back = PIL.Image.new("RGBA", picture.size, (ground, ground, ground, 255))
            shown.append(np.asarray(PIL.Image.alpha_composite(back, picture.convert("RGBA")))[..., :3])
        return np.stack(shown)


def sprites(disposal):
    """Three frames, each with one square on nothing."""
    frames = np.zeros((3, 12, 16, 4), np.uint8)
    for number, frame in enumerate(frames):
        frame[2:6, 4 * number : 4 * number + 3] = (200, 90 * number, 0, 255)
    return file(frames, "GIF", disposal=disposal)


@functools.cache
def compiled(feature):
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda raw: decode_video(raw, feature), input_signature=signature, autograph=False)


def eagerly(raw, feature):
    return decode_video(tf.constant(raw), feature)


def in_function(raw, feature):
    return compiled(feature)(tf.constant(raw))


def in_data(raw, feature):
    data = tf.data.Dataset.from_tensors(raw).map(lambda value: decode_video(value, feature))
    assert [part.shape for part in data.element_spec] == [feature.shape, ()]
    return data.get_single_element()


everywhere = pytest.mark.parametrize("run", [eagerly, in_function, in_data])


def check(found, wanted, feature=FEATURE, off=0):
    frames, length = found
    assert (frames.dtype, length.dtype, frames.shape) == ("uint8", "int32", feature.shape)
    assert length == len(wanted)
    np.testing.assert_allclose(frames[: len(wanted)].numpy().astype(float), wanted, rtol=0, atol=off)
    assert not np.any(frames[len(wanted) :])


FILES = {
    "gif": file(NOISE, "GIF"),  # each frame with its own colours
    "gif of one palette": file([PIL.Image.fromarray(frame).convert("P") for frame in LEVELS], "GIF"),
    "gif in parts": file(PATCHES, "GIF"),
    "gif in parts, kept": file(PATCHES, "GIF", disposal=1),
    "gif with nothing at first": sprites(1),
    "gif of one frame": file(NOISE[:1], "GIF"),
    "gif interlaced": file(NOISE, "GIF", interlace=1),
    "webp": file(NOISE, "WEBP", lossless=True),
    "webp in parts": file(PATCHES, "WEBP", lossless=True, minimize_size=True),
    "webp with alpha": file(np.concatenate([PATCHES, PATCHES[..., :1]], axis=-1), "WEBP", lossless=True),
    "webp of one frame": file(NOISE[:1], "WEBP", lossless=True),
    "webp of one frame, alpha": file(
        np.concatenate([NOISE, NOISE[..., :1]], -1)[:1], "WEBP", lossless=True, exact=True
    ),
    "webp of one frame, lossy": file(LEVELS[:1], "WEBP", quality=90),
}


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_pillow(name):
    raw = FILES[name]
    check(in_function(raw, FEATURE), seen(raw), off=1 if "lossy" in name else 0)


def exported(raw, feature):
    module = tf.Module()
    module.decode = compiled(feature)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder)
        return tf.saved_model.load(folder).decode(tf.constant(raw))


@pytest.mark.parametrize("run", [eagerly, in_function, in_data, exported])
@pytest.mark.parametrize("name", ["gif in parts", "webp in parts"])
def test_it_runs_everywhere(run, name):
    check(run(FILES[name], FEATURE), PATCHES if "webp" in name else seen(FILES[name]))


def test_a_gif_is_drawn_over_what_was_there():
    """Unlike in a browser, where with a disposal of 2 or 3 each sprite goes before the next one comes."""
    for disposal in (2, 3):
        black = Video(9, 12, 16, background=0)
        check(in_function(sprites(disposal), black), np.maximum.accumulate(seen(sprites(1), ground=0)))
        assert (seen(sprites(disposal)) != seen(sprites(1))).any()


def test_webp_without_the_flag_of_alpha_does_no_harm():
    """Stock decoding writes beyond its memory: so in another process."""
    raw = bytearray(FILES["webp"])
    assert raw[12:16] == b"VP8X"
    raw[20] = 2
    code = (
        "import sys, tensorflow as tf\n"
        "from mmkeras.decode.video import decode_video\n"
        "from mmkeras.schema import Video\n"
        "raw = sys.stdin.buffer.read()\n"
        "for _ in range(20): frames, length = decode_video(raw, Video(9, 12, 16))\n"
        "print(int(length), tf.reduce_sum(tf.cast(frames, tf.int32)).numpy())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=bytes(raw), capture_output=True, check=False)
    wanted = f"9 {NOISE.sum(dtype=int)}"
    assert (done.returncode, done.stdout.decode().strip()) == (0, wanted), done.stderr.decode()[-300:]


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize(
    ("most", "numbers"),
    [(1, [0]), (2, [0, 8]), (3, [0, 4, 8]), (4, [0, 3, 5, 8]), (5, [0, 2, 4, 6, 8]), (9, range(9)), (12, range(9))],
)
def test_frames_at_even_distances(kind, most, numbers):
    frames = LEVELS.copy()
    frames[:, 0, 0] = [255, 0, 0]
    raw = file(frames, kind, **({"lossless": True} if kind == "WEBP" else {}))
    check(in_function(raw, Video(most, 12, 16)), frames[list(numbers)], Video(most, 12, 16))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("name", ["gif", "webp with alpha"])
def test_frames_become_what_pictures_become(name, fit, channels):
    out = io.BytesIO()
    PIL.Image.fromarray(seen(FILES[name])[0]).save(out, "PNG")
    picture = decode_image(out.getvalue(), Image(10, 10, channels, fit=fit))
    frames, _ = in_function(FILES[name], Video(3, 10, 10, channels, fit=fit))
    np.testing.assert_array_equal(frames[0], picture)


WHOLE = FILES["gif in parts"]
NO_VIDEOS = {
    "nothing": b"",
    "junk": b"junk",
    "png": file(NOISE[:1], "PNG"),
    "jpeg": file(NOISE[:1], "JPEG"),
    "bmp": file(NOISE[:1], "BMP"),
    "header": WHOLE[:13],
    "RIFF": b"RIFF\x10\0\0\0WAVEfmt \0\0\0\0",
    "WebP with a cut header": FILES["webp"][:25],
    "WebP without a frame": FILES["webp"][:44],
    "VP8 without a chunk": FILES["webp of one frame, lossy"][:12] + FILES["webp of one frame, lossy"][20:],
    "codes": WHOLE[:900] + b"\xff" * 40 + WHOLE[940:],
}


@pytest.mark.parametrize("name", NO_VIDEOS)
def test_bytes_that_are_no_video(name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_function(NO_VIDEOS[name], FEATURE)


@pytest.mark.parametrize("name", ["gif in parts", "webp"])
def test_a_file_cut_short_is_refused(name):
    raw = FILES[name]
    refused = 0
    for end in range(13, len(raw) - 3, max(len(raw) // 40, 1)):
        try:
            found = in_function(raw[:end], FEATURE)
        except tf.errors.InvalidArgumentError:
            refused += 1
        else:  # between two parts: only its end is missing
            check(found, seen(raw)[: int(found[1])])
    assert refused >= 38


def test_a_bad_row_costs_its_own_row_alone():
    raws = [WHOLE, WHOLE[:-40], b"", FILES["webp"], FILES["webp"][:-9], WHOLE]
    data = tf.data.Dataset.from_tensor_slices(raws).map(lambda raw: decode_video(raw, FEATURE)).ignore_errors()
    assert [int(length) for _, length in data] == [5, 9, 5]


def test_a_gif_smaller_than_its_canvas_is_refused(tmp_path):
    raw = bytearray(WHOLE)
    raw[6:10] = b"\x20\0\x20\0"
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_function(bytes(raw), FEATURE)
    (tmp_path / "a").write_bytes(raw)
    assert video_reason(str(tmp_path / "a"), FEATURE) == "no frame is as large as the canvas: 12 by 16 pixels at most"


def gif_bomb(height, width, count, canvas=None):
    side = [number.to_bytes(2, "little") for number in (width, height)]
    canvas = side if canvas is None else [number.to_bytes(2, "little") for number in canvas]
    frame = b"," + b"\0" * 4 + b"".join(side) + b"\0\x02\x02L\x01\0"
    return b"GIF89a" + b"".join(canvas) + b"\x80\0\0" + b"\0" * 6 + frame * count + b";"


def webp_bomb():
    raw = bytearray(FILES["webp"])
    raw[24:30] = b"\xff\xff\0\xff\xff\0"
    return bytes(raw)


BOMBS = {
    "one frame": (gif_bomb(65535, 65535, 1), "4,294,836,225 pixels in 1 frames, more than max_pixels=300,000,000"),
    "frames": (gif_bomb(1000, 1000, 301), "301,000,000 pixels in 301 frames, more than max_pixels=300,000,000"),
    "canvas": (gif_bomb(20000, 20000, 1, (1, 1)), "400,000,000 pixels in 1 frames, more than max_pixels=300,000,000"),
    "webp": (webp_bomb(), "38,654,705,664 pixels in 9 frames, more than max_pixels=300,000,000"),
}


@everywhere
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_not_decoded(run, name, tmp_path):
    raw, reason = BOMBS[name]
    start = time.perf_counter()
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 300000000 pixels"):
        run(raw, FEATURE)
    assert time.perf_counter() - start < 5
    (tmp_path / "bomb").write_bytes(raw)
    assert video_reason(str(tmp_path / "bomb"), FEATURE) == reason


def test_the_limit_itself_is_allowed():
    limit = PATCHES[..., 0].size
    for name in ("gif in parts", "webp in parts"):
        assert in_function(FILES[name], Video(9, 12, 16, max_pixels=limit))[1] == 5
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_function(FILES[name], Video(9, 12, 16, max_pixels=limit - 1))


def test_what_looks_like_a_frame_is_not_counted():
    comment = b"!\xfe\xf0" + b"\0,\0\0\0\0\xff\xff\xff\xff" * 24 + b"\0"
    first = 13 + 6 * 2 ** (WHOLE[10] % 8)
    for raw in (WHOLE[:first] + comment + WHOLE[first:], WHOLE + comment):
        check(in_function(raw, FEATURE), seen(WHOLE))
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_function(raw[: len(raw) - 300], FEATURE)


def test_a_gif_of_too_many_parts_is_refused_in_time():
    first = 13 + 6 * 2 ** (WHOLE[10] % 8)
    parts = b"".join(b"\x01a\x02bb" for _ in range(200_000))
    raw = WHOLE[:first] + b"!\xfe" + parts + b"\0" + WHOLE[first:-100]
    start = time.perf_counter()
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_function(raw, FEATURE)
    assert time.perf_counter() - start < 20
