"""The contract double does what TensorFlow Serving's own code does with requests, right and wrong ones."""

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tensorflow_serving", reason="the double is made of tensorflow-serving-api, which is not installed")

import grpc
from serving_double import Double
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


class Small(tf.Module):
    def default(self, image, size):
        return {"image_bytes": tf.identity(image), "double": size * 2}

    def single(self, word):
        return {"letters": tf.strings.length(word)}

    def numbers(self, flag, whole):
        return {"both": tf.cast(flag, tf.int64) + whole}

    def classify(self, inputs):
        scores = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32, 0.5)})["x"]
        return {"classes": tf.tile([["a", "b"]], [tf.size(inputs), 1]), "scores": tf.stack([scores, 1 - scores], 1)}

    def regress(self, inputs):
        return {"outputs": tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32, 0.5)})["x"]}


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    folder, small = tmp_path_factory.mktemp("models") / "small", Small()

    def signature(function, **taken):
        specs = [tf.TensorSpec([None], dtype, name) for name, dtype in taken.items()]
        return tf.function(function).get_concrete_function(*specs)

    signatures = {
        "serving_default": signature(small.default, image=tf.string, size=tf.float32),
        "single": signature(small.single, word=tf.string),
        "numbers": signature(small.numbers, flag=tf.bool, whole=tf.int64),
        "classify": signature(small.classify, inputs=tf.string),
        "regress": signature(small.regress, inputs=tf.string),
    }
    for version in (1, 2, 3):
        tf.saved_model.save(small, str(folder / str(version)), signatures)
    with Double(folder, "small", labels={"previous": 1}, max_batch_size=8) as double:
        double.model.unload(1)
        yield double


def ask(double, path, body=None, method=None):
    """The code and the content of an answer over REST."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(double.rest + path, raw, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text)["error"] if error.headers["Content-Type"] == "application/json" else text


PATH = "/v1/models/small"
ROW = {"image": "a", "size": 1.0}


def test_what_is_taken(double):
    for body, expected in [
        ({"instances": [ROW, {"image": {"b64": "/wA"}, "size": 2}]}, [{"b64": "YQ=="}, {"b64": "/wA="}]),
        ({"instances": [{"image": {"b64": "/wA="}, "size": 2}]}, [{"b64": "/wA="}]),
    ]:
        code, found = ask(double, f"{PATH}:predict", body)
        assert (code, [row["image_bytes"] for row in found["predictions"]]) == (200, expected)
    columns = {"inputs": {"image": ["a", "b"], "size": [0.1, 2], "more": 3}}
    found = ask(double, f"{PATH}/versions/2:predict", json.dumps(columns).encode() + b" and text")
    assert found == (200, {"outputs": {"image_bytes": [{"b64": "YQ=="}, {"b64": "Yg=="}], "double": [0.2, 4.0]}})
    single = {"signature_name": "single", "instances": ["abc", {"b64": "YQ"}]}
    assert ask(double, "/V1/Models/small:Predict", single) == (200, {"predictions": [3, 1]})
    assert ask(double, f"{PATH}:predict", {"signature_name": "single", "inputs": ["a"]}) == (200, {"outputs": [1]})
    twice = b'{"signature_name": "single", "signature_name": "numbers", "inputs": ["abc"]}'
    assert ask(double, f"{PATH}:predict", twice) == (200, {"outputs": [3]})
    nan = b'{"inputs": {"image": ["a"], "size": [NaN]}}'
    code, found = ask(double, f"{PATH}:predict", nan)
    assert code == 200
    assert np.isnan(found["outputs"]["double"][0])


SEVEN = "JSON Value: 7 Type: Number is not of expected type: string"
FIRST = "Failed to process element: 0 key: image of 'instances' list. Error: INVALID_ARGUMENT: "


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{,", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a": 1 "b"', "JSON Parse error: Missing a comma or } after an object member. at offset: 8"),
        (b'{"a": [1 2', "JSON Parse error: Missing a comma or ] after an array element. at offset: 9"),
        ([1, 2], "JSON Value: [1, 2] Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        (
            {"instances": [], "inputs": {}},
            'JSON Value: {\n    "instances": [],\n    "inputs": {}\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        ({"instances": 3}, "JSON Value: {\n    \"instances\": 3\n} Expecting 'instances' to be an list/array"),
        (
            {"instances": [{"image": "a"}]},
            'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "image": "a"\n} keys must be '
            "equal to: image,size",
        ),
        (
            {"instances": [{"imag": "a"}]},
            "Failed to process element: 0 key: imag of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does "
            "not have named input: imag",
        ),
        ({"instances": [ROW, "a"]}, "Expecting object but got list at item 1 of input list"),
        (
            {"instances": ["a"]},
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        ({"instances": [{"image": 7, "size": 1}]}, FIRST + SEVEN),
        (
            {"instances": [{"image": "a", "size": 1}, {"image": ["a", "b"], "size": 1}]},
            "Failed to process element: 1 key: image of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor "
            "size: 1 but got: 2",
        ),
        (
            {"instances": [{"image": {"b64": 3}, "size": 1}]},
            FIRST + 'JSON Value: {\n    "b64": 3\n} not formatted correctly for base64 data',
        ),
        ({"instances": [{"image": {"b64": "a*b"}, "size": 1}]}, FIRST + "Unable to base64 decode"),
        ({"inputs": {"image": ["a"]}}, "Missing named input: size in 'inputs' object."),
        ({"inputs": {"image": [7], "size": [1]}}, SEVEN),
        (
            {"inputs": {"image": ["a"], "size": ["x"]}},
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        (
            {"inputs": ["a"]},
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            {"inputs": {"image": [["a"], ["a", "b"]], "size": [1]}},
            "Encountered list at unexpected size: 2 at level: 1 expected size: 1",
        ),
        (
            {"inputs": {"image": ["a", ["b"]], "size": [1]}},
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            {"signature_name": 5, "inputs": []},
            'JSON Value: {\n    "signature_name": 5,\n    "inputs": []\n} not formatted correctly. \'signature_name\' '
            "key must be a string value.",
        ),
        ({"signature_name": "no", "inputs": []}, 'Serving signature name: "no" not found in signature def'),
        (
            {"signature_name": "numbers", "inputs": {"flag": [True], "whole": [1.0]}},
            "JSON Value: 1.0 Type: Number is not of expected type: int64",
        ),
        (
            {"signature_name": "numbers", "inputs": {"flag": [1], "whole": [1]}},
            "JSON Value: 1 Type: Number is not of expected type: bool",
        ),
        (
            {"inputs": {"image": ["a", "b"], "size": [1]}},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
        ({"instances": [ROW] * 10}, "Task size 10 is larger than maximum input batch size 8"),
    ],
)
def test_what_is_refused(double, body, said):
    assert ask(double, f"{PATH}:predict", body) == (400, said)


def test_long_values_are_cut(double):
    code, said = ask(double, f"{PATH}:predict", {"instances": ["x" * 50] * 30, "inputs": 1})
    assert code == 400
    assert 256 <= len(said.split(" Not formatted")[0].removeprefix("JSON Value: ")) < 330


def test_paths(double):
    code, page = ask(double, "/index.html")
    assert (code, page.split("\n")[1]) == (404, "<TITLE>404 Not Found</TITLE>")
    assert ask(double, "/v1/models") == (400, "Missing model name in request.")
    assert ask(double, "/v1/nothing") == (400, "Malformed request: GET /v1/nothing")
    assert ask(double, PATH, {}) == (400, f"Malformed request: POST {PATH}")
    assert ask(double, f"{PATH}:predict", method="GET") == (400, f"Malformed request: GET {PATH}:predict")
    assert ask(double, "/v1/models/smal:predict", {"inputs": 1}) == (
        404,
        "Servable not found for request: Latest(smal)",
    )
    wanted = "Servable not found for request: Specific(small, 1)"
    assert ask(double, f"{PATH}/labels/previous:predict", {"inputs": 1}) == (404, wanted)
    assert ask(double, f"{PATH}/labels/gold/metadata") == (400, "Unrecognized servable version label: gold")
    assert ask(double, f"{PATH}/versions/7") == (404, "Could not find version 7 of model small")
    assert ask(double, "/v1/models/smal") == (404, "Could not find any versions of model smal")


def test_status_and_metadata(double):
    _, found = ask(double, PATH)
    states = [(one["version"], one["state"], one["status"]["error_code"]) for one in found["model_version_status"]]
    assert states == [("3", "AVAILABLE", "OK"), ("2", "AVAILABLE", "OK"), ("1", "END", "OK")]
    with grpc.insecure_channel(double.grpc.removeprefix("grpc://")) as channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "small"
        answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert [(one.version, one.state) for one in answer.model_version_status] == [(3, 30), (2, 30), (1, 50)]
    _, found = ask(double, f"{PATH}/metadata")
    assert "__saved_model_init_op" in found["metadata"]["signature_def"]["signature_def"]


def test_classify_and_regress(double):
    examples = [{"x": 0.2}, {"x": [0.75]}, {}]
    found = ask(double, f"{PATH}:classify", {"signature_name": "classify", "examples": examples})
    assert found == (200, {"results": [[["a", 0.2], ["b", 0.8]], [["a", 0.75], ["b", 0.25]], [["a", 0.5], ["b", 0.5]]]})
    asked = {"signature_name": "regress", "context": {"x": 0.25}, "examples": [{"x": 0.75}, {}]}
    assert ask(double, f"{PATH}:regress", asked) == (200, {"results": [0.75, 0.25]})
    for body, said in [
        (
            {"signature_name": "regress", "examples": [{"x": [1, 0.5]}]},
            "Unexpected element type in feature: x expecting",
        ),
        (
            {"signature_name": "regress", "examples": [{"x": None}]},
            "Feature: x has element with unexpected JSON type: Nu",
        ),
        ({"signature_name": "regress", "examples": [3]}, "Example must be JSON object but got JSON Number"),
        ({"signature_name": "regress", "examples": []}, "JSON Value: {"),
        ({"signature_name": "regress"}, "JSON Value: {"),
        ({"signature_name": "no", "examples": [{}]}, "No signature was found with the name: no"),
        ({"examples": [{}]}, "Expected one input Tensor."),
        ({"signature_name": "classify", "examples": [{}] * 9}, "Task size 9 is larger than maximum input batch size 8"),
    ]:
        code, found = ask(double, f"{PATH}:{'classify' if 'classify' in str(body) else 'regress'}", body)
        assert (code, found[: len(said)]) == (400, said)
    with grpc.insecure_channel(double.grpc.removeprefix("grpc://")) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name, request.model_spec.signature_name = "small", "classify"
        request.input.example_list.examples.add().features.feature["x"].float_list.value.append(0.75)
        (row,) = stub.Classify(request).result.classifications
        assert [(one.label, one.score) for one in row.classes] == [("a", 0.75), ("b", 0.25)]
        request = regression_pb2.RegressionRequest()
        request.model_spec.name, request.model_spec.signature_name = "small", "regress"
        with pytest.raises(grpc.RpcError, match="Input is empty"):
            stub.Regress(request)
        request.input.example_list.examples.add()
        assert [one.value for one in stub.Regress(request).result.regressions] == [0.5]


def test_grpc(double):
    right = {"image": tf.make_tensor_proto(["a"]), "size": tf.make_tensor_proto([1.0])}

    def asked(inputs, signature="", model="small", chosen=()):
        request = predict_pb2.PredictRequest(output_filter=chosen)
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(value)
        return request

    sizes = "input size does not match signature: 1!=2 len({image}) != len({image,size}). Sent extra: {}. Missing but"
    with grpc.insecure_channel(double.grpc.removeprefix("grpc://")) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        answer = predict(asked(right))
        assert (answer.model_spec.signature_name, answer.model_spec.version.value) == ("serving_default", 3)
        assert sorted(answer.outputs) == ["double", "image_bytes"]
        assert sorted(predict(asked(right, chosen=["double"])).outputs) == ["double"]
        for request, code, said in [
            (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
            (asked(right, model="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
            (asked(right, "no"), "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
            (asked({"image": right["image"]}), "INVALID_ARGUMENT", sizes),
            (
                asked({"img": right["image"], "size": right["size"]}),
                "INVALID_ARGUMENT",
                "Signature input alias: image(feed name: serving_default_image:0) not found in request",
            ),
            (
                asked({**right, "size": right["image"]}),
                "INVALID_ARGUMENT",
                "Expects arg[0] to be float but string is provided",
            ),
            (
                asked(right, chosen=["no"]),
                "INVALID_ARGUMENT",
                "output tensor alias not found in signature: no Outputs expected to be in the set {double,image_bytes}",
            ),
            (asked(right, chosen=["double"] * 2), "INVALID_ARGUMENT", "duplicate output tensor alias: double"),
            (
                asked({**right, "size": tf.make_tensor_proto([1.0, 2.0])}),
                "INVALID_ARGUMENT",
                "Batching Run() input tensors must have equal 0th-dimension size",
            ),
            (
                asked({name: tf.make_tensor_proto(tf.repeat(tf.make_ndarray(one), 9)) for name, one in right.items()}),
                "INVALID_ARGUMENT",
                "Task size 9 is larger than maximum input batch size 8",
            ),
        ]:
            with pytest.raises(grpc.RpcError) as caught:
                predict(request)
            assert (caught.value.code().name, caught.value.details()[: len(said)]) == (code, said)
