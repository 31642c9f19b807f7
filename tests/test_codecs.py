"""Laws that every codec obeys; and that a kind of .npy files needs no codec of its own."""

import io
from dataclasses import dataclass, replace

import contracts
import numpy as np
import pytest
import tensorflow as tf

from mmkeras import decode
from mmkeras.bundle import examples
from mmkeras.decode import CODECS, NumbersCodec, codec_of, in_chunks
from mmkeras.decode.npy import decode_npy
from mmkeras.files import npy_bytes
from mmkeras.inputs import INPUTS, Input


@dataclass(frozen=True)
class Cloud(Input):
    """Points in space, padded."""

    points: int
    optional: bool = False
    padded = True
    files = True
    wire = "numbers"

    @property
    def shape(self):
        return (self.points, 3)


CLOUD = Cloud(4)
FEATURES = {**contracts.FEATURES, "cloud": CLOUD}
each = pytest.mark.parametrize("name", FEATURES)


@pytest.fixture(autouse=True)
def kind(monkeypatch):
    monkeypatch.setitem(INPUTS, "Cloud", Cloud)
    monkeypatch.setitem(CODECS, Cloud, NumbersCodec())


def request_of(name, *values):
    """The values as the tensors of a request."""
    codec = codec_of(FEATURES[name])
    found, spec = codec.batch(name, FEATURES[name], values), codec.wire_spec(name, FEATURES[name])
    assert list(found) == list(spec)
    return [tf.ensure_shape(tf.constant(found[key], one.dtype), one.shape) for key, one in spec.items()]


@each
def test_made_up_values_can_be_read_and_broken_ones_cannot(name):
    feature = FEATURES[name]
    codec = codec_of(feature)
    raw = request_of(name, codec.made_up(feature), codec.broken(feature))
    values, status, length = decode.decoder(feature)(*raw)
    assert (values.shape, values.dtype) == ((2, *feature.shape), feature.dtype)
    assert status.numpy().tolist() == [decode.OK, decode.UNREADABLE]
    assert codec.has_length(feature) == (length is not None)
    if feature.wire in ("bytes", "numbers"):
        assert not np.any(values[1])
    there = codec.there(feature, *raw).numpy().tolist()
    assert there == [True, True]
    assert not np.any(codec.too_large(feature, raw[0], tf.constant([False, True])))


@each
def test_samples_are_what_the_model_takes(name):
    feature = FEATURES[name]
    found = codec_of(feature).sample(feature, 6, np.random.default_rng(0))
    assert {suffix: (one.shape[1:], one.dtype) for suffix, one in found.items()} == feature.received
    values, lengths = found[""], found.get("_length")
    assert (values.shape, values.dtype) == ((6, *feature.shape), feature.dtype)
    assert feature.padded == (lengths is not None)
    if feature.padded:
        assert (lengths[0], lengths.dtype) == (feature.shape[0], "int32")
        assert len(set(lengths.tolist())) > 1
        assert not values[np.arange(feature.shape[0]) >= lengths[:, None]].any()


@each
def test_a_tf_example_holds_a_request(name):
    schema = contracts.small_schema({name: FEATURES[name]})
    codec = codec_of(FEATURES[name])
    raw = codec.batch(name, FEATURES[name], [codec.made_up(FEATURES[name]), codec.broken(FEATURES[name])])
    found, good = examples.raw_values(schema, tf.constant(examples.serialized(schema, raw)))
    assert good.numpy().all()
    for key, values in raw.items():
        expected = tf.constant(values, found[key].dtype)
        np.testing.assert_array_equal(found[key], expected)


@each
def test_the_card_names_it(name):
    feature = FEATURES[name]
    assert codec_of(feature).card(feature)
    assert all(line.endswith(".") for line in codec_of(feature).limits(feature))


@pytest.fixture
def clouds(tmp_path):
    points = np.random.default_rng(0).normal(size=(6, 3))
    files = {"some": points[:2], "many": points, "flat": points[:, :2], "none": points[:0], "nan": points * np.nan}
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    return points.astype("float32"), np.array([str(tmp_path / f"{name}.npy") for name in files], object)


def test_clouds_are_read_and_sent(clouds):
    points, paths = clouds
    (decoded,) = in_chunks(CLOUD, paths)
    assert decoded.status.tolist() == [0, 0, 1, 1, 1]
    assert decoded.length.tolist() == [2, 4, 0, 0, 0]
    np.testing.assert_array_equal(decoded.values[0], [*points[:2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(decoded.values[1], points[:4])
    assert not decoded.values[2:].any()
    codec = codec_of(CLOUD)
    sent = codec.sent(CLOUD, paths)
    assert [len(np.load(io.BytesIO(one))) for one in sent] == [2, 4, 6, 0, 6]  # as it is, what cannot be read
    again = decode.decoder(CLOUD)(*request_of("cloud", *sent))
    for new, old in zip(again, decoded, strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(codec.to_fit(CLOUD, paths, np.ones(5, int)), np.concatenate([points[:2], points[:4]]))


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (2, "expected an array (steps, 3), found (6, 2)"),
        (3, "found no steps"),
        (4, "found NaN at step 0"),
    ],
)
def test_what_is_wrong_with_a_cloud(clouds, at, reason):
    assert codec_of(CLOUD).reason(CLOUD, clouds[1][at]) == reason


def test_a_client_may_send_more_points_or_none(clouds):
    points, _ = clouds
    given = [npy_bytes(one) for one in (points, points[:1], points[:0], points.T, points[0])]
    values, status, length = decode.decoder(CLOUD)(tf.constant([*given, b"", given[0][:-1]]))
    assert status.numpy().tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert length.numpy().tolist() == [4, 1, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(values[0], points[:4])
    assert not values[2:].numpy().any()


@pytest.mark.parametrize(
    "dtype", ["f2", "f4", ">f4", "f8", ">f8", "i1", "i2", ">i4", "i8", "u1", "u2", "u4", "u8", "?"]
)
def test_npy_files_of_every_dtype_and_order(dtype):
    values = (np.arange(30) % 7).reshape(5, 3, 2).astype(dtype)
    for given in (values, np.asfortranarray(values), values[::-1]):
        for version in ((1, 0), (2, 0), (3, 0)):
            file = io.BytesIO()
            np.lib.format.write_array(file, given, version)
            found = decode_npy(tf.constant(file.getvalue()), (4, 3, 2))
            np.testing.assert_array_equal(found, given[:4].astype("float32"))
    row = npy_bytes(values[0, 0])
    np.testing.assert_array_equal(decode_npy(tf.constant(row), (9, 1)), values[0, 0].reshape(-1, 1).astype("float32"))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\0\xff\xff{}",
        b"1,2,3",
        *map(
            npy_bytes,
            (
                np.array(["a"]),
                np.zeros((4, 3), complex),
                np.zeros((4, 2)),
                np.zeros((4, 3, 1)),
                np.float64(3),
                np.zeros(3),
            ),
        ),
        npy_bytes(np.zeros((4, 3))).replace(b"(4, 3)", b"(9, 3)"),
        npy_bytes(np.zeros((4, 3))).replace(b"(4, 3)", b"(99999999999999999999, 3)"),
    ],
)
def test_bytes_that_are_no_npy_file_of_clouds(wrong):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_npy(tf.constant(wrong), (4, 3))
    assert decode.decoder(CLOUD)(tf.constant([wrong, npy_bytes(np.ones((2, 3)))])).status.numpy().tolist() == [1, 0]


def test_a_recording_is_kept_longer_than_it_is_heard():
    feature = replace(contracts.FEATURES["audio"], longest=0.3)
    codec = codec_of(feature)
    kept = codec.stored(feature)
    assert (kept.samples, kept.longest, codec.stored(kept)) == (1200, None, kept)
    waves = tf.tile(tf.range(1200.0)[None], [50, 1])
    length = tf.constant([1200] * 49 + [850])
    np.testing.assert_array_equal(codec.window(feature, waves, length), waves[:, :800])
    windows = codec.window(feature, waves, length, [1, 2]).numpy()
    np.testing.assert_array_equal(np.diff(windows), 1)
    assert 0 <= windows[:, 0].min() < windows[:, 0].max() <= 400
    assert windows[-1, 0] <= 50
