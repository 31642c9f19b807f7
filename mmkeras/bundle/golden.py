"""A batch of raw values with the answers that they got, and the requests that warm a server up."""

import base64
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mmkeras import decode
from mmkeras.bundle.signatures import raw_inputs
from mmkeras.schema import Audio, Image, Series, Tabular, Text

ROWS = 8  # most real rows
TOLERANCE, ON_GPU = 1e-5, 1e-2  # of floats, on other machines and versions; a GPU multiplies with 10 bits (TF32)
# one black pixel, of which any size is made
GIF = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"


@dataclass(frozen=True)
class Golden:
    """A request to "serving_default" and its answers, both dicts of name -> array."""

    inputs: dict
    outputs: dict

    def as_json(self):
        """Plain values, as TensorFlow Serving's REST API takes and gives them: bytes that are no text in base64."""
        return {
            "signature_name": "serving_default",
            "inputs": {name: _plain(values) for name, values in self.inputs.items()},
            "outputs": {name: _plain(values) for name, values in self.outputs.items()},
            "tolerance": ON_GPU if tf.config.list_physical_devices("GPU") else TOLERANCE,
        }


def golden_batch(serve, schema, records=None):
    """Rows that can be answered, one made up of the schema alone, and one that cannot be read.

    Args:
        serve: function of "serving_default", of a list of tensors.
        schema: fitted `Schema`.
        records: `Records` whose first rows are taken, those among them that the graph can read (it reads fewer kinds
            of files than training does); None: none.
    """
    rows = [] if records is None else _real(serve, schema, records)
    rows += [
        {name: _made_up(feature) for name, feature in schema.inputs.items()},
        {name: _broken(feature) for name, feature in schema.inputs.items()},
    ]
    return Golden(*_ask(serve, schema, rows))


def _ask(serve, schema, rows):
    inputs = _columns(schema, rows)
    outputs = serve(*[tf.constant(inputs[key], spec.dtype) for key, spec in raw_inputs(schema).items()])
    return inputs, {name: value.numpy() for name, value in sorted(outputs.items())}


def _real(serve, schema, records):
    """Up to `ROWS` rows that are answered."""
    some = records.take(np.arange(min(len(records), 4 * ROWS)))
    columns = [_sent(feature, some.values(name)) for name, feature in schema.inputs.items()]
    rows = [dict(zip(schema.inputs, values, strict=True)) for values in zip(*columns, strict=True)]
    status = _ask(serve, schema, rows)[1]["status"] if rows else []
    return [row for row, code in zip(rows, status, strict=True) if code == decode.OK][:ROWS]


def _sent(feature, cells):
    """What a client sends for cells of the table: a list."""
    if isinstance(feature, Series):
        read = decode.decoder(feature, files=True)(tf.constant(cells, tf.string))
        return [values[:length] for values, length in zip(read.values.numpy(), read.length.numpy(), strict=True)]
    if feature.files:
        return [b"" if not cell or tf.io.gfile.isdir(cell) else tf.io.read_file(cell).numpy() for cell in cells]
    return cells.tolist()


def _made_up(feature):
    """A value that can be read."""
    if isinstance(feature, Image):
        pixels = np.random.default_rng(0).integers(0, 256, feature.shape, np.uint8)
        return tf.io.encode_png(pixels).numpy()
    if isinstance(feature, Audio):
        time = np.arange(feature.samples, dtype=np.float32) / feature.rate
        return tf.audio.encode_wav(np.sin(2 * np.pi * 440 * time)[:, None] / 2, feature.rate).numpy()
    if isinstance(feature, Text):
        return " ".join(feature.vocabulary[: feature.length])
    if isinstance(feature, Series):
        return np.tile(np.float32(feature.means), (feature.length, 1))
    if isinstance(feature, Tabular):
        return [str(mean) for mean in feature.means] + [words[0] if words else "" for words in feature.vocabularies]
    return GIF


def _broken(feature):
    """A value that cannot be read; a series without steps."""
    if isinstance(feature, Series):
        return np.zeros((0, feature.channels), np.float32)
    if isinstance(feature, Tabular):
        return ["no number"] * len(feature.columns)
    return b"\xff\xfe broken"


def _columns(schema, rows):
    """Rows as a request: dict of key -> array."""
    inputs = {}
    for name, feature in schema.inputs.items():
        values = [row[name] for row in rows]
        if isinstance(feature, Series):
            longest = max(map(len, values))
            padded = [np.pad(value, [(0, longest - len(value)), (0, 0)]) for value in values]
            inputs[name] = np.asarray(padded, np.float32)
            inputs[f"{name}_length"] = np.asarray([len(value) for value in values], np.int32)
        else:
            inputs[name] = np.asarray(values, object)
    return inputs


def _plain(values):
    if values.dtype != object:
        return values.tolist()
    return [_text(value) if isinstance(value, (str, bytes)) else _plain(value) for value in values]


def write_warm_up(path, golden, name):
    """Write the requests that TensorFlow Serving replays when it has loaded a version: of one row, and of all.

    They are a TFRecord of `tensorflow.serving.PredictionLog` (prediction_log.proto), of which the few fields in use are
    written here: its Python package is bound to one version of TensorFlow, and an export must not be.

    Args:
        path: of the file.
        golden: `Golden`.
        name: of the model.
    """
    with tf.io.TFRecordWriter(str(path)) as file:
        for rows in (1, len(golden.outputs["status"])):
            file.write(_prediction_log(name, {key: values[:rows] for key, values in golden.inputs.items()}))


def _prediction_log(name, inputs):
    model = _field(1, name.encode()) + _field(3, b"serving_default")
    request = _field(1, model)
    for key, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString(deterministic=True)
        request += _field(2, _field(1, key.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # PredictionLog.predict_log.request


def _field(number, content):
    """A field of bytes in protobuf's wire format."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number):
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _text(value):
    """A string for JSON: as it is, or in base64 if it is no text."""
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
