import functools
import io
import wave

import numpy as np
import PIL.Image
import pytest
import soundfile
import tensorflow as tf

from mmkeras import decode
from mmkeras.decode.audio import resample
from mmkeras.decode.text import standardize
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
    values, status = in_function(feature, [raw])
    assert values.shape == (1, *feature.shape)
    assert values.dtype == feature.dtype
    return values[0].numpy(), int(status[0])


SOUND = np.array([0, 1, -1, 32767, -32768, 100, -100, 5], "<i2")


SOUNDS = [
    (wav(SOUND), SOUND),
    (wav(SOUND[:3]), [0, 1, -1, 0, 0, 0, 0, 0]),
    (wav(np.concatenate([SOUND, SOUND])), SOUND),
    (wav(np.repeat(SOUND, 2), channels=2), SOUND),
    (wav(SOUND[:6], channels=2), [0.5, 16383, -16334, 0, 0, 0, 0, 0]),
]
NO_SOUNDS = {
    "empty": b"",
    "junk": b"junk",
    "cut": wav(SOUND)[:50],
    "cut in its header": wav(SOUND)[:30],
    "no data": wav(SOUND)[:36],
    "mu-law": wav(SOUND).replace(b"\x01\x00\x01\x00", b"\x07\x00\x01\x00", 1),
    "no channels": wav(SOUND).replace(b"\x01\x00\x01\x00", b"\x01\x00\x00\x00", 1),
    "picture": picture(RGB),
}


@everywhere
def test_wav_values(run):
    values, status = run(HEARD, [raw for raw, _ in SOUNDS])
    assert status.numpy().tolist() == [decode.OK] * len(SOUNDS)
    np.testing.assert_array_equal(values, np.array([wanted for _, wanted in SOUNDS]) / 32768)


@pytest.mark.parametrize("name", NO_SOUNDS)
def test_bytes_that_are_no_such_wav(name):
    found, status = one(HEARD, NO_SOUNDS[name])
    assert status == decode.UNREADABLE
    assert not found.any()


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_wav(kind, container):
    file = io.BytesIO()
    soundfile.write(file, RANDOM.uniform(-1, 1, (8, 2)), 8000, format=container, subtype=kind)
    expected, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    found, status = one(HEARD, file.getvalue())
    assert status == decode.OK
    np.testing.assert_allclose(found, expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(("kind", "off"), [("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_compressed_recordings_in_training_only(kind, off, tmp_path):
    feature, seconds = Audio(8000, 0.5), np.arange(8000) / 16000
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    soundfile.write(tmp_path / "tone", np.stack([tone, tone], axis=1), 16000, format=kind)
    raw = (tmp_path / "tone").read_bytes()
    (tmp_path / "cut").write_bytes(raw[:20])
    paths = tf.constant([str(tmp_path / "tone"), str(tmp_path / "cut")])
    values, status = decode.decoder(feature, files=True)(paths)
    assert status.numpy().tolist() == [decode.OK, decode.UNREADABLE]
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)
    np.testing.assert_allclose(values[0, 200:-200], expected[200:-200], atol=off)
    assert one(feature, raw)[1] == decode.UNREADABLE  # what a served graph is told


def test_other_chunks_and_streams():
    raw = wav(SOUND)
    note = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"  # an odd size, padded to an even one
    stream = raw[:40] + b"\xff" * 4 + raw[44:]
    for changed in (raw[:36] + note + raw[36:], stream, raw + note):
        np.testing.assert_array_equal(one(HEARD, changed)[0], SOUND / 32768)


@pytest.mark.parametrize(
    ("rate", "wanted"), [(44100, 16000), (48000, 8000), (8000, 16000), (11025, 8000), (16000, 44100)]
)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.92])
def test_resampling_error_is_below_a_thousandth(rate, wanted, share):
    hertz = share * min(rate, wanted) / 2
    wave = np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate + 0.3).astype("float32")
    found = resample(tf.constant(wave), tf.constant(rate), wanted).numpy()
    assert len(found) == round(len(wave) * wanted / rate)
    expected = np.sin(2 * np.pi * hertz * np.arange(len(found)) / wanted + 0.3)
    inside = slice(wanted // 50, -wanted // 50)
    assert np.abs(found - expected)[inside].max() < 1e-3


def test_resampling_removes_what_the_new_rate_cannot_hold():
    wave = np.sin(2 * np.pi * 4300 * np.arange(12000) / 48000).astype("float32")
    assert np.abs(resample(tf.constant(wave), tf.constant(48000), 8000).numpy())[200:-200].max() < 1e-3


def test_a_file_of_another_rate_is_resampled():
    feature, seconds = Audio(8000, 0.2), np.arange(4800) / 16000
    raw = wav((np.sin(2 * np.pi * 440 * seconds) * 30000).astype("<i2"), rate=16000)
    found, status = one(feature, raw)
    assert status == decode.OK
    expected = np.sin(2 * np.pi * 440 * np.arange(1600) / 8000) * 30000 / 32768
    np.testing.assert_allclose(found[100:], expected[100:], atol=1e-3)  # 0.3 s in the file: no edge at the end


GOOD = {SEEN: [picture(FLAT[n]) for n in (0, 1)], HEARD: [wav(SOUND), wav(SOUND[::-1])]}


@everywhere
@pytest.mark.parametrize("feature", GOOD, ids=["image", "audio"])
@pytest.mark.parametrize("order", ["axbxxa", "xx", ""])
def test_a_corrupt_row_costs_its_own_row_alone(run, feature, order):
    a, b = GOOD[feature]
    values, status = run(feature, [{"a": a, "b": b, "x": b"corrupt"}[which] for which in order])
    alone = {"a": one(feature, a)[0], "b": one(feature, b)[0], "x": np.zeros(feature.shape)}
    assert status.numpy().tolist() == [int(which == "x") for which in order]
    assert values.shape == (len(order), *feature.shape)
    np.testing.assert_array_equal(values, np.reshape([alone[which] for which in order], values.shape))


@pytest.mark.parametrize("feature", GOOD, ids=["image", "audio"])
def test_paths_instead_of_bytes(tmp_path, feature):
    (tmp_path / "a").write_bytes(GOOD[feature][0])
    values, status = decode.decoder(feature, files=True)(tf.constant([str(tmp_path / "a"), str(tmp_path / "no")]))
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
    assert decode.words([text, "end"]).tolist() == [*wanted, "end"]
    assert tf.strings.split(standardize(tf.constant(text))).numpy().tolist() == [w.encode() for w in wanted]


def test_words_of_nothing():
    assert decode.words([]).tolist() == []
    assert decode.words(np.array(["b a", "a"], dtype=object)).tolist() == ["b", "a", "a"]


@everywhere
def test_token_ids(run):
    texts = ["What's it, ÉLODIE?", "", "b b b b b b", "[UNK] what s", b"\xff b", "你好 b", b"b \xc3"]
    values, status = run(Text(4, ["whats", "élodie", "b", "你好"]), texts)
    assert values.dtype == "int32"
    assert values[:4].numpy().tolist() == [[2, 1, 3, 0], [0, 0, 0, 0], [4, 4, 4, 4], [1, 1, 1, 0]]
    assert values[5].numpy().tolist() == [5, 4, 0, 0]
    assert status.numpy().tolist() == [0, 0, 0, 0, 1, 0, 1]


@everywhere
def test_no_texts(run):
    values, status = run(Text(4, ["a"]), [])
    assert (values.shape, status.shape) == ((0, 4), (0,))
