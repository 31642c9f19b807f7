"""A contract double of TensorFlow Serving: not the server, but one of the same shape, over `tf.saved_model.load`.

- gRPC: the official `PredictionServiceServicer` and `ModelServiceServicer` of tensorflow-serving-api.
- REST: predict (columns and rows), metadata and status, with the server's words for what is wrong with a request.

What it does not do: batching, warm-up, Classify and Regress, labels from models.config, any of the server's C++.

    python tests/serving_double.py saved_models/keypad --name keypad --rest 0 --grpc 0
"""

import argparse
import base64
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

HTTP_CODES = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503}
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:predict")
LOOK = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata)?")


class Refused(Exception):
    """A request that is answered with an error: a code of gRPC and the server's words."""

    def __init__(self, code, said):
        super().__init__(said)
        self.code, self.said = code, said


class Model:
    """The versions of one model, all loaded."""

    def __init__(self, directory, name, labels=None):
        self.name, self.labels = name, labels or {}
        folders = [path for path in Path(directory).iterdir() if path.name.isdecimal()]
        self.loaded = {int(path.name): tf.saved_model.load(str(path)) for path in folders}
        self.described = {int(path.name): self._signatures(path) for path in folders}

    @staticmethod
    def _signatures(path):
        content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        found = dict(content.meta_graphs[0].signature_def)
        return {name: signature for name, signature in found.items() if not name.startswith("__")}

    def version(self, name, version=None, label=None):
        """The number of the version that is meant."""
        if label:
            if label not in self.labels or name != self.name:
                raise Refused("INVALID_ARGUMENT", f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        if name != self.name or (version is not None and version not in self.loaded):
            meant = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused("NOT_FOUND", f"Servable not found for request: {meant}")
        return max(self.loaded) if version is None else version

    def versions(self, name, version=None):
        """The numbers whose status is asked for."""
        if name != self.name:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        if version is not None and version not in self.loaded:
            raise Refused("NOT_FOUND", f"Could not find version {version} of model {name}")
        return sorted(self.loaded) if version is None else [version]

    def predict(self, version, signature, inputs):
        """dict of name -> array to dict of name -> array."""
        taken = self.described[version][signature].inputs
        if sorted(inputs) != sorted(taken):
            extra, missing = sorted(set(inputs) - set(taken)), sorted(set(taken) - set(inputs))
            raise Refused(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(inputs)}!={len(taken)} len({{{','.join(sorted(inputs))}}}) "
                f"!= len({{{','.join(sorted(taken))}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: "
                f"{{{','.join(missing)}}}.",
            )
        try:
            tensors = {name: tf.constant(value, taken[name].dtype) for name, value in inputs.items()}
            answers = self.loaded[version].signatures[signature](**tensors)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            # of what TensorFlow says in Python the server says the last paragraph
            raise Refused("INVALID_ARGUMENT", str(error).split("\n\n")[-1]) from error
        return {name: answer.numpy() for name, answer in answers.items()}


class Double:
    """Both fronts, from the moment it is made until `close`.

    Args:
        directory, name: of the model.
        rest, grpc: ports; 0: any free one.
        fail_first: how many predict requests are answered with UNAVAILABLE (503) before the first is served.
        delay: seconds before each predict request is served.
        labels: dict of label -> version.
        workers: gRPC requests at a time.
    """

    def __init__(self, directory, name, rest=0, grpc_port=0, fail_first=0, delay=0.0, labels=None, workers=16):
        self.model = Model(directory, name, labels)
        self.fail_first, self.delay = fail_first, delay
        self.asked = 0  # predict requests, those that fail among them
        self.batches = []  # rows of those that were served
        self._lock = threading.Lock()
        self.http = _Http(("127.0.0.1", rest), _handler(self))
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self.server = grpc.server(ThreadPoolExecutor(workers), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(self), self.server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(self), self.server)
        self.grpc_port = self.server.add_insecure_port(f"127.0.0.1:{grpc_port}")
        self.rest_port = self.http.server_address[1]
        self.server.start()

    @property
    def rest(self):
        """The target for REST."""
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def grpc(self):
        """The target for gRPC."""
        return f"grpc://127.0.0.1:{self.grpc_port}"

    def predict(self, version, signature, inputs):
        """`Model.predict`, with the faults that were ordered."""
        with self._lock:
            self.asked += 1
            fails = self.fail_first > 0
            self.fail_first -= fails
        if fails:
            raise Refused("UNAVAILABLE", "The batch scheduling queue to which this task was submitted is full")
        time.sleep(self.delay)
        answers = self.model.predict(version, signature, inputs)
        self.batches.append(len(next(iter(inputs.values()))))
        return answers

    def close(self):
        """Stop both fronts."""
        self.http.shutdown()
        self.http.server_close()
        self.server.stop(None).wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False


def _handler(double):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open
        wbufsize = -1  # head and body in one packet
        disable_nagle_algorithm = True

        def do_GET(self):
            self._answer(lambda: _look(double.model, self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(lambda: _predict_json(double, self.path, body))

        def _answer(self, make):
            try:
                status, content = 200, make()
            except Refused as error:
                status, content = HTTP_CODES.get(error.code, 500), {"error": error.said}
            raw = json.dumps(content, indent=4).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args):
            pass

    return Handler


def _meant(match):
    name, version, label = match.groups()[:3]
    return unquote(name), version and int(version), label and unquote(label)


def _look(model, path):
    match = LOOK.fullmatch(path)
    if not match:
        raise Refused("INVALID_ARGUMENT", f"Malformed request: GET {path}")
    name, version, label = _meant(match)
    if not match[4]:
        return _json(_status_of(model, model.versions(name, version)))
    version = model.version(name, version, label)
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.described[version])
    spec = {"name": name, "signature_name": "", "version": str(version)}
    return {"model_spec": spec, "metadata": {"signature_def": _json(signatures)}}


def _json(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _status_of(model, versions):
    answer = get_model_status_pb2.GetModelStatusResponse()
    for version in versions:
        answer.model_version_status.add(version=version, state=AVAILABLE).status.SetInParent()
    return answer


def _predict_json(double, path, body):
    match = PREDICT.fullmatch(path)
    if not match:
        raise Refused("INVALID_ARGUMENT", f"Malformed request: POST {path}")
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise Refused("INVALID_ARGUMENT", f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    version = double.model.version(*_meant(match))
    signature = asked.get("signature_name", "serving_default")
    if signature not in double.model.described[version]:
        raise Refused("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
    taken = double.model.described[version][signature].inputs
    rows = "instances" in asked
    if not rows and "inputs" not in asked:
        raise Refused("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
    given = _from_rows(asked["instances"], taken) if rows else asked["inputs"]
    if not isinstance(given, dict):
        given = {next(iter(taken)): given}
    for name in taken:
        if name not in given:
            raise Refused("INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object.")
    # what else the object holds is not looked at
    arrays = {name: _tensor(given[name], info.dtype) for name, info in taken.items()}
    answers = double.predict(version, signature, arrays)
    plain = {name: _written(answer.tolist(), name.endswith("_bytes")) for name, answer in answers.items()}
    single = next(iter(plain.values())) if len(plain) == 1 else None
    if not rows:
        return {"outputs": plain if single is None else single}
    lines = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return {"predictions": lines if single is None else single}


def _from_rows(instances, taken):
    if not isinstance(instances[0], dict) or "b64" in instances[0]:
        return instances
    return {name: [row[name] for row in instances] for name in taken}


def _tensor(value, number):
    dtype = tf.dtypes.as_dtype(number)
    if dtype == tf.string:
        shape = np.shape(np.empty(0)) if value == [] else _shape(value)
        flat = np.empty(int(np.prod(shape)), object)
        flat[:] = list(_leaves(value))
        return flat.reshape(shape)
    try:
        array = np.array(value)
    except ValueError as error:
        raise Refused("INVALID_ARGUMENT", "Encountered list at unexpected size") from error
    whole = dtype.is_integer and array.dtype.kind not in "iu"
    if array.size and (whole or array.dtype.kind not in "biuf"):
        raise Refused("INVALID_ARGUMENT", f"JSON Value: {value} is not of expected type: {dtype.name}")
    return array.astype(dtype.as_numpy_dtype)


def _shape(value):
    return (len(value), *(_shape(value[0]) if value else ())) if isinstance(value, list) else ()


def _leaves(value):
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, dict) and list(value) == ["b64"]:
        yield base64.b64decode(value["b64"], validate=True)
    elif isinstance(value, str):
        yield value.encode()
    else:
        raise Refused("INVALID_ARGUMENT", f"JSON Value: {value} is not of expected type: string")


def _written(value, as_bytes):
    if isinstance(value, list):
        return [_written(one, as_bytes) for one in value]
    if not isinstance(value, bytes):
        return value
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "replace")


def _refusable(method):
    def wrapped(self, request, context):
        try:
            return method(self, request)
        except Refused as error:
            context.abort(grpc.StatusCode[error.code], error.said)

    return wrapped


def _spec(spec):
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, double):
        self.double = double

    @_refusable
    def Predict(self, request):
        version = self.double.model.version(*_spec(request.model_spec))
        signature = request.model_spec.signature_name or "serving_default"
        if signature not in self.double.model.described[version]:
            raise Refused("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = predict_pb2.PredictResponse(model_spec=request.model_spec)
        answer.model_spec.version.value = version
        for name, value in self.double.predict(version, signature, inputs).items():
            answer.outputs[name].CopyFrom(as_proto_field(value))
        return answer

    @_refusable
    def GetModelMetadata(self, request):
        version = self.double.model.version(*_spec(request.model_spec))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self.double.model.described[version])
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version
        answer.metadata["signature_def"].Pack(signatures)
        return answer


def as_proto_field(value):
    """As the server writes it: lists of values (`float_val` ...), not bytes as `tf.make_tensor_proto` does."""
    proto = tf.make_tensor_proto(value)
    if not proto.tensor_content:
        return proto
    name = value.dtype.name
    fields = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
    fields |= {"float16": "half_val", "uint32": "uint32_val", "uint64": "uint64_val"}
    field = fields.get(name, "int_val")
    getattr(proto, field).extend((value.view(np.uint16) if field == "half_val" else value).ravel().tolist())
    proto.ClearField("tensor_content")
    return proto


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, double):
        self.double = double

    @_refusable
    def GetModelStatus(self, request):
        name, version, _ = _spec(request.model_spec)
        return _status_of(self.double.model, self.double.model.versions(name, version))


def main():
    parser = argparse.ArgumentParser(description="A contract double of TensorFlow Serving.")
    parser.add_argument("directory", help="of the model, with its versions")
    parser.add_argument("--name", help="(the folder's)")
    parser.add_argument("--rest", type=int, default=0, metavar="PORT", help="(any free one)")
    parser.add_argument("--grpc", type=int, default=0, metavar="PORT", help="(any free one)")
    parser.add_argument("--workers", type=int, default=16, metavar="N", help="gRPC requests at a time (16)")
    given = parser.parse_args()
    name = given.name or Path(given.directory).resolve().name
    with Double(given.directory, name, given.rest, given.grpc, workers=given.workers) as double:
        print(json.dumps({"rest": double.rest, "grpc": double.grpc}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
