"""What is fed to an exported graph: no request fails, no neighbour changes, none takes long."""

import functools
import io
import json
import struct
import time
import zlib
from contextlib import closing

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

import mmkeras as mk
from mmkeras import decode
from mmkeras.bundle.examples import serialized
from mmkeras.files import npy_bytes

SCHEMA = mk.Schema(
    {
        "image": mk.Image(4, 4, 3),
        "audio": mk.Audio(8000, 0.05, max_seconds=2),
        "text": mk.Text(3, vocabulary=["a", "cat"], max_bytes=1000),
        "trace": mk.Series(5, 3, means=(0, 0, 0), std=(1, 1, 1), optional=True),
        "cells": mk.Tabular(("age",), ("town", "land"), (30.0,), (5.0,), (("Rome", "Bonn"), ("x",))),
        "film": mk.Video(2, 4, 4),
        "pair": mk.Image(4, 4, 1, columns=["left", "right"], optional=True),
    },
    {"kind": mk.Category(classes=["x", "y"])},
)
GOOD = 3  # rows before the others, and behind them


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    keras.utils.set_random_seed(0)
    return mk.export(mk.build(SCHEMA, width=4), SCHEMA, tmp_path_factory.mktemp("guards") / "model")


@pytest.fixture(scope="module")
def signatures(bundle):
    return tf.saved_model.load(str(bundle)).signatures


def rows(count):
    """A request of so many rows that can be read: dict of key -> array."""
    given = {}
    for name, feature in SCHEMA.inputs.items():
        codec = decode.codec_of(feature)
        given |= codec.batch(name, feature, [codec.made_up(feature)] * count)
    return given


def tensors(given):
    return {key: tf.constant(array.tolist() if array.dtype == object else array) for key, array in given.items()}


def ask(signatures, name, values):
    """The statuses of these values of one input, between rows whose answers must be as they are without them."""
    given = rows(len(values) + 2 * GOOD)
    expected = signatures["serving_default"](**tensors({key: array[:1] for key, array in given.items()}))
    for row, value in enumerate(values, GOOD):
        given[name][row] = value
    answers = {key: value.numpy() for key, value in signatures["serving_default"](**tensors(given)).items()}
    inside = slice(GOOD, len(values) + GOOD)
    others = np.r_[:GOOD, len(values) + GOOD : len(values) + 2 * GOOD]
    assert not answers["status"][others].any()
    np.testing.assert_allclose(answers["probabilities"][others], np.repeat(expected["probabilities"], 6, 0), atol=1e-6)
    assert np.isfinite(answers["probabilities"]).all()
    assert not answers["probabilities"][answers["status"] != 0].any()
    return answers[f"{name}_status"][inside].tolist()


def picture(kind, frames=1, size=(3, 2), **options):
    random = np.random.default_rng(0)
    made = [PIL.Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)) for _ in range(frames)]
    file = io.BytesIO()
    made[0].save(file, kind, **({"save_all": True, "append_images": made[1:]} if frames > 1 else {}), **options)
    return file.getvalue()


def wav(samples, bits=16, kind=1, rate=8000, channels=1, before=b""):
    """A WAV file of these bytes."""
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + before
    body += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


PICTURES = {
    "png": picture("PNG"),
    "jpeg": picture("JPEG", quality=1),
    "progressive": picture("JPEG", quality=1, progressive=True),
    "gif": picture("GIF"),
    "animated gif": picture("GIF", 3),
    "bmp": picture("BMP"),
    "webp": picture("WEBP"),
    "lossless": picture("WEBP", lossless=True),
}
SOUNDS = {
    "PCM of 8": wav(bytes(9), 8),
    "PCM of 16": wav(bytes(9)),
    "PCM of 24": wav(bytes(9), 24),
    "PCM of 32": wav(bytes(12), 32),
    "float": wav(bytes(12), 32, 3),
    "double": wav(bytes(16), 64, 3),
    "two channels, another rate": wav(bytes(40), channels=2, rate=11025),
    "a chunk before": wav(bytes(9), before=b"LIST\3\0\0\0abc\0"),
}
FILMS = {name: PICTURES[name] for name in ("gif", "animated gif", "webp")} | {
    "animated webp": picture("WEBP", 2, lossless=True)
}
STEPS = np.arange(12).reshape(4, 3)
TRACES = {
    "steps of float": npy_bytes(STEPS.astype("float32")),
    "of another order": npy_bytes(np.asfortranarray(STEPS.astype(">f8"))),
    "whole numbers": npy_bytes(STEPS.astype("int16")),
}
FILES = [
    *((name, "image") for name in PICTURES),
    *((name, "audio") for name in SOUNDS),
    *((name, "film") for name in FILMS),
    *((name, "trace") for name in TRACES),
]


@pytest.mark.parametrize(("name", "key"), FILES)
def test_every_prefix_costs_its_own_row(signatures, name, key):
    whole = {"image": PICTURES, "audio": SOUNDS, "film": FILMS, "trace": TRACES}[key][name]
    lengths = [*range(0, min(len(whole), 160)), *range(160, len(whole), 7), *range(max(len(whole) - 9, 0), len(whole))]
    status = ask(signatures, key, [*(whole[:length] for length in lengths), whole])
    assert (status[0], status[-1]) == (0 if SCHEMA.inputs[key].optional else 2, 0)
    assert set(status) <= {0, 1, 2}
    assert status.count(1) > 20
    for length in (2, len(whole) // 2, len(whole) - 1):
        assert len(signatures["serving_default"](**tensors(rows(1) | {key: np.array([whole[:length]], object)}))) > 0


@pytest.mark.parametrize(
    "raw", [b"GI", b"GIF89a\1\0\1\0\x80", PICTURES["gif"][:-4], b"\xff\xd8", b"\x89P", b"RI", b"BM", b"RIFF", b"\0"]
)
def test_beginnings_of_files_alone_and_in_one_of_several(signatures, raw):
    for key in ("image", "film", "audio", "trace"):
        assert ask(signatures, key, [raw]) == [1]
        given = rows(1) | {key: np.array([raw], object)}
        assert signatures["serving_default"](**tensors(given))["status"].numpy().tolist() == [1]
    left = rows(1)["pair"][0, 0]
    assert ask(signatures, "pair", [[raw, left], [left, raw], ["", left], ["", ""]]) == [1, 1, 0, 0]


def test_prefixes_of_texts_cells_and_examples(signatures):
    text = "a caté 😀 \0".encode()
    status = ask(signatures, "text", [text[:length] for length in range(len(text) + 1)])
    assert status == [2] + [0] * 5 + [1, 0, 0, 1, 1, 1, 0, 0, 0]
    cells = ask(signatures, "cells", [["1e9"[:length], "Ro", "é".encode()[:length]] for length in range(4)])
    assert cells == [5, 5, 1, 5]  # "1e" is no number; the words are unknown
    example = serialized(SCHEMA, rows(1))[0]
    cuts = [example[:length] for length in range(0, len(example), 11)]
    answers = signatures["examples"](inputs=tf.constant([example, *cuts, example]))
    assert answers["status"].numpy()[[0, -1]].tolist() == [0, 0]
    assert answers["status"].numpy()[1:-1].all()


def test_mutated_values(signatures):
    """A small run of benchmarks/serving.py hostile."""
    random = np.random.default_rng(0)
    for key, files in {"image": PICTURES, "audio": SOUNDS, "film": FILMS, "trace": TRACES}.items():
        values = []
        for whole in [*files.values()] * 20:
            raw = bytearray(whole)
            for at in random.integers(0, len(raw), random.integers(1, 6)):
                raw[at] = random.integers(256)
            values.append(bytes(raw))
        assert {0, 1} <= set(ask(signatures, key, values))
    spoilt = random.choice([np.nan, np.inf, -3e38, 1.0], (50, 5, 3)).astype("float32")
    assert set(ask(signatures, "trace", [npy_bytes(trace) for trace in spoilt])) == {1}


# What takes long ----------------------------------------------------------------------------------------------------


def scans(count, side):
    """A JPEG of a few bytes with so many more scans, whose header announces a side of so many pixels."""
    raw = picture("JPEG", size=(16, 16), progressive=True)
    last = raw.rindex(b"\xff\xda")
    frame = raw.index(b"\xff\xc2")
    raw = raw[: frame + 5] + struct.pack(">HH", side, side) + raw[frame + 9 :]
    return raw[:-2] + raw[last : last + 2 + int.from_bytes(raw[last + 2 : last + 4], "big")] * count + raw[-2:]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def texts(count, kind=b"zTXt", size=7_900_000):
    begin = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0"}[kind]
    inside = chunk(kind, begin + zlib.compress(b"a" * size, 9)) * count
    return PICTURES["png"][:33] + inside + PICTURES["png"][33:]


def parts_of_gif(count, frames=1):
    frame = b",\0\0\0\0\1\0\1\0\0\2\2D\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b"!\xfe\1a\0" * count + frame * frames + b";"


SLOW = {
    "JPEG of many scans": ("image", lambda: scans(400, 9000), 3),
    "JPEG of many small scans": ("image", lambda: scans(400, 8), 3),
    "large JPEG of some scans": ("image", lambda: scans(60, 9000), 3),
    "JPEG of many comments": ("image", lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 90_000 + PICTURES["jpeg"][2:], 1),
    "PNG of many texts": ("image", lambda: texts(100), 3),
    "PNG of many texts, too": ("image", lambda: texts(100, b"iTXt"), 3),
    "GIF of many parts": ("image", lambda: parts_of_gif(4000), 1),
    "GIF of many pixels": ("image", lambda: b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + parts_of_gif(0)[10:], 3),
    "video of many pixels": ("film", lambda: parts_of_gif(0).replace(b",\0\0\0\0\1\0\1", b",\0\0\0\0\0\xff\0\xff"), 3),
    "WAV of many chunks": ("audio", lambda: wav(bytes(99), before=b"junk\0\0\0\0" * 50_000), 1),
    "WAV of an absurd rate": ("audio", lambda: wav(bytes(4_000_000), 8, rate=2_000_000_000), 1),
    "long WAV": ("audio", lambda: wav(bytes(40_000)), 3),
    "WAV of one sample in a second": ("audio", lambda: wav(bytes(40_000), rate=1), 3),
    "long WAV of many channels": ("audio", lambda: wav(bytes(40_000_000), channels=1000), 3),
    "series of absurd size": (
        "trace",
        lambda: TRACES["steps of float"].replace(b"(%d, 3)" % len(STEPS), b"(9000000000000000000, 3)"),
        1,
    ),
    "series with a long header": ("trace", lambda: b"\x93NUMPY\2\0\xff\xff\x8f\0" + b" " * 9_500_000, 1),
    "long text": ("text", lambda: "a " * 501, 3),
    "very long text": ("text", lambda: "a " * 5_000_000, 3),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_would_take_long_is_refused(signatures, name):
    key, make, expected = SLOW[name]
    value = make()
    start = time.process_time()
    assert ask(signatures, key, [value]) == [expected]
    assert time.process_time() - start < 1.5  # of the whole request; most of it is the first call of an op


def test_what_is_allowed_is_answered(signatures):
    assert ask(signatures, "image", [scans(80, 16), texts(2, size=99), parts_of_gif(20)]) == [0, 0, 0]
    assert ask(signatures, "audio", [wav(bytes(32_000)), wav(bytes(9), before=b"junk\0\0\0\0" * 50)]) == [0, 0]
    assert ask(signatures, "text", ["a " * 500]) == [0]


# Requests of other shapes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(bundle):
    """A function that feeds a session without looking at shapes, as TensorFlow Serving does."""
    with closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(bundle)).signature_def

        @functools.cache
        def made(name):
            inputs, outputs = (
                dict(sorted(part.items())) for part in (signatures[name].inputs, signatures[name].outputs)
            )
            names = [[info.name for info in part.values()] for part in (inputs, outputs)]
            options = config_pb2.CallableOptions(feed=names[0], fetch=names[1])
            return inputs, outputs, session._make_callable_from_options(options)

        def ask(name, given):
            inputs, outputs, call = made(name)
            return dict(zip(outputs, call(*(given[key] for key in inputs)), strict=True))

        yield ask


SHAPES = {  # input -> forms of its tensor (3, ...) that the signature does not name
    "cells": [(3, 4), (3, 2), (3,), (3, 1, 3), (3, 0)],
    "image": [(3, 1), (3, 1, 1), (3, 0)],
    "audio": [(3, 1)],
    "text": [(3, 1)],
    "film": [(3, 2)],
    "pair": [(3, 3), (3, 1), (3,), (3, 2, 1)],
    "trace": [(3, 1), (3, 5, 3), (3, 0)],
}


@pytest.mark.parametrize("key", SHAPES)
def test_a_tensor_of_another_shape_is_a_status(session, key):
    given = rows(3)
    for shape in SHAPES[key]:
        answers = session("serving_default", {**given, key: np.resize(given[key].ravel()[:1], shape)})
        assert answers["status"].tolist() == answers[f"{key}_status"].tolist() == [4, 4, 4], shape
        assert not answers["probabilities"].any()
        assert answers["label"].tolist() == [b""] * 3
        assert sum(answers[f"{other}_status"].any() for other in SCHEMA.inputs) == 1
    assert not session("serving_default", given)["status"].any()


def test_examples_of_another_shape_are_a_status(session):
    examples = np.array(serialized(SCHEMA, rows(3)), object)
    assert session("examples", {"inputs": examples})["status"].tolist() == [0, 0, 0]
    assert session("examples", {"inputs": examples[:, None]})["status"].tolist() == [4, 4, 4]


def test_tensors_of_another_shape_are_refused(session):
    given = {key: np.zeros((2, *shape), dtype) for key, (shape, dtype) in SCHEMA.model_inputs.items()}
    assert len(session("tensors", given)["label"]) == 2
    for key, array in given.items():
        for wrong in (array[..., None], np.repeat(array, 2, axis=-1) if array.ndim > 1 else array[:, None]):
            with pytest.raises(tf.errors.InvalidArgumentError, match=f"expected {key} of the shape"):
                session("tensors", {**given, key: wrong})
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected equally many rows"):
            session("tensors", {**given, key: array[:1]})


def test_requests_in_which_no_row_has_a_series(signatures):
    given = rows(3)
    given["trace"][:] = b""
    examples = serialized(SCHEMA, given)
    expected = signatures["serving_default"](**tensors(given))
    for signature in ("examples", "classify"):
        answers = signatures[signature](inputs=tf.constant(examples))
        places = {"scores": "top_scores", "probabilities": "probabilities"}
        for output in places.keys() & answers.keys():
            np.testing.assert_allclose(answers[output], expected[places[output]], atol=1e-6)
    answers = signatures["examples"](inputs=tf.constant([examples[0], b"\xff none", examples[1], b""]))
    assert answers["status"].numpy().tolist() == [0, 1, 0, 2]
    assert signatures["classify"](inputs=tf.constant([b"\xff none"]))["scores"].shape == (1, 2)


def test_golden_rows_without_each_input_that_may_be_missing(bundle):
    golden = json.loads((bundle / "assets.extra" / "golden.json").read_text())
    traces, pairs = golden["inputs"]["trace"], golden["inputs"]["pair"]
    assert "" in traces[:-1]
    assert ["", ""] in pairs[:-1]
    assert "" in golden["inputs"]["film"]
    assert golden["outputs"]["status"] == [0, 0, 2, 0, 1]
