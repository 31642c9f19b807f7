import json
import os
import runpy
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import yaml

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.serving import Client, serve_config
from mmkeras.serving.config import IMAGE, health_check

pytest.importorskip("tensorflow_serving", reason="the double is made of tensorflow-serving-api, which is not installed")

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from serving_double import Double
from tensorflow_serving.config import model_server_config_pb2

NAMES = ["models.config", "batching_parameters.txt", "monitoring.config", "compose.yaml"]


@pytest.fixture
def folders(tmp_path):
    """Two models, as far as their folders go."""
    for name, versions in {"keypad": [1, 2, 10], "easy-vqa": [3]}.items():
        for version in versions:
            (tmp_path / name / str(version)).mkdir(parents=True)
            (tmp_path / name / str(version) / "saved_model.pb").touch()
    (tmp_path / "keypad" / ".unfinished-x").mkdir()
    (tmp_path / "keypad" / "11").mkdir()  # holds nothing
    return tmp_path


def test_models(folders):
    written = serve_config(folders / "keypad", folders / "easy-vqa", out=folders / "out")
    assert written == [folders / "out" / name for name in NAMES]
    text = (folders / "out" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    first, second = config.model_config_list.config
    assert (first.name, first.base_path, first.model_platform) == ("keypad", "/models/keypad", "tensorflow")
    assert first.model_version_policy.latest.num_versions == 2
    assert (dict(first.version_labels), dict(second.version_labels)) == ({"stable": 10, "previous": 2}, {"stable": 3})
    serve_config(folders / "keypad", out=folders / "out", versions=1)
    text = (folders / "out" / "models.config").read_text()
    (only,) = text_format.Parse(text, model_server_config_pb2.ModelServerConfig()).model_config_list.config
    assert (only.model_version_policy.latest.num_versions, dict(only.version_labels)) == (1, {"stable": 10})


def proto(name, **fields):
    """A message class: tensorflow-serving-api has neither BatchingParameters nor MonitoringConfig."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        added = message.field.add(name=field, number=number, label=1)
        if kind[0] == ".":
            added.type, added.type_name = added.TYPE_MESSAGE, kind
        else:
            added.type = getattr(added, f"TYPE_{kind.upper()}")
    return file


def parsed(text, *files):
    pool = descriptor_pool.DescriptorPool()
    for file in [descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb), *files]:
        pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(files[-1].name.removesuffix(".proto")))()
    return text_format.Parse(text, message, descriptor_pool=pool)


def test_batching_and_monitoring(folders):
    serve_config(folders / "keypad", out=folders / "out", max_batch_size=32)
    # fields of session_bundle_config.proto and monitoring_config.proto
    whole = ".google.protobuf.Int64Value"
    names = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    batching = proto("BatchingParameters", **dict.fromkeys(names, whole), pad_variable_length_inputs="bool")
    found = parsed((folders / "out" / "batching_parameters.txt").read_text(), batching)
    assert [getattr(found, name).value for name in names] == [32, 2000, 100, 4]
    assert not found.pad_variable_length_inputs  # to pad, the server would not compare ranks, and would abort
    prometheus = proto("PrometheusConfig", enable="bool", path="string")
    monitoring = proto("MonitoringConfig", prometheus_config=".PrometheusConfig")
    monitoring.dependency.append(prometheus.name)
    found = parsed((folders / "out" / "monitoring.config").read_text(), prometheus, monitoring)
    assert (found.prometheus_config.enable, found.prometheus_config.path) == (True, "/monitoring/prometheus/metrics")


def test_compose(folders):
    serve_config(folders / "keypad", folders / "easy-vqa", out=folders / "out", port=9000, rest_port=9001)
    service = yaml.safe_load((folders / "out" / "compose.yaml").read_text())["services"]["serving"]
    assert service["image"] == IMAGE
    assert service["ports"] == ["127.0.0.1:9000:8500", "127.0.0.1:9001:8501"]
    mounts = {volume["source"]: volume["target"] for volume in service["volumes"]}
    assert all(volume["read_only"] and volume["type"] == "bind" for volume in service["volumes"])
    assert mounts.pop("./") == "/config"
    assert mounts == {str(folders / name): f"/models/{name}" for name in ("keypad", "easy-vqa")}
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    files = [value for value in flags.values() if value.startswith("/config/")]
    assert sorted(files) == [f"/config/{name}" for name in sorted(NAMES) if name != "compose.yaml"]
    assert flags["allow_version_labels_for_unavailable_models"] == flags["enable_batching"] == "true"
    assert service["healthcheck"]["test"] == ["CMD", "bash", "-c", health_check("keypad")]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([], {}, "expected at least one folder of a model, received none"),
        (["keypad/1"], {}, "expected a model's folder, with its versions, received one version: 'keypad/1'"),
        (["."], {}, r"no version \(1/saved_model.pb, 2/...\) in '.'"),
        (["nowhere"], {}, "no version .* in 'nowhere'"),
        (["keypad", "other/keypad"], {}, "a model is served by the name of its folder: .*received '.*' and '.*other"),
        (["a name"], {}, "expected a folder's name of letters, digits, _, . and -, .* received 'a name'"),
        (["keypad"], {"versions": 0}, "expected versions to be a whole number from 1 to 1,000,000, received 0"),
        (["keypad"], {"port": 8501}, "expected different ports for gRPC and REST, received 8501 for both"),
        (["keypad"], {"out": "keypad/1/saved_model.pb"}, "cannot write to 'keypad/1/saved_model.pb': "),
    ],
)
def test_wrong_folders(folders, monkeypatch, given, options, message):
    monkeypatch.chdir(folders)
    for other in ("other/keypad", "a name"):
        shutil.copytree("keypad", other)
    with pytest.raises(InputError, match=f"^serve_config: {message}"):
        serve_config(*given, **{"out": "out", **options})
    assert not (folders / "out").exists()


def test_a_golden_batch_that_is_none(folders):
    (folders / "keypad" / "10" / "assets.extra").mkdir()
    (folders / "keypad" / "10" / "assets.extra" / "golden.json").write_text('{"inputs": 3}')
    with pytest.raises(InputError, match=r"cannot read the golden batch .*KeyError\('outputs'\)"):
        serve_config(folders / "keypad", out=folders / "out")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A real model's bundle, rows with paths, and what the bundle answers to them."""
    folder = tmp_path_factory.mktemp("models")
    schema = mk.Schema(
        {"image": mk.Image(4, 4, 1), "word": mk.Text(2, vocabulary=["a", "b"])},
        {"answer": mk.Category(classes=["x", "y", "z"])},
    )
    model = mk.build(schema, width=4)
    bundle = mk.export(model, schema, folder / "small")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), np.uint8)
    rows = [{"image": str(folder / f"{number}.png"), "word": "ab"[number % 2]} for number in range(5)]
    for row, picture in zip(rows, pixels, strict=True):
        tf.io.write_file(row["image"], tf.io.encode_png(picture))
    sent = {"image": [tf.io.read_file(row["image"]) for row in rows], "word": [row["word"] for row in rows]}
    answers = tf.saved_model.load(str(bundle)).signatures["serving_default"](
        **{name: tf.stack(values) for name, values in sent.items()}
    )
    return bundle, rows, {name: value.numpy() for name, value in answers.items()}


@pytest.fixture(scope="module")
def served(exported):
    with Double(exported[0].parent, "small") as double:
        yield double


@pytest.mark.parametrize("front", ["rest", "grpc"])
def test_a_bundle_is_asked_by_paths(exported, served, front):
    bundle, rows, expected = exported
    with Client(getattr(served, front), model="small", schema=bundle, batch_size=2) as client:
        answers = client.predict(rows)
    assert sorted(answers) == sorted(expected)
    for name, value in expected.items():
        if value.dtype == object:
            assert answers[name].tolist() == np.vectorize(bytes.decode, otypes=[object])(value).tolist()
        else:
            assert answers[name] == pytest.approx(value, abs=1e-5)
    assert not answers["status"].any()


def test_requests(exported, served, tmp_path, capsys, monkeypatch):
    bundle, *_ = exported
    written = serve_config(bundle.parent, out=tmp_path)
    names = ["small.json", "small.expected.json", "small.curl.sh", "small.grpc.py"]
    assert written[4:] == [tmp_path / "requests" / name for name in names]
    body, expected = (json.loads(path.read_text()) for path in written[4:6])
    assert {len(values) for values in body["inputs"].values()} == {2}
    monkeypatch.setattr(sys, "argv", ["small.grpc.py", served.grpc.removeprefix("grpc://")])
    runpy.run_path(str(written[7]), run_name="__main__")
    printed = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert sorted(printed) == sorted(expected["outputs"])
    assert json.loads(printed["status"]) == expected["outputs"]["status"]
    assert expected["outputs"]["status"][0] == 0
    assert json.loads(printed["probabilities"])[1] == pytest.approx(expected["outputs"]["probabilities"][1], abs=1e-5)
    assert written[6].stat().st_mode & stat.S_IXUSR
    if shutil.which("curl"):
        done = subprocess.run([str(written[6]), served.rest], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)["outputs"]
        assert found["label"] == expected["outputs"]["label"]


@pytest.mark.skipif(not shutil.which("bash"), reason="the image's check is a line of bash")
def test_the_health_check(served):
    def healthy(model):
        command = ["bash", "-c", health_check(model, served.rest_port)]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0

    assert healthy("small")
    assert not healthy("smal")


def real_server():
    """The command of TensorFlow's own server, or a reason why there is none."""
    named = os.environ.get("MMKERAS_TFSERVING") or shutil.which("tensorflow_model_server")
    if named:
        return [named], None
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0:
        return [docker, "run", "--rm", "--network", "host"], None
    return None, "no tensorflow_model_server on the PATH or in MMKERAS_TFSERVING, and Docker does not run"


@pytest.mark.parametrize("front", ["rest", "grpc"])
def test_the_real_server(exported, front, tmp_path):
    command, reason = real_server()
    if reason:
        pytest.skip(reason)
    bundle, rows, expected = exported
    serve_config(bundle.parent, out=tmp_path)
    base = str(bundle.parent)
    if "run" in command:
        command += ["-v", f"{base}:/models/small:ro", "-v", f"{tmp_path}:/config:ro", IMAGE]
        config = "/config"
    else:
        config = str(tmp_path)
        models = (tmp_path / "models.config").read_text().replace("/models/small", base)
        (tmp_path / "models.config").write_text(models)
    service = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]["serving"]
    flags = [flag.replace("/config", config) for flag in service["command"]]
    ports = [] if "run" in command else ["--port=8500", "--rest_api_port=8501"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([*command, *ports, *flags], stdout=log, stderr=log)
    try:
        target = {"rest": "http://127.0.0.1:8501", "grpc": "127.0.0.1:8500"}[front]
        with Client(target, model="small", schema=bundle, version="stable") as client:
            assert client.ready(wait=300), (tmp_path / "log").read_text()[-2000:]
            answers = client.predict(rows)
        assert answers["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert answers["label"].tolist() == [label.decode() for label in expected["label"]]
    finally:
        server.terminate()
        server.wait(30)
