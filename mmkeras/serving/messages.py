"""The few messages of TensorFlow Serving's gRPC API that a client needs, as protobuf classes.

The official stubs (tensorflow-serving-api) import all of TensorFlow and with it Keras: 10 seconds and 500 MB before the
first request. The bytes on the wire depend only on the numbers and types of the fields; a test compares them with the
official ones.
"""

import functools
from types import SimpleNamespace
from typing import Any

from mmkeras.serving.failures import package

SERVICES = {
    "Predict": "/tensorflow.serving.PredictionService/Predict",
    "GetModelMetadata": "/tensorflow.serving.PredictionService/GetModelMetadata",
    "GetModelStatus": "/tensorflow.serving.ModelService/GetModelStatus",
}
# message -> field -> number and type: a scalar of protobuf or a message; "*" before it: repeated; "map": from string.
# Enumerations are int32, as on the wire.
MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "TensorShapeProto": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "double_val": (6, "*double"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
        "half_val": (13, "*int32"),
        "uint32_val": (16, "*uint32"),
        "uint64_val": (17, "*uint64"),
    },
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "map TensorProto")},
    "PredictResponse": {"outputs": (1, "map TensorProto"), "model_spec": (2, "ModelSpec")},
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "TensorShapeProto")},
    "SignatureDef": {
        "inputs": (1, "map TensorInfo"),
        "outputs": (2, "map TensorInfo"),
        "method_name": (3, "string"),
    },
    "SignatureDefMap": {"signature_def": (1, "map SignatureDef")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "*string")},
    "GetModelMetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "map Any")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "StatusProto")},
    "GetModelStatusResponse": {"model_version_status": (1, "*ModelVersionStatus")},
}


@functools.cache
def messages() -> SimpleNamespace:
    """The classes of `MESSAGES` by name, in a pool of their own, apart from the official ones."""
    descriptor_pb2 = package("google.protobuf.descriptor_pb2", "protobuf", "gRPC")
    descriptor_pool = package("google.protobuf.descriptor_pool", "protobuf", "gRPC")
    message_factory = package("google.protobuf.message_factory", "protobuf", "gRPC")
    file = descriptor_pb2.FileDescriptorProto(name="mmkeras_serving.proto", package="mmkeras_serving", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            if kind.startswith("map "):
                entry = message.nested_type.add(name="".join(map(str.title, field.split("_"))) + "Entry")
                entry.options.map_entry = True
                _add(entry, "key", 1, "string")
                _add(entry, "value", 2, kind.removeprefix("map "))
                kind = f"*{name}.{entry.name}"
            _add(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {name: pool.FindMessageTypeByName(f"mmkeras_serving.{name}") for name in MESSAGES}
    return SimpleNamespace(**{name: message_factory.GetMessageClass(found) for name, found in classes.items()})


def _add(message: Any, name: str, number: int, kind: str) -> None:
    scalar = kind.removeprefix("*")
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    if scalar[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".mmkeras_serving.{scalar}"
    else:
        field.type = getattr(field, f"TYPE_{scalar.upper()}")
