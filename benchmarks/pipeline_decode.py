"""The decoder of files beside a bare tf.io.decode loop."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf
from pairs import in_pairs, timed
from report import middle
from sets import unpacked

import mmkeras as mk
from mmkeras.decode import in_chunks

Side = Callable[[list[str], mk.Image], int]  # returns how many files it has decoded


def decode(pairs: int, data: Path) -> None:
    """The decoder of files beside `read_file` and `decode_image` in a bare tf.data map, on the same files."""
    print("| files | mmkeras / bare loop, files a CPU-second: median (least, most) | wall |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (files, feature) in pictures(Path(folder), data).items():
            files = [str(file) for file in files]
            sides = [partial(timed, decode_all, side, files, feature) for side in (checked, bare)]
            seconds = in_pairs(sides, pairs)
            used, waited = np.moveaxis(seconds[1] / seconds[0], 1, 0)
            print(f"| {name} | {middle(used)} | {np.median(waited):.2f} |", flush=True)


def pictures(folder: Path, data: Path) -> dict[str, tuple[list[Path], mk.Image]]:
    """Files of each sort, some of them made in the folder: dict of title -> files and how they are read."""
    digits = sorted(unpacked("av_digits", data).rglob("*.png"))[:4000]
    found, random = {"PNG 28 x 28, av_digits": (digits, mk.Image(28, 28, 1))}, np.random.default_rng(0)
    for kind, size, count, encode in (
        ("PNG", 128, 800, tf.io.encode_png),
        ("JPEG", 128, 800, tf.io.encode_jpeg),
        ("JPEG", 512, 150, tf.io.encode_jpeg),
    ):
        files = [folder / f"{size}_{number}.{kind}" for number in range(count)]
        for file in files:
            coarse = random.integers(0, 256, (8, 8, 3)).astype(np.float32)
            pixels = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (size, size)), 0, 255), tf.uint8)
            file.write_bytes(encode(pixels).numpy())
        found[f"{kind} {size} x {size}"] = files, mk.Image(size, size, 3)
    return found


def decode_all(side: Side, files: list[str], feature: mk.Image) -> None:
    if (found := side(files, feature)) != len(files):
        raise SystemExit(f"{side.__name__}: {found} of {len(files)} files decoded")


def bare(files: list[str], feature: mk.Image) -> int:
    def one(path):
        pixels = tf.io.decode_image(tf.io.read_file(path), channels=feature.channels, expand_animations=False)
        return tf.ensure_shape(pixels, feature.shape)

    rows = tf.data.Dataset.from_tensor_slices(files).map(one, num_parallel_calls=tf.data.AUTOTUNE)
    return sum(len(batch) for batch in rows.batch(1024).prefetch(1))


def checked(files: list[str], feature: mk.Image) -> int:
    return sum(len(part.values) for part in in_chunks(feature, files))
