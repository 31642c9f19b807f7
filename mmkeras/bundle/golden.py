"""A batch of raw values with the answers that they got, and the requests that warm a server up."""

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmkeras import decode
from mmkeras.bundle import examples
from mmkeras.bundle.answers import answers
from mmkeras.bundle.signatures import raw_inputs
from mmkeras.decode import codec_of
from mmkeras.errors import InputError
from mmkeras.pipeline import batches
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.tasks import tasks_of

ROWS = 8  # most real rows
TOLERANCE, ON_GPU = 1e-5, 1e-2  # of floats, on other machines and versions; a GPU multiplies with 10 bits (TF32)


@dataclass(frozen=True)
class Golden:
    """A request to "serving_default" and its answers, both dicts of name -> array."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]

    def as_json(self) -> dict[str, Any]:
        """Plain values, as TensorFlow Serving's REST API takes and gives them: bytes that are no text in base64."""
        return {
            "signature_name": "serving_default",
            "inputs": {name: plain(values) for name, values in self.inputs.items()},
            "outputs": {name: plain(values) for name, values in self.outputs.items()},
            "tolerance": _tolerance(),
        }


def golden_batch(
    serve: Callable[..., dict[str, tf.Tensor]], schema: Schema, model: keras.Model, records: Records | None = None
) -> Golden:
    """Rows that can be answered, one made up of the schema alone, the same without each input that is optional or
    padded, and one that cannot be read.

    Args:
        serve: function of "serving_default", of a list of tensors.
        schema: fitted `Schema`.
        model: `keras.Model` that is exported.
        records: `Records` whose first rows are taken, those among them that the graph can read (it reads fewer kinds
            of files than training does); None: none.

    Raises:
        InputError: answers that are no finite numbers, or to rows of the records others than the model's own.
    """
    rows = [] if records is None else _real(serve, schema, model, records)
    made_up = {name: codec_of(feature).made_up(feature) for name, feature in schema.inputs.items()}
    rows += [made_up, *({**made_up, name: value} for name, value in _missing(schema).items())]
    rows.append({name: codec_of(feature).broken(feature) for name, feature in schema.inputs.items()})
    golden = Golden(*_ask(serve, schema, rows))
    for name, values in golden.outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"export: the model's {name!r} is no finite number; do its weights hold NaN?")
    return golden


def _missing(schema):
    """What is sent where an input is missing, of each that is optional or padded: dict of name -> value."""
    found = {}
    for name, feature in schema.inputs.items():
        if feature.optional or feature.padded:
            cells = np.full((1, len(schema.columns(name))) if feature.several else 1, "", object)
            (found[name],) = codec_of(feature).sent(feature, cells)
    return found


def _ask(serve, schema, rows):
    inputs = _columns(schema, rows)
    outputs = serve(*[tf.constant(inputs[key], spec.dtype) for key, spec in raw_inputs(schema).items()])
    return inputs, {name: value.numpy() for name, value in sorted(outputs.items())}


def _real(serve, schema, model, records):
    """Up to `ROWS` rows that are answered, as the model itself answers what the pipeline makes of them."""
    some = records.take(np.arange(min(len(records), 4 * ROWS)))
    columns = [codec_of(part).sent(part, some.allowed(name)) for name, part in schema.inputs.items()]
    rows = [dict(zip(schema.inputs, values, strict=True)) for values in zip(*columns, strict=True)]
    found = _ask(serve, schema, rows)[1] if rows else {"status": np.zeros(0)}
    answered = np.flatnonzero(found["status"] == decode.OK)[:ROWS]
    for x in batches(some.take(answered), ROWS, targets=False) if len(answered) else ():
        own = answers(schema, tasks_of(model, schema), model([x[key] for key in schema.model_inputs], training=False))
        for name, values in own.items():
            if values.dtype.is_floating:
                _check_equal(name, found[name][answered], values.numpy())
    return [rows[row] for row in answered]


def _check_equal(name, served, own):
    difference = np.abs(served - own).max() / max(1.0, np.abs(own).max())
    if not difference <= 10 * _tolerance():
        raise InputError(f"export: {name!r} of the exported graph differs from the model's own by {difference:.1e}")


def _tolerance():
    return ON_GPU if tf.config.list_physical_devices("GPU") else TOLERANCE


def _columns(schema, rows):
    """Rows as a request: dict of key -> array."""
    inputs = {}
    for name, feature in schema.inputs.items():
        inputs |= codec_of(feature).batch(name, feature, [row[name] for row in rows])
    return inputs


def plain(values: np.ndarray) -> list:
    """An array as JSON takes it: bytes that are no text in base64, as TensorFlow Serving's REST API has it."""
    if values.dtype != object:
        return values.tolist()
    return [_text(value) if isinstance(value, (str, bytes)) else plain(value) for value in values]


def write_warm_up(
    path: str | os.PathLike, golden: Golden, schema: Schema, name: str, methods: Mapping[str, str]
) -> None:
    """Write the requests that TensorFlow Serving replays when it has loaded a version.

    Every signature is asked for a row that is answered and for one that cannot be read, each by itself: its first call
    takes seconds, and the way of unreadable values does once more; and the server refuses a request of more rows than
    its `max_batch_size`, and with it the version. The file is a TFRecord of `tensorflow.serving.PredictionLog`
    (prediction_log.proto), of which the few fields in use are written here: its Python package is bound to one version
    of TensorFlow, and an export must not be.

    Args:
        path: of the file.
        golden: `Golden`.
        schema: fitted `Schema`.
        name: of the model.
        methods: dict of signature -> the API that it is for: "predict", "classify" or "regress".
    """
    status = golden.outputs["status"]
    serialized = examples.serialized(schema, golden.inputs)
    with tf.io.TFRecordWriter(str(path)) as file:
        for row in (int(np.argmin(status)), len(status) - 1):  # the last one is broken
            one = {key: values[row : row + 1] for key, values in golden.inputs.items()}
            for signature, method in methods.items():
                if method != "predict":
                    file.write(_example_log(name, signature, method, serialized[row]))
                elif signature == "tensors":
                    file.write(_prediction_log(name, signature, _sample(schema)))
                elif signature == "examples":
                    file.write(_prediction_log(name, signature, {"inputs": np.array([serialized[row]], object)}))
                else:
                    file.write(_prediction_log(name, signature, one))


def _sample(schema):
    """A row as the model takes it: dict of key -> array."""
    found: dict[str, np.ndarray] = {}
    for name, feature in schema.inputs.items():
        made = codec_of(feature).sample(feature, 1, np.random.default_rng(0))
        found |= {name + suffix: made.get(suffix, np.ones(1, bool)) for suffix in feature.received}
    return found


def _prediction_log(name, signature, inputs):
    request = _model_spec(name, signature)
    for key, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString(deterministic=True)
        request += _field(2, _field(1, key.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # PredictionLog.predict_log.request


def _example_log(name, signature, method, example):
    """A request of one tf.Example to the Classify or the Regress API."""
    request = _model_spec(name, signature) + _field(2, _field(1, _field(1, example)))  # input.example_list.examples
    return _field({"classify": 2, "regress": 3}[method], _field(1, request))  # PredictionLog.classify_log.request


def _model_spec(name, signature):
    return _field(1, _field(1, name.encode()) + _field(3, signature.encode()))


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
