"""`serve_config`: the files with which TensorFlow Serving's official image serves exported models."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmkeras.checks import is_whole
from mmkeras.disk import disk_reason
from mmkeras.errors import InputError, shown
from mmkeras.files import write_whole

# The newest tag in public Dockerfiles in 2026; none has 2.21. A server somewhat older than the TensorFlow of the export
# reads its SavedModels unless they use an op that it lacks; its log then says so.
IMAGE = "tensorflow/serving:2.20.0"
ROWS = 2  # of the golden batch in a request, if a batch may hold as many


def serve_config(
    *directories: str | os.PathLike[str],
    out: str | os.PathLike[str] = "serving",
    image: str = IMAGE,
    port: int = 8500,
    rest_port: int = 8501,
    versions: int = 2,
    max_batch_size: int = 128,
) -> list[Path]:
    """Write the files to serve models: `docker compose -f out/compose.yaml up`.

    - models.config: each model by the name of its folder; the newest `versions` are loaded, and a new version is loaded
      when the server next looks into the folder. Label `stable`: the version that is the newest now; `previous`: the
      one before it, if it is loaded. A new version does not move the labels: write the files again after an export, and
      the server, which reads models.config every 60 seconds, moves them. It gives labels only to loaded versions;
      `--allow_version_labels_for_unavailable_models` in compose.yaml allows labels at its start, when no version is
      loaded. A newer version unloads the oldest that is loaded, and a
      request by a label whose version is unloaded is refused until the files are written again: with `versions=2` that
      is `previous`, with `versions=1` both; with `versions=3` neither, until the second new version.
    - batching_parameters.txt: simultaneous requests are served in one batch. Nothing is padded: all inputs of
      `serving_default` are strings.
    - monitoring.config: figures for Prometheus at /monitoring/prometheus/metrics of the REST port.
    - compose.yaml: the image, ports, folders (read only) and flags, and a health check. The ports are open to this
      machine alone, as TensorFlow Serving asks nobody for a password: put a proxy with TLS and passwords in front of it
      before others may reach it.
    - requests/<model>.json, of real rows with base64 payloads from the bundle's golden batch; <model>.curl.sh and
      <model>.grpc.py, which send it; <model>.expected.json, the outputs. None for a model without a golden batch.

    Args:
        directories: folders of models, each with its versions.
        out: folder to write in; files of the same names are replaced.
        image: of Docker; "tensorflow/serving:2.20.0-gpu" for NVIDIA's GPUs.
        port, rest_port: of gRPC and REST on this machine.
        versions: how many of a model are loaded.
        max_batch_size: most rows in one batch; a client's `batch_size` may not be above it.

    Returns:
        list of the paths written.

    Raises:
        InputError: a folder without versions, two models of one name, a folder that cannot be written.
    """
    if not directories:
        raise InputError("serve_config: expected at least one folder of a model, received none")
    for name, value in {
        "port": port,
        "rest_port": rest_port,
        "versions": versions,
        "max_batch_size": max_batch_size,
    }.items():
        most = 65_535 if name.endswith("port") else 1_000_000
        if not is_whole(value) or value > most:
            expected = f"expected {name} to be a whole number from 1 to {most:,}"
            raise InputError(f"serve_config: {expected}, received {shown(value)}")
    if port == rest_port:
        raise InputError(f"serve_config: expected different ports for gRPC and REST, received {port} for both")
    models = _models(directories)
    files = {
        "models.config": _models_config(models, versions),
        "batching_parameters.txt": _batching(max_batch_size),
        "monitoring.config": _MONITORING,
        "compose.yaml": _compose(models, image, port, rest_port),
    }
    for name, found in models.items():
        files |= _requests(name, found[-1], port, rest_port, min(ROWS, max_batch_size))
    return _write(Path(out), files)


def _models(directories: Iterable[str | os.PathLike[str]]) -> dict[str, list[Path]]:
    """dict of name -> versions' folders, oldest first."""
    models: dict[str, list[Path]] = {}
    for directory in directories:
        folder = Path(os.path.abspath(directory))  # not resolved: a link's own name is the model's
        if (folder / "saved_model.pb").exists():
            raise InputError(
                f"serve_config: expected a model's folder, with its versions, received one version: {str(directory)!r}"
            )
        children = list(folder.iterdir()) if folder.is_dir() else []
        found = [child for child in children if child.name.isdecimal() and (child / "saved_model.pb").exists()]
        if not found:
            raise InputError(f"serve_config: no version (1/saved_model.pb, 2/...) in {str(directory)!r}")
        if folder.name in models:
            raise InputError(
                f"serve_config: a model is served by the name of its folder: expected different ones, received "
                f"{str(models[folder.name][0].parent)!r} and {str(folder)!r}"
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", folder.name):
            raise InputError(
                "serve_config: expected a folder's name of letters, digits, _, . and -, as it goes into addresses, "
                f"received {folder.name!r}"
            )
        models[folder.name] = sorted(found, key=lambda version: int(version.name))
    return models


def _models_config(models: dict[str, list[Path]], versions: int) -> str:
    blocks = []
    for name, found in models.items():
        labels = zip(("stable", "previous"), reversed(found[-versions:]), strict=False)
        lines = [
            f'    name: "{name}"',
            f'    base_path: "/models/{name}"',
            '    model_platform: "tensorflow"',
            f"    model_version_policy {{ latest {{ num_versions: {versions} }} }}",
            *(f'    version_labels {{ key: "{label}" value: {int(folder.name)} }}' for label, folder in labels),
        ]
        blocks += ["  config {", *lines, "  }"]
    return "\n".join([*_LABELS, "model_config_list {", *blocks, "}", ""])


_LABELS = [
    "# Labels are given to loaded versions; at the server's start none is loaded, hence the flag",
    "# --allow_version_labels_for_unavailable_models. A newer version unloads the oldest: its label is then refused.",
    "# After an export write this file again.",
]


def _batching(max_batch_size: int) -> str:
    return f"""# A batch is run when it is full, or when its first request has waited for 2 ms.
max_batch_size {{ value: {max_batch_size} }}
batch_timeout_micros {{ value: 2000 }}
# Requests beyond this many batches are refused with UNAVAILABLE (503); clients send them again.
max_enqueued_batches {{ value: 100 }}
# About the processor's cores; for a GPU more do not help.
num_batch_threads {{ value: 4 }}
"""


_MONITORING = """prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def _compose(models: dict[str, list[Path]], image: str, port: int, rest_port: int) -> str:
    import yaml

    flags = [
        "--model_config_file=/config/models.config",
        "--model_config_file_poll_wait_seconds=60",
        "--allow_version_labels_for_unavailable_models=true",
        "--file_system_poll_wait_seconds=5",
        "--enable_batching=true",
        "--batching_parameters_file=/config/batching_parameters.txt",
        "--monitoring_config_file=/config/monitoring.config",
    ]
    mounts = {"./": "/config"} | {str(found[0].parent.resolve()): f"/models/{name}" for name, found in models.items()}
    volumes = [
        {"type": "bind", "source": source.replace("$", "$$"), "target": target, "read_only": True}
        for source, target in mounts.items()
    ]
    check = {"test": ["CMD", "bash", "-c", health_check(next(iter(models)))]}
    service = {
        "image": image,
        "command": flags,
        "ports": [f"127.0.0.1:{port}:8500", f"127.0.0.1:{rest_port}:8501"],  # the server asks nobody for a password
        "volumes": volumes,
        "healthcheck": check | {"interval": "10s", "timeout": "5s", "retries": 3, "start_period": "60s"},
        "restart": "unless-stopped",
    }
    head = (
        "# docker compose -f compose.yaml up\n"
        f"# gRPC: localhost:{port}. REST: http://localhost:{rest_port}/v1/models/{next(iter(models))}\n"
    )
    return head + yaml.safe_dump({"services": {"serving": service}}, sort_keys=False, width=1000)


def health_check(model: str, port: int = 8501) -> str:
    """A line of bash that succeeds where the model is ready; the image has no curl."""
    request = f"GET /v1/models/{model} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n"
    return f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf '{request}' >&3 && grep -q '\"AVAILABLE\"' <&3"


def _requests(name: str, bundle: Path, port: int, rest_port: int, count: int) -> dict[str, str]:
    """The files with a request to one model: dict of path -> text."""
    path = bundle / "assets.extra" / "golden.json"
    if not path.exists():
        return {}
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        inputs, outputs = golden["inputs"], golden["outputs"]
        rows = list(range(len(next(iter(inputs.values())))))
        if "status" in outputs:  # the golden batch has unreadable rows, too
            rows = sorted(rows, key=lambda row: outputs["status"][row] != 0)
        body = {"signature_name": golden["signature_name"], "inputs": _taken(inputs, rows[:count])}
        expected = {"outputs": _taken(outputs, rows[:count])}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"serve_config: cannot read the golden batch {str(path)!r}: {error!r}") from error
    url = f"http://localhost:{rest_port}"
    return {
        f"requests/{name}.json": json.dumps(body) + "\n",
        f"requests/{name}.expected.json": json.dumps(expected, indent=1) + "\n",
        f"requests/{name}.curl.sh": _CURL.format(url=url, name=name),
        f"requests/{name}.grpc.py": _GRPC.format(name=name, target=f"localhost:{port}"),
    }


def _taken(columns: dict[str, list], rows: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [values[row] for row in rows] for name, values in columns.items()}


_CURL = """#!/bin/sh
# Sends a request over REST; another address is the first argument.
cd "$(dirname "$0")" || exit
curl --silent --show-error --fail-with-body --header "Content-Type: application/json" \\
  --data-binary @{name}.json "${{1:-{url}}}/v1/models/{name}:predict"
"""

_GRPC = '''"""Sends a request over gRPC: python {name}.grpc.py [HOST:PORT]. Needs tensorflow-serving-api."""

import base64
import json
import sys
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def raw(value):
    """The values of the JSON, with bytes from base64."""
    if isinstance(value, list):
        return [raw(one) for one in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value


body = json.loads((Path(__file__).parent / "{name}.json").read_text())
request = predict_pb2.PredictRequest()
request.model_spec.name = "{name}"
request.model_spec.signature_name = body["signature_name"]
for name, values in body["inputs"].items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(raw(values)))

with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "{target}") as channel:
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, timeout=10)
for name, values in sorted(answer.outputs.items()):
    print(name, tf.make_ndarray(values).tolist())
'''


def _write(out: Path, files: dict[str, str]) -> list[Path]:
    paths = []
    try:
        for name, text in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # whole: a server reads models.config every minute
            paths.append(write_whole(path, text, mode=0o755 if name.endswith(".sh") else 0o644))
    except OSError as error:
        raise InputError(f"serve_config: cannot write to {str(out)!r}: {disk_reason(error)}") from error
    return paths
