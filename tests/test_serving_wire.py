import io

import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.decode.audio import wav as decode_wav
from mmkeras.decode.image import decode_image
from mmkeras.serving.media import as_sent, wav
from mmkeras.serving.messages import MESSAGES, SERVICES, messages
from mmkeras.serving.over_grpc import NUMBERS, array, fill

pytest.importorskip("tensorflow_serving", reason="the official messages are in tensorflow-serving-api, not installed")
Image = pytest.importorskip("PIL.Image", reason="pictures are written with pillow, which is not installed")

from serving_double import as_proto_field  # noqa: E402

WAVE = np.linspace(-1, 1, 400).astype("float32")


def as_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_orientation(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    raw = (tmp_path / "a.jpg").read_bytes()
    assert as_sent(tmp_path / "a.jpg") == raw
    turned = tf.io.decode_image(as_sent(tmp_path / "a.jpg", rotate=True)).numpy()
    assert turned.shape == (16, 8, 3)
    assert turned[:6].min() > 200
    assert turned[10:].max() < 50
    sent = [raw, as_sent(Image.open(tmp_path / "a.jpg")), as_sent(raw, mk.Image(8, 8), rotate=True)]
    for feature in (mk.Image(16, 8), mk.Image(8, 16, upright=False)):  # turned once, or not at all
        file, image, rotated = (decode_image(tf.constant(one), feature).numpy() for one in sent)
        np.testing.assert_allclose(image.astype(int), file, rtol=0, atol=8)
        assert feature.upright is bool((abs(rotated.astype(int) - file) <= 8).all())
    deep = Image.frombytes("I;16B", (16, 8), np.full((8, 16), 4000, ">u2").tobytes())
    assert decode_image(tf.constant(as_sent(deep)), mk.Image(8, 16, 1, bits=12)).numpy().min() == 250
    assert as_sent(b"\xff\xd8 no JPEG", rotate=True) == b"\xff\xd8 no JPEG"
    assert as_sent(as_png(pixels), rotate=True) == as_png(pixels)
    cmyk = Image.fromarray(pixels).convert("CMYK")
    np.testing.assert_array_equal(tf.io.decode_image(as_sent(cmyk)), pixels)


@pytest.mark.parametrize("samples", [WAVE, np.stack([WAVE, -WAVE], 1), (WAVE * 32767).astype(np.int16)])
def test_recordings_are_read_as_they_were(samples):
    found, rate = decode_wav(tf.constant(wav(np.int64(16000), samples)))
    scaled = samples / (32768 if samples.dtype == np.int16 else 1)
    assert int(rate) == 16000
    np.testing.assert_array_equal(found, scaled.reshape(len(samples), -1).astype("float32"))


def test_messages_are_the_official_ones():
    from google.protobuf import any_pb2, wrappers_pb2
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_pb2,
        model_service_pb2,
        predict_pb2,
        prediction_service_pb2,
        status_pb2,
    )

    modules = [any_pb2, wrappers_pb2, tensor_pb2, tensor_shape_pb2, meta_graph_pb2, get_model_metadata_pb2]
    modules += [get_model_status_pb2, model_pb2, predict_pb2, status_pb2]
    official = {name: getattr(module, name) for module in modules for name in MESSAGES if hasattr(module, name)}
    official["Dim"] = tensor_shape_pb2.TensorShapeProto.Dim
    assert sorted(official) == sorted(MESSAGES)
    for name, fields in MESSAGES.items():
        for field, (number, kind) in fields.items():
            assert described(official[name].DESCRIPTOR.fields_by_name[field]) == (number, kind), (name, field)
    for name, path in SERVICES.items():
        service = (model_service_pb2 if name == "GetModelStatus" else prediction_service_pb2).DESCRIPTOR
        methods = [m.full_name for one in service.services_by_name.values() for m in one.methods]
        assert path[1:].replace("/", ".") in methods


@pytest.mark.parametrize("dtype", [*sorted(NUMBERS)])
def test_tensors_are_read_as_tensorflow_reads_them(dtype):
    values = np.array([[1, 0, 1], [0, 0, 0]], object if dtype == "string" else dtype)
    if dtype == "string":
        values[:] = [["a", "é", ""], ["b", "", "c"]]
    mine = messages().TensorProto()
    fill(mine, values)
    official = tf.make_tensor_proto(values)
    theirs = type(official).FromString(mine.SerializeToString())
    expected = tf.make_ndarray(official)
    np.testing.assert_array_equal(tf.make_ndarray(theirs), expected)
    for sent in (official, as_proto_field(expected)):
        found = array(messages().TensorProto.FromString(sent.SerializeToString()))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_the_last_value_stands_for_those_that_are_missing():
    official = type(tf.make_tensor_proto(1.0))(dtype=1, float_val=[1, 2])
    official.tensor_shape.dim.add(size=4)
    found = array(messages().TensorProto.FromString(official.SerializeToString()))
    assert found.tolist() == tf.make_ndarray(official).tolist() == [1, 2, 2, 2]


def described(field):
    """Number and type of an official field, as `MESSAGES` writes them."""
    scalars = {2: "float", 1: "double", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}
    scalars |= {13: "uint32", 14: "int32"}
    if field.message_type and field.message_type.GetOptions().map_entry:
        return field.number, f"map {field.message_type.fields_by_name['value'].message_type.name}"
    kind = field.message_type.name if field.message_type else scalars[field.type]
    return field.number, "*" * field.is_repeated + kind
