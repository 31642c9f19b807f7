"""Requests that TensorFlow Serving replays before it serves."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from . import Skip
from .golden import Arrays
from .signatures import check_finite

MOST_WARM_UPS = 1000  # TensorFlow Serving refuses more
MOST_BYTES, MOST_VALUES = 256 * 2**20, 2**27  # of all requests; of one tensor, which may repeat one value


def check_warm_up(bundle: str, answer: Callable[[str, Arrays], Arrays]) -> str:
    """Each request of TensorFlow Serving's Predict, Classify and Regress APIs gives finite numbers."""
    path = Path(bundle) / "assets.extra" / "tf_serving_warmup_requests"
    if not path.exists():
        raise Skip(f"there is no {path.name}")
    if path.stat().st_size > MOST_BYTES:
        raise AssertionError(f"expected at most {MOST_BYTES:,} bytes, received {path.stat().st_size:,}")
    logs = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    if len(logs) > MOST_WARM_UPS:
        raise AssertionError(f"TensorFlow Serving takes at most {MOST_WARM_UPS} requests; here are {len(logs)}")
    requests = [request for request in map(predict_request, logs) if request]
    for name, values in requests:
        check_finite(answer(name, values))
    others = f"; {len(logs) - len(requests)} of other APIs were not replayed" if len(requests) < len(logs) else ""
    if not requests:
        raise Skip(f"no request of the Predict, Classify and Regress APIs{others}")
    signatures = ", ".join(sorted({name for name, _ in requests}))
    return f"{len(requests)} request{'s' * (len(requests) != 1)} to {signatures}{others}"


def predict_request(log: bytes) -> "tuple[str, Arrays] | None":
    """A serialised tensorflow.serving.PredictionLog as the signature's name and its inputs; None: of another API.

    Its few fields are read by hand: the messages are in tensorflow-serving-api, the tensors in TensorFlow.
    """
    request = _field(_field(log, 6), 1)  # PredictionLog.predict_log.request
    if not request:
        return _example_request(_field(_field(log, 2) or _field(log, 3), 1))  # classify_log, regress_log
    inputs = [(_field(entry, 1), _field(entry, 2)) for number, entry in _fields(request) if number == 2]
    values = {key.decode(): _array(tensor_pb2.TensorProto.FromString(tensor)) for key, tensor in inputs}
    return _field(_field(request, 1), 3).decode() or "serving_default", values  # PredictRequest.model_spec


def _array(tensor):
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if min(shape, default=0) < 0 or math.prod(shape) > MOST_VALUES:
        raise AssertionError(f"a request holds a tensor of the shape {tuple(shape)}")
    return tf.make_ndarray(tensor)


def _example_request(request):
    """A ClassificationRequest or RegressionRequest as the signature's name and its tf.Examples."""
    if not request:
        return None
    listed = _field(_field(request, 2), 1)  # input.example_list
    examples = np.array([content for number, content in _fields(listed) if number == 1], object)
    return _field(_field(request, 1), 3).decode() or "serving_default", {"inputs": examples}


def _field(message, number):
    """The last field of a number, b"" if there is none."""
    return dict(_fields(message)).get(number, b"")


def _fields(message):
    """The fields of a message on the wire: pairs of number and content."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            content, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            content, at = message[at : at + size], at + size
            if at > len(message):
                raise AssertionError("a request ends too early")
        yield key >> 3, content


def _varint(message, at):
    value = shift = 0
    while message[at] & 128:
        value |= (message[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return value | message[at] << shift, at + 1
