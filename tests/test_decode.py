import functools
import io
import wave
from collections import Counter

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from mmkeras import decode
from mmkeras.decode.tokens import count_tokens, split
from mmkeras.schema import Audio, Image, Text

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (4, 6, 3), dtype=np.uint8)
FLAT = np.stack([np.full((4, 6), level, np.uint8) for level in (200, 90, 0)])
SEEN, HEARD = Image(4, 6, 3), Audio(8000, 0.001)


def picture(pixels):
    """The bytes of a PNG."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wav(samples, rate=8000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return file.getvalue()


@functools.cache
def compiled(feature):
    return tf.function(decode.decoder(feature), input_signature=[tf.TensorSpec([None], tf.string)])


def eagerly(feature, raw):
    return decode.decoder(feature)(tf.constant(raw, tf.string))


def in_function(feature, raw):
    return compiled(feature)(tf.constant(raw, tf.string))


def in_data(feature, raw):
    return tf.data.Dataset.from_tensors(tf.constant(raw, tf.string)).map(decode.decoder(feature)).get_single_element()


everywhere = pytest.mark.parametrize("run", [eagerly, in_function, in_data])


def one(feature, raw):
    """The decoded value and the status of one raw value."""
    values, status, _ = in_function(feature, [raw])
    assert values.shape == (1, *feature.shape)
    assert values.dtype == feature.dtype
    return values[0].numpy(), int(status[0])


SOUND = np.array([0, 1, -1, 32767, -32768, 100, -100, 5], "<i2")
GOOD = {SEEN: [picture(FLAT[n]) for n in (0, 1)], HEARD: [wav(SOUND), wav(SOUND[::-1])]}


@everywhere
@pytest.mark.parametrize("feature", GOOD, ids=["image", "audio"])
@pytest.mark.parametrize("order", ["axbxxa", "xx", ""])
def test_a_corrupt_row_costs_its_own_row_alone(run, feature, order):
    a, b = GOOD[feature]
    values, status, _ = run(feature, [{"a": a, "b": b, "x": b"corrupt"}[which] for which in order])
    alone = {"a": one(feature, a)[0], "b": one(feature, b)[0], "x": np.zeros(feature.shape)}
    assert status.numpy().tolist() == [int(which == "x") for which in order]
    assert values.shape == (len(order), *feature.shape)
    np.testing.assert_array_equal(values, np.reshape([alone[which] for which in order], values.shape))


@pytest.mark.parametrize("feature", GOOD, ids=["image", "audio"])
def test_paths_instead_of_bytes(tmp_path, feature):
    (tmp_path / "a").write_bytes(GOOD[feature][0])
    values, status, _ = decode.decoder(feature, files=True)(tf.constant([str(tmp_path / "a"), str(tmp_path / "no")]))
    assert status.numpy().tolist() == [decode.OK, decode.UNREADABLE]
    np.testing.assert_array_equal(values[0], one(feature, GOOD[feature][0])[0])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("What's the SUM?", ["whats", "the", "sum"]),
        ("don\u2019t `do` 'it'", ["dont", "do", "it"]),
        ("a-b_c x+y=3€ 3.5!", ["a", "b", "c", "x", "y", "3", "3", "5"]),
        ("Élodie ÀÉ ΣΊ Ёж", ["élodie", "àé", "σί", "ёж"]),
        ("«你好»\uff0c世界。", ["你好", "世界"]),
        (" a\tb\nc\r\n ", ["a", "b", "c"]),
        ("🙂 ?! …", []),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),  # the spaces of web pages and of Chinese
        ("", []),
    ],
)
def test_words(text, wanted):
    assert count_tokens(Text(9), [text, "end"], [2, 1]) == Counter([*wanted, *wanted, "end"])
    assert split(Text(9), [text]).to_list()[0] == [w.encode() for w in wanted]


def test_words_of_nothing():
    assert count_tokens(Text(9), [], []) == Counter()
    assert count_tokens(Text(9), np.array(["b a", "a"], dtype=object), [1, 3]) == {"b": 1, "a": 4}
    assert count_tokens(Text(9), pd.Index(["b a", ""]), [1, 3]) == {"b": 1, "a": 1}


@everywhere
def test_token_ids(run):
    texts = ["What's it, ÉLODIE?", "", "b b b b b b", "[UNK] what s", b"\xff b", "你好 b", b"b \xc3"]
    values, status, _ = run(Text(4, ["whats", "élodie", "b", "你好"]), texts)
    assert values.dtype == "int32"
    assert values[:4].numpy().tolist() == [[2, 1, 3, 0], [0, 0, 0, 0], [4, 4, 4, 4], [1, 1, 1, 0]]
    assert values[5].numpy().tolist() == [5, 4, 0, 0]
    assert status.numpy().tolist() == [0, 0, 0, 0, 1, 0, 1]


@everywhere
def test_no_texts(run):
    values, status, _ = run(Text(4, ["a"]), [])
    assert (values.shape, status.shape) == ((0, 4), (0,))
