"""Recordings: every kind of file, trimming and fading; and which library reads what."""

import dataclasses
import functools
import io
import resource
import subprocess
import sys
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from mmkeras import decode
from mmkeras.decode._backends import backends, waveform_ops
from mmkeras.decode.audio import any_file, decode_audio, wav
from mmkeras.errors import InputError
from mmkeras.schema import Audio

RANDOM = np.random.default_rng(0)
HEARD = Audio(8000, 0.001)
SCALAR = [tf.TensorSpec([], tf.string)]


def pcm(samples, rate=8000, channels=1):
    """The bytes of a WAV file of 16 bits; float samples are of full scale at 1."""
    samples = np.asarray(samples)
    samples = np.round(samples * 32768).astype("<i2") if samples.dtype.kind == "f" else samples
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())
    return file.getvalue()


def written(samples, rate, kind, subtype=None):
    """The bytes of a file as soundfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def tone(count, rate, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(count) / rate)


@functools.cache
def compiled(feature, read=wav):
    return tf.function(lambda raw: decode_audio(raw, feature, read), input_signature=SCALAR, autograph=False)


def eagerly(feature, raw):
    return decode_audio(tf.constant(raw), feature)


def in_function(feature, raw):
    return compiled(feature)(tf.constant(raw))


def in_data(feature, raw):
    decode = functools.partial(decode_audio, feature=feature)
    return tf.data.Dataset.from_tensors(raw).map(decode).get_single_element()


everywhere = pytest.mark.parametrize("run", [eagerly, in_function, in_data])


def one(feature, raw, read=wav):
    """The samples and their length as numpy's."""
    values, length = compiled(feature, read)(tf.constant(raw))
    assert (values.shape, values.dtype) == (feature.shape, feature.dtype)
    assert (length.shape, length.dtype) == ((), tf.int32)
    assert not values[int(length) :].numpy().any()
    return values.numpy(), int(length)


SOUND = np.array([0, 1, -1, 32767, -32768, 100, -100, 5], "<i2")
SOUNDS = {
    "as long as wanted": (pcm(SOUND), SOUND, 8),
    "short": (pcm(SOUND[:3]), [0, 1, -1, 0, 0, 0, 0, 0], 3),
    "long": (pcm(np.concatenate([SOUND, SOUND])), SOUND, 8),
    "stereo": (pcm(np.repeat(SOUND, 2), channels=2), SOUND, 8),
    "short stereo": (pcm(SOUND[:6], channels=2), [0.5, 16383, -16334, 0, 0, 0, 0, 0], 3),
    "half a sample of stereo": (pcm(SOUND[:0], channels=2)[:40] + b"\2\0\0\0\1\1", [0] * 8, 0),
}
NO_SOUNDS = {
    "empty": b"",
    "junk": b"junk",
    "cut": pcm(SOUND)[:50],
    "cut in its header": pcm(SOUND)[:30],
    "no data": pcm(SOUND)[:36],
    "mu-law": pcm(SOUND).replace(b"\x01\x00\x01\x00", b"\x07\x00\x01\x00", 1),
    "no channels": pcm(SOUND).replace(b"\x01\x00\x01\x00", b"\x01\x00\x00\x00", 1),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "FLAC": written(tone(100, 8000), 8000, "FLAC"),
    "not a number": written(np.array([0, np.nan]), 8000, "WAV", "FLOAT"),
    "infinity": written(np.array([0, -np.inf]), 8000, "WAV", "DOUBLE"),
    "not a number after the window": written(np.append(np.zeros(5000), np.nan), 8000, "WAV", "FLOAT"),
    "not a number, of another rate": written(np.append(np.zeros(500), np.nan), 44100, "WAV", "FLOAT"),
    "infinity in single precision": written(np.array([1e300, 0]), 8000, "WAV", "DOUBLE"),
    "infinite mean": written(np.full((9, 2), 3e38), 8000, "WAV", "FLOAT"),
    "infinite sums": written(np.full(500, 3e38), 44100, "WAV", "FLOAT"),
}


@everywhere
@pytest.mark.parametrize("name", SOUNDS)
def test_wav_values(run, name):
    raw, wanted, count = SOUNDS[name]
    values, length = run(HEARD, raw)
    assert length == count
    np.testing.assert_array_equal(values, np.array(wanted) / 32768)


@everywhere
@pytest.mark.parametrize("name", NO_SOUNDS)
def test_bytes_that_are_no_such_wav(run, name):
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(HEARD, NO_SOUNDS[name])


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_wav(kind, container):
    raw = written(RANDOM.uniform(-1, 1, (8, 2)), 8000, container, kind)
    expected, _ = soundfile.read(io.BytesIO(raw), dtype="float32")
    np.testing.assert_allclose(one(HEARD, raw)[0], expected.mean(axis=1), atol=1e-7)


def test_other_chunks_and_streams():
    raw = pcm(SOUND)
    note = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"  # an odd size, padded to an even one
    stream = raw[:40] + b"\xff" * 4 + raw[44:]
    for changed in (raw[:36] + note + raw[36:], stream, raw + note):
        np.testing.assert_array_equal(one(HEARD, changed)[0], SOUND / 32768)


COMPRESSED = {
    "FLAC, 16 bits": ("FLAC", "PCM_16", 1e-4),
    "FLAC, 24 bits": ("FLAC", "PCM_24", 1e-6),
    "Vorbis": ("OGG", "VORBIS", 0.05),
    "Opus": ("OGG", "OPUS", 0.05),
    "MP3": ("MP3", None, 0.08),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_recordings_in_training_only(name):
    kind, subtype, off = COMPRESSED[name]
    raw = written(np.stack([tone(8000, 8000)] * 2, axis=1), 8000, kind, subtype)
    values, length = one(Audio(8000, 2.0), raw, any_file)
    assert length == 8000
    np.testing.assert_allclose(values[200:7800], tone(8000, 8000)[200:-200], atol=off)
    with pytest.raises(tf.errors.InvalidArgumentError):
        one(HEARD, raw)


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_corrupt_compressed_row_costs_itself_alone(name):
    kind, subtype, _ = COMPRESSED[name]
    raw = written(tone(8000, 8000), 8000, kind, subtype)
    rows = [raw, raw[:20], b"", b"junk", raw[:4] + bytes(500), raw]
    decode = functools.partial(decode_audio, feature=HEARD, read=any_file)
    found = list(tf.data.Dataset.from_tensor_slices(rows).map(decode).ignore_errors())
    assert [int(length) for _, length in found] == [8, 8]


def test_a_recording_that_is_not_finite_costs_itself_alone():
    sound = pcm(SOUND)
    rows = [sound, *(NO_SOUNDS[name] for name in ("not a number", "infinity")), sound]
    rows += [written(np.array([0, np.nan]), 8000, kind, "FLOAT") for kind in ("AIFF", "CAF")]
    rows += [written(np.array([0, 1.0]), 8000, "AIFF", "FLOAT")]
    decode = functools.partial(decode_audio, feature=HEARD, read=any_file)
    found = list(tf.data.Dataset.from_tensor_slices(rows).map(decode).ignore_errors())
    assert [int(length) for _, length in found] == [8, 8, 2]


@pytest.mark.parametrize("samples", [24096, 2**32 - 1])
def test_a_flac_that_announces_more_than_it_holds_is_an_error(samples):
    raw = written(RANDOM.uniform(-1, 1, 20000), 8000, "FLAC")
    with pytest.raises(tf.errors.OpError):
        one(HEARD, raw[:22] + samples.to_bytes(4, "big") + raw[26:], any_file)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_the_native_decoders_give_the_same_samples(kind):
    """What the docstring of backends() says of them, where they load."""
    audio = waveform_ops()
    decode = {"FLAC": functools.partial(audio.decode_flac, dtype=tf.int16)}
    decode = {**decode, "OGG": audio.decode_vorbis, "MP3": audio.decode_mp3}[kind]
    raw = written(np.stack([tone(8000, 16000), tone(8000, 16000, 300)], axis=1), 16000, kind)
    try:
        found = decode(raw).numpy()
    except NotImplementedError:
        pytest.skip("the native ops of the installed tensorflow-io are made for another TensorFlow")
    expected, _ = soundfile.read(io.BytesIO(raw), dtype="float32")
    found = found / np.float32(32768) if kind == "FLAC" else found
    np.testing.assert_allclose(found, expected, rtol=0, atol={"FLAC": 0, "OGG": 3e-7, "MP3": 2e-6}[kind])


def test_backends():
    found = backends()
    assert list(found) == ["WAV", "FLAC", "OGG", "MP3", "JPEG", "PNG", "GIF", "BMP", "WebP", "MP4", "npy", "csv"]
    assert {found[name] for name in ("WAV", "JPEG", "PNG", "GIF", "BMP")} == {"tensorflow"}
    assert {found[name] for name in ("FLAC", "OGG", "MP3")} == {"soundfile"}
    assert (found["npy"], found["csv"]) == ("numpy", "pandas")


def test_whether_webp_is_read_is_tried():
    file = io.BytesIO()
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(file, "WEBP", lossless=True)
    try:
        tf.io.decode_image(file.getvalue())
    except tf.errors.InvalidArgumentError:
        assert backends()["WebP"] is None
    else:
        assert backends()["WebP"] == "tensorflow"


def test_mp4_takes_av(monkeypatch):
    for installed, wanted in ((object(), "av"), (None, None)):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, installed=installed: installed)
        assert backends()["MP4"] == wanted


LOUD = np.array([0.5, -0.25, 0.125, 0.75])


def trimmed(samples, threshold=0.1, **options):
    return one(Audio(8000, 0.001, trim=threshold), pcm(samples, **options))


@everywhere
def test_trimming_cuts_silence_from_both_ends(run):
    quiet = np.array([0.0625, -0.0625, 0])
    raw = pcm(np.concatenate([quiet, LOUD, quiet[::-1]]))
    values, length = run(Audio(8000, 0.001, trim=0.1), raw)
    assert length == 4
    np.testing.assert_array_equal(values, [*LOUD, 0, 0, 0, 0])
    assert run(Audio(8000, 0.001), raw)[1] == 8


def test_trimming_goes_by_the_absolute_value():
    values, length = trimmed([0.0, -0.5, 0.0, 0.5, 0.0, -0.25, 0.0])
    assert length == 5
    assert values[:5].tolist() == [-0.5, 0, 0.5, 0, -0.25]


def test_trimming_keeps_what_is_louder_not_what_is_as_loud():
    assert trimmed([0.125, 0.25, 0.0, 0.25, 0.125], threshold=0.125)[1] == 3


def test_trimming_hears_the_mean_of_the_channels():
    values, length = trimmed([0.5, -0.5, 0.25, 0.25, 0.5, -0.5], channels=2)
    assert (values[0], length) == (0.25, 1)


@everywhere
@pytest.mark.parametrize("rate", [8000, 16000, 4000])
@pytest.mark.parametrize("count", [1, 3000])
@pytest.mark.parametrize("fade", [None, 0.01])
def test_a_recording_of_silence_alone(run, rate, count, fade):
    values, length = run(Audio(8000, 0.01, trim=0.1, fade=fade), pcm(np.full(count, 0.01), rate))
    assert length == 0
    assert values.shape == (80,)
    assert not values.numpy().any()


def test_half_a_sample_of_stereo_is_silence():
    assert one(Audio(8000, 0.001, trim=0.1, fade=0.1), SOUNDS["half a sample of stereo"][0])[1] == 0


@pytest.mark.parametrize("read", [wav, any_file])
def test_leading_silence_does_not_eat_the_window(read):
    samples = np.concatenate([np.zeros(80000), 0.5 + tone(4000, 16000) / 2, np.zeros(100)])
    values, length = one(Audio(8000, 0.5, trim=0.1), pcm(samples, 16000), read)
    assert length == 2000
    np.testing.assert_allclose(values[100:1900], 0.5 + tone(2000, 8000)[100:-100] / 2, atol=1e-3)


@everywhere
def test_fading_rises_and_falls_in_a_line(run):
    values, length = run(Audio(8000, 0.0015, fade=5 / 8000), pcm(np.full(12, 0.5)))
    assert length == 12
    np.testing.assert_allclose(values * 8, [0, 1, 2, 3, 4, 4, 4, 4, 3, 2, 1, 0], atol=1e-6)


def test_fading_follows_trimming():
    raw = pcm(np.concatenate([np.zeros(50), np.full(8, 0.5), np.zeros(50)]))
    values, length = one(Audio(8000, 0.01, trim=0.1, fade=3 / 8000), raw)
    assert length == 8
    np.testing.assert_allclose(values[:8] * 4, [0, 1, 2, 2, 2, 2, 1, 0], atol=1e-6)


@pytest.mark.parametrize(("count", "wanted"), [(1, [2]), (2, [0, 2]), (4, [0, 2, 2, 0]), (6, [0, 1, 2, 2, 1, 0])])
def test_a_recording_shorter_than_its_fading(count, wanted):
    values, length = one(Audio(8000, 0.001, fade=1e9), pcm(np.full(count, 0.5)))
    assert length == count
    np.testing.assert_allclose(values[:count] * 4, wanted, atol=1e-6)


def test_fading_is_of_the_recording_not_of_the_window():
    raw = pcm(np.full(1600, 0.5))
    values, length = one(Audio(8000, 0.1, fade=0.05), raw)
    assert length == 800
    np.testing.assert_allclose(values[:400], np.linspace(0, 0.5, 400), atol=1e-6)
    assert (values[400:] == 0.5).all()
    raw = pcm(np.full(3200, 0.5), 16000)
    np.testing.assert_allclose(one(Audio(8000, 0.1, fade=0.05), raw)[0], values, atol=2e-3)  # seconds, at any rate


@pytest.mark.parametrize("options", [{}, {"trim": 0.1}, {"fade": 0.02}, {"trim": 0.1, "fade": 0.02}])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 4000])
def test_a_longer_window_begins_as_a_shorter_one(rate, options):
    raw = pcm(np.concatenate([np.zeros(rate // 20), 0.5 + tone(rate, rate) / 2, np.zeros(rate // 20)]), rate)
    short = Audio(8000, 0.2, longest=0.7, **options)
    long = dataclasses.replace(short, seconds=short.longest, longest=None)
    values, length = one(long, raw)
    assert length == 5600
    np.testing.assert_allclose(values[:1600], one(short, raw)[0], atol=1e-6)


def test_the_exported_graph_holds_stock_ops_alone(tmp_path):
    feature = Audio(8000, 0.01, trim=0.1, fade=0.001)
    module = tf.Module()
    module.decode = compiled(feature)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    raw = pcm(np.concatenate([np.zeros(500), tone(80, 16000, 1000)]), 16000)
    (tmp_path / "raw").write_bytes(raw)
    code = """
import sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
proto = saved_model_pb2.SavedModel.FromString(open("saved/saved_model.pb", "rb").read())
graph = proto.meta_graphs[0].graph_def
ops = {node.op for node in graph.node} | {node.op for part in graph.library.function for node in part.node_def}
own = {function.signature.name for function in graph.library.function}
assert {"ArgMax", "ReverseV2", "DecodeRaw"} <= ops, sorted(ops)
assert not [op for op in ops - own if op_def_registry.get(op) is None]
values, length = tf.saved_model.load("saved").decode(tf.constant(open("raw", "rb").read()))
assert "tensorflow_io" not in sys.modules
print(int(length), *values.numpy())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    length, *found = map(float, done.stdout.split())
    values, count = one(feature, raw)
    assert length == count > 0
    np.testing.assert_allclose(found, values, atol=1e-6)


def test_tensorflow_io_is_imported_late_and_without_warnings():
    code = """
import sys, warnings
import tensorflow as tf
from mmkeras import decode
from mmkeras.decode._backends import backends
from mmkeras.decode.audio import any_file, decode_audio
from mmkeras.schema import Audio
backends()
raw = tf.constant(sys.stdin.buffer.read())
decode_audio(raw, Audio(8000, 0.1), any_file)
assert "tensorflow_io" not in sys.modules
warnings.simplefilter("error")
decode_audio(raw, Audio(8000, 0.1, trim=0.1))
assert "tensorflow_io" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], input=pcm(SOUND), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    assert b"unable to load" not in done.stderr


@pytest.mark.parametrize("run", [eagerly, in_function])
@pytest.mark.parametrize("options", [{"trim": 0.1}, {"fade": 0.1}])
def test_without_tensorflow_io(run, options, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    waveform_ops.cache_clear()
    compiled.cache_clear()
    with pytest.raises(InputError, match="need the package tensorflow-io"):
        run(Audio(8000, 0.1, **options), pcm(SOUND))
    waveform_ops.cache_clear()
    compiled.cache_clear()


def test_a_rate_beyond_all_bounds_takes_no_memory():
    raw = bytearray(pcm(np.zeros(2400)))
    raw[24:28] = (2_884_989_275).to_bytes(4, "little")  # more than 32 bits with a sign hold
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decoder = decode.decoder(Audio(8000, 0.3))
    status = tf.function(lambda raw: decoder(raw).status, autograph=False)(tf.constant([bytes(raw)]))
    assert status.numpy().tolist() == [decode.UNREADABLE]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes; 5.7 GB were seen
