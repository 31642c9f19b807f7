"""Short videos: GIF and WebP in TensorFlow ops, in training and the served graph alike; other files in training only.

What `tf.io.decode_image` does not do by itself: it takes the memory for any number of frames of any size that a file
announces; it gives the whole frames of a GIF that is cut short or corrupt, without a word; an animated WebP whose
header says that nothing is transparent makes it write beyond its memory.
"""

import functools
import os
import re

import numpy as np
import tensorflow as tf

from mmkeras.decode.files import NPY, as_path, head_of, is_url, open_file, open_npy
from mmkeras.decode.gif import announced, guess, measure
from mmkeras.decode.graph import from_numpy
from mmkeras.decode.ground import gif_alpha
from mmkeras.decode.image import bring_to_size, decode_image
from mmkeras.decode.orientation import upright
from mmkeras.decode.rows import FileCodec
from mmkeras.inputs import Image, Video

PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
# What FFmpeg may open: other demuxers read text as video, or the files and addresses that a playlist names.
CONTAINERS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,ogg,asf,h264,hevc,ivf,mjpeg"
_ANIMATION, _FOLDER, _STACK = range(3)


def decode_video(raw: tf.Tensor, feature: Video) -> tuple[tf.Tensor, tf.Tensor]:
    """One GIF or WebP.

    Args:
        raw: scalar string, the bytes of the file; one that is not animated is a video of one frame.
        feature: `Video`.

    Returns:
        `(frames, height, width, channels)`, uint8: frames at even distances, brought to size (see `bring_to_size`),
        zeros behind; and how many there are, scalar int32. The frames of a GIF are drawn over one another, whatever is
        to be done with each after its time (its disposal); a WebP is turned as EXIF says with `feature.upright`.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such file, or one that is corrupt or cut short; a GIF without
            a frame as wide or as high as its canvas; more than `feature.max_pixels` in all frames together: these are
            not decoded.
    """
    raw = tf.convert_to_tensor(raw)
    pixels = tf.cond(_is_gif(raw), lambda: _gif(raw, feature.max_pixels), lambda: _webp(raw, feature.max_pixels))
    kept = tf.gather(pixels, _even(tf.shape(pixels, tf.int64)[0], feature.frames))
    kept = upright(kept, raw) if feature.upright else kept
    return _filled(bring_to_size(kept, feature), feature)


def announces_more(raw: tf.Tensor, limit: int) -> tf.Tensor:
    """Whether a GIF or WebP, scalar string, has more than `limit` pixels in all its frames together: scalar bool."""
    data = tf.io.decode_raw(tf.strings.join([raw, b"\0" * 1024]), tf.uint8)
    count, height, width = tf.cond(_is_gif(raw), lambda: announced(data), lambda: _measure_webp(data))
    return (height * width > 0) & ~_few(count, height, width, limit)


def video_file(path: tf.Tensor, feature: Video) -> tuple[tf.Tensor, tf.Tensor]:
    """One video file or folder. Not for a served graph.

    Args:
        path: scalar string, the path of a GIF or WebP (or its URL); of a folder of pictures, in the natural order of
            their names ("2.png" before "10.png"); of a .npy file `(frames, height, width)` or
            `(frames, height, width, 1 | 3 | 4)`, uint8; with PyAV, of an MP4, MOV, MKV, WebM or AVI file.
        feature: `Video`.

    Returns:
        As `decode_video`. Of a folder or .npy file only the frames kept are read.

    Raises:
        tf.errors.InvalidArgumentError: see `video_reason`; eagerly also a ValueError. `feature.max_pixels` holds for
            all frames of a GIF or WebP, for those kept of other files; a picture in a folder may have a
            `feature.frames`-th part of it.
    """

    def read(path):
        return _read(as_path(path), feature)

    kind, pictures, stack = from_numpy(read, [path], (tf.int32, tf.string, tf.uint8))
    pictures, stack = tf.ensure_shape(pictures, (None,)), tf.ensure_shape(stack, (None, None, None, None))

    def folder():
        one = _picture(feature)
        frames = tf.map_fn(
            lambda name: decode_image(tf.io.read_file(name), one),
            pictures,
            fn_output_signature=tf.TensorSpec(one.shape, tf.uint8),
        )
        return _filled(frames, feature)

    kinds = {
        _ANIMATION: lambda: decode_video(tf.io.read_file(path), feature),
        _FOLDER: folder,
        _STACK: lambda: _filled(bring_to_size(stack, feature), feature),
    }
    return tf.switch_case(tf.ensure_shape(kind, ()), kinds)


def video_reason(path: str, feature: Video) -> str:
    """Why the file or folder at `path`, a str, is no video for the feature, a `Video`."""
    try:
        kind, pictures, _ = _read(path, feature)
        if kind == _ANIMATION:
            return _animation_reason(tf.io.read_file(path), feature)
    except (ValueError, tf.errors.OpError) as error:
        return str(error)
    for picture in pictures:
        try:
            decode_image(tf.io.read_file(picture), _picture(feature))
        except tf.errors.OpError:
            name, most = os.path.basename(os.fsdecode(picture)), _picture(feature).max_pixels
            return f"expected a picture of at most {most:,} pixels, cannot decode {name!r}"
    return "cannot decode"


def _is_gif(raw):
    return tf.reduce_any(tf.strings.substr(raw, 0, 6) == tf.constant([b"GIF87a", b"GIF89a"]))


def _picture(feature):
    most = max(feature.max_pixels // feature.frames, 1)
    as_of = {key: getattr(feature, key) for key in ("height", "width", "channels", "fit", "upright", "background")}
    return Image(**as_of, max_pixels=most)


def _even(count, most, maths=tf):
    """The numbers of at most `most` of `count` frames (int64) at even distances, halves rounded up."""
    kept = maths.minimum(count, most)
    gaps = maths.maximum(kept - 1, 1)
    return (2 * (tf.range if maths is tf else np.arange)(kept) * (count - 1) + gaps) // (2 * gaps)


def _filled(frames, feature):
    length = tf.shape(frames)[0]
    frames = tf.pad(frames, [[0, feature.frames - length], [0, 0], [0, 0], [0, 0]])
    return tf.ensure_shape(frames, feature.shape), length


def _checked(condition, message, values, result):
    """What the function `result` returns, called when the condition has been found to hold."""
    check = tf.debugging.Assert(condition, [message, *values])
    with tf.control_dependencies([check] if check is not None else []):
        return result()


def _decode(raw):
    pixels = tf.io.decode_image(raw, expand_animations=True)
    pixels.set_shape((None, None, None, None))
    return pixels


def _few(count, height, width, limit):
    """Whether all frames together have few enough pixels, and some; of numbers below 2 ** 31."""
    return (height * width > 0) & (height * width <= limit) & (count * height * width <= limit)


def _numbers(data, *places):
    """The numbers of so many bytes at these places, `(at, size)`, the lowest byte first, int64."""
    weights = np.zeros((max(at + size for at, size in places), len(places)), np.int64)
    for column, (at, size) in enumerate(places):
        weights[at : at + size, column] = 256 ** np.arange(size)
    return tf.reduce_sum(tf.cast(data[: len(weights)], tf.int64)[:, None] * weights, axis=0)


def _webp(raw, limit):
    """All frames `(frames, height, width, 3 | 4)`."""
    data = tf.io.decode_raw(tf.strings.join([raw, b"\0" * 32]), tf.uint8)
    measured = _measure_webp(data)
    is_animated = (data[15] == ord("X")) & (tf.bitwise.bitwise_and(data[20], 2) == 2)

    def with_alpha():
        rest = tf.strings.substr(raw, 21, tf.strings.length(raw) - 21)
        return tf.strings.join([tf.strings.substr(raw, 0, 20), b"\x12", rest])

    message = f"expected a GIF or WebP of at most {limit} pixels, found frames, height, width:"
    raw = _checked(_few(*measured, limit), message, measured, lambda: tf.identity(raw))
    return _decode(tf.cond(is_animated, with_alpha, lambda: raw))


def _measure_webp(data):
    """The number of frames or a little more; height and width by the header, 0 for what is no WebP. int64."""
    lossy, lossless, extended = [(28, 2), (26, 2)], [(21, 4), (21, 4)], [(27, 3), (24, 3)]  # heights, widths
    sizes = tf.reshape(_numbers(data, *lossy, *lossless, *extended), (3, 2))
    sizes = sizes // [[1, 1], [2**14, 1], [1, 1]] % [[2**14] * 2, [2**14] * 2, [2**24] * 2] + [[0, 0], [1, 1], [1, 1]]
    kinds = tf.reduce_all(data[8:16] == [list(b"WEBPVP8" + kind) for kind in (b" ", b"L", b"X")], axis=1)
    size = tf.reduce_sum(tf.where(kinds[:, None], sizes, 0), axis=0)
    marks = (data[place : tf.size(data) - 3 + place] == byte for place, byte in enumerate(b"ANMF"))
    return tf.maximum(tf.math.count_nonzero(functools.reduce(tf.logical_and, marks)), 1), size[0], size[1]


def _gif(raw, limit):
    """All frames `(frames, height, width, 3)`, or with alpha."""
    data = tf.io.decode_raw(tf.strings.join([raw, b"\0" * 1024]), tf.uint8)
    guessed = guess(data)
    measured = tf.cond(_few(*guessed, limit), lambda: guessed, lambda: measure(data))
    message = f"expected a GIF of at most {limit} pixels, found frames, height, width:"
    pixels = _checked(_few(*measured, limit), message, measured, lambda: _decode(raw))
    found = tf.shape(pixels, tf.int64)
    count = tf.cond(found[0] == measured[0], lambda: found[0], lambda: measure(data)[0])
    canvas = _numbers(data, (8, 2), (6, 2))
    is_whole = (found[0] == count) & tf.reduce_all(found[1:3] >= canvas)
    values = [found[:3], "of", count, canvas]
    return _checked(is_whole, "found frames, height, width:", values, lambda: gif_alpha()(tf.identity(raw), pixels))


def _animation_reason(raw, feature):
    data = tf.io.decode_raw(tf.strings.join([raw, b"\0" * 1024]), tf.uint8)
    is_gif = raw.numpy().startswith(b"GIF")
    count, height, width = (int(number) for number in (measure if is_gif else _measure_webp)(data))
    if height * width and count * height * width > feature.max_pixels:
        return _too_many(count, height, width, feature)
    if is_gif and np.any([height, width] < _numbers(data, (8, 2), (6, 2)).numpy()):
        return f"no frame is as large as the canvas: {height} by {width} pixels at most"
    return f"a {'GIF' if is_gif else 'WebP'} that is corrupt or cut short"


def _too_many(count, height, width, feature):
    return f"{count * height * width:,} pixels in {count:,} frames, more than max_pixels={feature.max_pixels:,}"


def _read(path, feature):
    """What is to be decoded: its kind (int32), the paths of a folder's pictures, or the frames of another file.

    Raises:
        ValueError: what can be said of a file that is no video.
    """
    no_pictures, no_frames = np.zeros(0, object), np.zeros((0, 1, 1, 1), np.uint8)
    if os.path.isdir(path):
        return np.int32(_FOLDER), _pictures(path, feature), no_frames
    if not is_url(path) and not os.path.exists(path):
        raise ValueError("no such file or folder")
    try:
        head, size = head_of(path, 12)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if head.startswith(b"GIF8") or (head.startswith(b"RIFF") and head.endswith(b"WEBP")):
        if size > FileCodec.largest:
            raise ValueError(f"expected at most {FileCodec.largest:,} bytes, found {size:,}")
        return np.int32(_ANIMATION), no_pictures, no_frames
    if is_url(path):
        raise ValueError("expected a GIF or WebP at a URL; other videos have to be local files")
    read = _array if head.startswith(NPY) else _with_av
    return np.int32(_STACK), no_pictures, read(path, feature)


def _natural(name):
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", name.casefold()))], name


def pictures_in(path: str) -> list[str]:
    """The paths of the pictures in a folder, in any order."""
    with os.scandir(path) as entries:
        return [e.path for e in entries if e.name.lower().endswith(PICTURES) and e.name[0] != "." and e.is_file()]


def _pictures(path, feature):
    """The paths of the frames kept, bytes."""
    names = [os.path.basename(picture) for picture in pictures_in(path)]
    if not names:
        raise ValueError("no picture in this folder")
    names.sort(key=_natural)
    kept = [names[number] for number in _even(len(names), feature.frames, np)]
    return np.array([os.fsencode(os.path.join(path, name)) for name in kept], object)


def _array(path, feature):
    """The frames kept of a .npy file."""
    with open_file(path) as file:
        frames = open_npy(file)
    if frames.dtype != np.uint8:
        raise ValueError(f"expected frames of uint8, found {frames.dtype}")
    if frames.ndim == 3:
        frames = frames[..., None]
    if frames.ndim != 4 or frames.shape[3] not in (1, 3, 4):
        raise ValueError(f"expected an array (frames, height, width[, 1, 3 or 4]), found {frames.shape}")
    if not frames.size:
        raise ValueError(f"expected frames, found an array {frames.shape}")
    kept = _even(len(frames), feature.frames, np)
    if len(kept) * frames.shape[1] * frames.shape[2] > feature.max_pixels:
        raise ValueError(_too_many(len(kept), *frames.shape[1:3], feature))
    return np.ascontiguousarray(frames[kept])


def _with_av(path, feature):
    """The frames kept of what FFmpeg opens."""
    try:
        import av
    except ImportError as error:
        without = "expected a GIF, a WebP, a folder of pictures or a .npy file"
        raise ValueError(f'{without}; to read others: pip install "mmkeras[video]"') from error
    try:
        with _film(av, path) as film:
            count = film.streams.video[0].frames  # 0: the file does not say
        count = count or _sample(av, path, [], feature)[1]
        frames, found = _sample(av, path, _even(count, feature.frames, np), feature)
        if len(frames) < min(count, feature.frames):  # some are in the file, but not to be shown
            frames, _ = _sample(av, path, _even(found, feature.frames, np), feature)
    except av.FFmpegError as error:
        raise ValueError(f"FFmpeg says: {error.strerror}") from error
    if not frames:
        raise ValueError("found no frames")
    return np.stack(frames)


def _film(av, path):
    film = av.open(path, options={"format_whitelist": CONTAINERS})
    if not film.streams.video:
        film.close()
        raise ValueError("found no video in this file")
    return film


def _sample(av, path, numbers, feature):
    """The frames of these numbers, each `(height, width, 3)`; and how many were decoded, up to the last of these."""
    frames, found, packets, last = [], 0, 0, max(numbers, default=np.inf)
    with _film(av, path) as film:
        stream = film.streams.video[0]
        size = stream.height, stream.width
        if size[0] * size[1] * len(numbers) > feature.max_pixels:
            raise ValueError(_too_many(len(numbers), *size, feature))
        for packet in film.demux(stream):
            packets += packet.size > 0
            if packet.is_corrupt:
                raise ValueError("a file that is corrupt or cut short")
            for frame in packet.decode():
                if (frame.height, frame.width) != size:
                    raise ValueError(f"expected frames of one size, found {size} and {(frame.height, frame.width)}")
                if found in numbers:
                    turns = round(frame.rotation / 90) if feature.upright else 0
                    frames.append(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                found += 1
                if found > last:
                    return frames, found
        if packets < stream.frames:
            raise ValueError(f"expected {stream.frames:,} frames, found {packets:,}: a file cut short")
    return frames, found
