"""A contract double of TensorFlow Serving: not the server, but one of the same shape, over sessions of TensorFlow 1.

- gRPC: the official `PredictionServiceServicer` and `ModelServiceServicer` of tensorflow-serving-api.
- REST: predict (columns and rows), classify, regress, metadata and status. `serving_json` reads and writes the JSON,
  `serving_model` runs the model.
- The server's words for what is wrong with a request, and its limits of a batch.

What it does not do: requests joined to batches, warm-up, several models, any of the server's C++ but for the session.

    python tests/serving_double.py saved_models/keypad --name keypad --rest 0 --grpc 0
"""

import argparse
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from serving_json import Refused, examples_of, parsed, signature_of, tensors_of, written
from serving_model import DEFAULT, Model
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

HTTP_CODES = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "NOT_FOUND": 404}
HTTP_CODES |= {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "DEADLINE_EXCEEDED": 504}
WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
ASK = re.compile(rf"(?i)/v1/models/([^/:]+){WHICH}:(classify|regress|predict)")
LOOK = re.compile(rf"(?i)/v1/models(?:/([^/:]+))?{WHICH}(?:/(metadata))?")
NO_PAGE = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class Double:
    """Both fronts, from the moment it is made until `close`.

    Args:
        directory, name: of the model.
        rest, grpc: ports; 0: any free one.
        fail_first: how many predict requests are answered with UNAVAILABLE (503) before the first is served.
        delay: seconds before each predict request is served.
        labels: dict of label -> version.
        max_batch_size: of a server that batches; None: it does not.
        workers: gRPC requests at a time.
    """

    def __init__(
        self,
        directory,
        name,
        rest=0,
        grpc_port=0,
        fail_first=0,
        delay=0.0,
        labels=None,
        workers=16,
        max_batch_size=None,
    ):
        self.model = Model(directory, name, labels, max_batch_size)
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

    def served(self, method, *question):
        """`Model.predict` or `Model.of_examples`, with the faults that were ordered."""
        with self._lock:
            self.asked += 1
            fails = self.fail_first > 0
            self.fail_first -= fails
        if fails:
            said = "The batch scheduling queue to which this task was submitted is full"
            raise Refused(said, "UNAVAILABLE")
        time.sleep(self.delay)
        answers = method(*question)
        self.batches.append(len(next(iter(answers.values()))))
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
            self._answer(lambda path, body: _look(double.model, path))

        def do_POST(self):
            self._answer(lambda path, body: _ask(double, path, body))

        def do_PUT(self):
            self._answer(lambda path, body: _malformed("PUT", path))

        def do_DELETE(self):
            self._answer(lambda path, body: _malformed("DELETE", path))

        def _answer(self, make):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            path = urlsplit(self.path).path
            if not re.match("(?i)/v1/", path):
                return self._send(404, "text/html", NO_PAGE)
            try:
                status, content = 200, make(path, body)
            except Refused as error:
                status, content = HTTP_CODES.get(error.code, 500), {"error": error.said}
            return self._send(status, "application/json", json.dumps(content, indent=4))

        def _send(self, status, kind, text):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    return Handler


def _malformed(method, path):
    raise Refused(f"Malformed request: {method} {path}")


def _meant(match):
    name, version, label = match.groups()[:3]
    if version and int(version) >= 2**63:
        raise Refused(f"Failed to convert version: {version} to numeric.")
    return unquote(name or ""), int(version) if version else None, label and unquote(label)


def _look(model, path):
    match = LOOK.fullmatch(path) or _malformed("GET", path)
    name, version, label = _meant(match)
    if not name:
        raise Refused("Missing model name in request.")
    if not match[4]:
        return _json(model.status(name, version))
    version = model.version(name, version, label)
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.loaded[version].signatures)
    spec = {"name": name, "signature_name": "", "version": str(version)}
    return {"model_spec": spec, "metadata": {"signature_def": _json(signatures)}}


def _json(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _ask(double, path, body):
    match = ASK.fullmatch(path) or _malformed("POST", path)
    model, asked = double.model, parsed(body)
    signature, method = signature_of(asked), match[4].lower()
    if method != "predict":
        examples = examples_of(asked)
        version = model.version(*_meant(match))
        found = double.served(model.of_examples, method, version, signature, examples)
        return {"results": _results(method, found)}
    version = model.version(*_meant(match))
    described = model.loaded[version].signatures
    if (signature or DEFAULT) not in described:
        raise Refused(f'Serving signature name: "{signature or DEFAULT}" not found in signature def')
    taken = described[signature or DEFAULT].inputs
    if not taken:
        raise Refused(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    inputs, rows = tensors_of(asked, taken)
    answers = double.served(model.predict, version, signature, inputs)
    plain = {name: written(answer, name) for name, answer in answers.items()}
    single = next(iter(plain.values())) if len(plain) == 1 else None
    if not rows:
        return {"outputs": plain if single is None else single}
    _check_rows(answers)
    lines = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    return {"predictions": lines if single is None else single}


def _check_rows(answers):
    count = None
    for name, answer in answers.items():
        if not answer.ndim:
            raise Refused(f"Tensor name: {name} has no shape information ")
        if count not in (None, len(answer)):
            raise Refused(f"Tensor name: {name} has inconsistent batch size: {len(answer)} expecting: {count}")
        count = len(answer)


def _results(method, found):
    if method == "regress":
        return written(found["outputs"].reshape(len(found["outputs"])), "outputs")
    names = [name for name in ("classes", "scores") if name in found]
    columns = [written(found[name], name) for name in names]
    if len(columns) == 1:
        columns = (
            [columns[0], np.zeros_like(found[names[0]], float).tolist()]
            if names == ["classes"]
            else [np.full(found["scores"].shape, "").tolist(), columns[0]]
        )
    return [[list(pair) for pair in zip(*row, strict=True)] for row in zip(*columns, strict=True)]


def _refusable(method):
    def wrapped(self, request, context):
        try:
            if not request.HasField("model_spec"):
                raise Refused("Missing ModelSpec")
            return method(self, request)
        except Refused as error:
            context.abort(grpc.StatusCode[error.code], error.said)

    return wrapped


def _spec(spec):
    version = spec.version.value if spec.HasField("version") else None
    return spec.name, version, spec.version_label or None


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, double):
        self.double, self.model = double, double.model

    @_refusable
    def Predict(self, request):
        version, signature = self.model.version(*_spec(request.model_spec)), request.model_spec.signature_name
        self.model.signature(version, signature)
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        answer = predict_pb2.PredictResponse(model_spec=self._said(request, version))
        question = (version, signature, inputs, tuple(request.output_filter))
        for name, value in self.double.served(self.model.predict, *question).items():
            answer.outputs[name].CopyFrom(as_proto_field(value))
        return answer

    @_refusable
    def Classify(self, request):
        version, found = self._of_examples("classify", request)
        answer = classification_pb2.ClassificationResponse(model_spec=self._said(request, version))
        for row in _results("classify", found):
            one = answer.result.classifications.add()
            for label, score in row:
                one.classes.add(label=label, score=score)
        return answer

    @_refusable
    def Regress(self, request):
        version, found = self._of_examples("regress", request)
        answer = regression_pb2.RegressionResponse(model_spec=self._said(request, version))
        for value in _results("regress", found):
            answer.result.regressions.add(value=value)
        return answer

    def _of_examples(self, method, request):
        version, given = self.model.version(*_spec(request.model_spec)), request.input
        listed = getattr(given, given.WhichOneof("kind") or "example_list")
        context = listed.context.SerializeToString() if hasattr(listed, "context") else b""
        examples = [context + one.SerializeToString() for one in listed.examples]
        question = (method, version, request.model_spec.signature_name, examples)
        return version, self.double.served(self.model.of_examples, *question)

    @staticmethod
    def _said(request, version):
        spec = type(request.model_spec)(name=request.model_spec.name)
        spec.signature_name, spec.version.value = request.model_spec.signature_name or DEFAULT, version
        return spec

    @_refusable
    def GetModelMetadata(self, request):
        version = self.model.version(*_spec(request.model_spec))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self.model.loaded[version].signatures)
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
        return self.double.model.status(name, version)


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
