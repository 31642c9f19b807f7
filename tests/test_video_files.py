"""Videos by their paths: animations, folders of pictures, arrays and films."""

import functools
import io
import sys

import av
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from test_decode_video import FEATURE, FILES, LEVELS, NOISE, RANDOM, WHOLE, check, file, seen

from mmkeras.decode.video import video_file, video_reason
from mmkeras.schema import Video


@functools.cache
def reading(feature):
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(lambda path: video_file(path, feature), input_signature=signature, autograph=False)


def from_path(path, feature):
    return reading(feature)(tf.constant(str(path)))


@pytest.mark.parametrize("name", ["gif in parts", "webp"])
def test_a_path_gives_what_the_bytes_give(name, tmp_path):
    path = tmp_path / "vidéo"
    path.write_bytes(FILES[name])
    for found in (from_path(path, FEATURE), from_path(f"file://{path}", FEATURE), video_file(str(path), FEATURE)):
        check(found, seen(FILES[name]))


def test_a_bad_file_costs_its_own_row_alone(tmp_path):
    for number, raw in enumerate([WHOLE, WHOLE[:-40], b"", FILES["webp"], FILES["webp"][:-9], WHOLE]):
        (tmp_path / str(number)).write_bytes(raw)
    data = tf.data.Dataset.from_tensor_slices([str(tmp_path / str(number)) for number in range(7)])
    data = data.map(lambda path: video_file(path, FEATURE), num_parallel_calls=2).ignore_errors()
    assert [part.shape for part in data.element_spec] == [FEATURE.shape, ()]
    assert [int(length) for _, length in data] == [5, 9, 5]


def folder(path, names, frames=NOISE):
    path.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=False):
        PIL.Image.fromarray(frame).save(path / name, quality=95)
    return path


def test_a_folder_in_natural_order(tmp_path):
    names = ["frame10.png", "frame2.PNG", "Frame1.png", "frame0003.bmp", "b.png"]
    path = folder(tmp_path / "a", names)
    for name in (".hidden.png", "notes.txt", "frame4"):
        (path / name).write_bytes(b"junk")
    (path / "c.png").mkdir()
    wanted = NOISE[[4, 2, 1, 3, 0]]
    check(from_path(path, FEATURE), wanted)
    check(video_file(f"{path}/", FEATURE), wanted)
    check(from_path(path, Video(3, 12, 16)), wanted[[0, 2, 4]], Video(3, 12, 16))
    for name in ("Frame1.png", "frame0003.bmp"):
        (path / name).write_bytes(b"junk")
    check(from_path(path, Video(2, 12, 16)), wanted[[0, 4]], Video(2, 12, 16))  # only what is kept is read
    assert (
        video_reason(str(path), FEATURE)
        == "expected a picture of at most 33,333,333 pixels, cannot decode 'Frame1.png'"
    )


def test_pictures_of_a_folder_may_differ_in_size(tmp_path):
    path = folder(tmp_path / "a", ["1.jpg", "2.png"], [LEVELS[3], np.full((30, 7, 3), 80, np.uint8)])
    check(
        from_path(path, Video(2, 6, 8, 1)),
        np.stack([LEVELS[3, :6, :8, :1], np.full((6, 8, 1), 80)]),
        Video(2, 6, 8, 1),
        1,
    )
    with pytest.raises(tf.errors.InvalidArgumentError):
        from_path(path, Video(2, 6, 8, max_pixels=2 * 30 * 7 - 1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(9, 12, 16), (9, 12, 16, 1), (9, 12, 16, 3), (9, 12, 16, 4)])
def test_arrays(shape, channels, tmp_path):
    frames = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "a.npy", frames)
    colours = frames if frames.ndim == 4 and frames.shape[3] > 1 else frames.reshape(9, 12, 16, 1)
    if colours.shape[3] == 4:  # on white
        alpha = colours[..., 3:] / 255
        colours = colours[..., :3] * alpha + 255 * (1 - alpha)
    wanted = colours @ [0.299, 0.587, 0.114] if channels < colours.shape[-1] else colours
    wanted = np.broadcast_to(wanted.reshape(9, 12, 16, -1), (9, 12, 16, channels))
    check(from_path(tmp_path / "a.npy", Video(12, 12, 16, channels)), wanted, Video(12, 12, 16, channels), 1.5)
    check(from_path(tmp_path / "a.npy", Video(3, 12, 16, channels)), wanted[::4], Video(3, 12, 16, channels), 1.5)


def film(path, frames=LEVELS, codec="mpeg4", **options):
    with av.open(str(path), "w", container_options=options) as out:
        stream = out.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")],
)
def test_films(name, codec, tmp_path):
    frames = np.repeat(np.repeat(LEVELS, 4, axis=1), 4, axis=2)
    path = film(tmp_path / name, frames, codec)
    for most, numbers in ((9, range(9)), (4, [0, 3, 5, 8]), (1, [0])):
        feature = Video(most, 48, 64)
        check(from_path(path, feature), frames[list(numbers)], feature, off=6)


def sound(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), "float32"), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


REASONS = {
    "sound film": (sound, "found no video in this file"),
    "empty folder": (lambda path: path.mkdir(), "no picture in this folder"),
    "missing": (lambda path: None, "no such file or folder"),
    "floats": (lambda path: np.save(path, NOISE / 255), "expected frames of uint8, found float64"),
    "channels": (
        lambda path: np.save(path, NOISE[..., :2]),
        "expected an array (frames, height, width[, 1, 3 or 4]), found (9, 12, 16, 2)",
    ),
    "no frames": (lambda path: np.save(path, NOISE[:0]), "expected frames, found an array (0, 12, 16, 3)"),
    "cut array": (lambda path: path.write_bytes(array()[:-1]), "found 5,183: a file cut short"),
    "objects": (lambda path: np.save(path, np.array([None])), "found dtype object"),
    "great array": (
        lambda path: np.save(path, np.zeros((5, 200, 300), np.uint8)),
        "180,000 pixels in 3 frames, more than max_pixels=100,000",
    ),
    "great film": (
        lambda path: film(path, np.zeros((5, 200, 300, 3), np.uint8)),
        "180,000 pixels in 3 frames, more than max_pixels=100,000",
    ),
    "great gif": (
        lambda path: path.write_bytes(file(np.repeat(np.repeat(NOISE, 9, axis=1), 9, axis=2), "GIF")),
        "139,968 pixels in 9 frames, more than max_pixels=100,000",
    ),
    "cut gif": (lambda path: path.write_bytes(WHOLE[:-40]), "a GIF that is corrupt or cut short"),
    "cut webp": (lambda path: path.write_bytes(FILES["webp"][:-40]), "a WebP that is corrupt or cut short"),
    "junk": (lambda path: path.write_bytes(b"junk"), "FFmpeg says: "),
    "text": (lambda path: path.write_text("nothing\n" * 50), "FFmpeg says: "),
    "playlist": (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n"), "FFmpeg says: "),
}


SMALL = Video(3, 12, 16, max_pixels=100_000)


def array():
    out = io.BytesIO()
    np.save(out, NOISE)
    return out.getvalue()


@pytest.mark.parametrize("name", REASONS)
def test_what_is_no_such_video(name, tmp_path):
    write, reason = REASONS[name]
    path = tmp_path / ("a.mp4" if "film" in name else "a.npy")
    write(path)
    assert reason in video_reason(str(path), SMALL)
    with pytest.raises(tf.errors.InvalidArgumentError):
        from_path(path, SMALL)


def test_a_film_cut_short_is_refused(tmp_path):
    raw = film(tmp_path / "a.mp4", movflags="faststart").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as whole:
        places = [packet.pos for packet in whole.demux() if packet.size]
    for end, reason in {
        -1: "a file that is corrupt or cut short",
        places[-1]: "expected 9 frames, found 8: a file cut short",
        places[0] - 20: "expected 9 frames, found 0: a file cut short",
    }.items():
        (tmp_path / "cut.mp4").write_bytes(raw[:end])
        assert video_reason(str(tmp_path / "cut.mp4"), FEATURE) == reason
        with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
            from_path(tmp_path / "cut.mp4", FEATURE)


def test_films_need_pyav(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4")
    (tmp_path / "a.gif").write_bytes(WHOLE)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mmkeras\[video\]"):
        from_path(path, FEATURE)
    assert video_reason(str(path), FEATURE).endswith('to read others: pip install "mmkeras[video]"')
    check(from_path(tmp_path / "a.gif", FEATURE), seen(WHOLE))
