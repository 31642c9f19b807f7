"""TensorFlow Serving's gRPC API: predict, metadata and status."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mmkeras.errors import InputError
from mmkeras.serving.failures import ServingError, answered, package, too_late
from mmkeras.serving.messages import SERVICES, messages

# TensorFlow's numbers of its types, NumPy's names, and the field for values that are not sent as bytes
TYPES = {
    1: ("float32", "float_val"),
    2: ("float64", "double_val"),
    3: ("int32", "int_val"),
    4: ("uint8", "int_val"),
    5: ("int16", "int_val"),
    6: ("int8", "int_val"),
    7: ("string", "string_val"),
    9: ("int64", "int64_val"),
    10: ("bool", "bool_val"),
    17: ("uint16", "int_val"),
    19: ("float16", "half_val"),
    22: ("uint32", "uint32_val"),
    23: ("uint64", "uint64_val"),
}
NUMBERS = {name: number for number, (name, _) in TYPES.items()}
STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
TRANSIENT = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")
OPTIONS = {
    # the default refuses answers above 4 MB
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    # by default gRPC reconnects only after a second; the client's own pauses are shorter
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2000,
}


class Grpc:
    """One channel to a server. Its methods send one request, and raise `ServingError`.

    Args:
        host: "host:port".
        tls: bool.
        model, version, signature: as `Client` takes them.
    """

    def __init__(self, host: str, tls: bool, model: str, version: int | str | None, signature: str):
        self.grpc = package("grpc", "grpcio", "gRPC")
        self.types = messages()
        self.where, self.signature = f"grpc{'s' * tls}://{host}", signature
        self.spec = self.types.ModelSpec(name=model)
        if isinstance(version, int):
            self.spec.version.value = version
        elif version:
            self.spec.version_label = version
        options = list(OPTIONS.items())
        if tls:
            self.channel = self.grpc.secure_channel(host, self.grpc.ssl_channel_credentials(), options)
        else:
            self.channel = self.grpc.insecure_channel(host, options)
        self.calls = {name: self._method(name, path) for name, path in SERVICES.items()}

    def _method(self, name: str, path: str) -> Callable[..., Any]:
        answer = getattr(self.types, f"{name}Response")
        return self.channel.unary_unary(
            path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def _ask(self, name: str, request: Any, timeout: float) -> Any:
        try:
            return self.calls[name](request, timeout=timeout)
        except self.grpc.RpcError as error:
            raise self._failure(error.code().name, error.details() or "", timeout) from error

    def _failure(self, code: str, said: str, timeout: float) -> ServingError:
        if code == "DEADLINE_EXCEEDED" and "Deadline Exceeded" in said:  # grpc's own words, not the server's
            return too_late(self.where, timeout)
        if code == "UNAVAILABLE" and ("http1.x server" in said or "Failed parsing HTTP/2" in said):
            return ServingError(
                f"{self.where}: something answers there, but not gRPC: a REST port (8501 is the usual one) is given as "
                f'"http://host:8501" ({said})',
                code,
            )
        if code == "UNAVAILABLE" and "failed to connect" in said.lower():
            return ServingError(
                f"{self.where}: nothing answers there: is the server running, and is this its gRPC port (8500 is the "
                f"usual one)? ({said})",
                code,
                transient=True,
            )
        return answered(self.where, code, said, code in TRANSIENT)

    def predict(
        self, inputs: dict[str, np.ndarray], outputs: dict[str, tuple], timeout: float
    ) -> dict[str, np.ndarray]:
        """The outputs of one batch.

        Args:
            inputs: dict of name -> array; strings are objects, str or bytes.
            outputs: dict of name -> (dtype, shape).
            timeout: seconds.

        Returns:
            dict of name -> array; strings are objects, bytes.
        """
        request = self.types.PredictRequest(model_spec=self.spec)
        request.model_spec.signature_name = self.signature
        for name, values in inputs.items():
            fill(request.inputs[name], values)
        return {name: array(tensor) for name, tensor in self._ask("Predict", request, timeout).outputs.items()}

    def signatures(self, timeout: float) -> dict[str, dict[str, dict[str, tuple]]]:
        """dict of signature -> dict of "inputs" and "outputs" -> dict of name -> (dtype, shape)."""
        request = self.types.GetModelMetadataRequest(model_spec=self.spec, metadata_field=["signature_def"])
        answer = self._ask("GetModelMetadata", request, timeout)
        found = self.types.SignatureDefMap.FromString(answer.metadata["signature_def"].value).signature_def
        return {
            name: {role: {key: _described(info) for key, info in getattr(one, role).items()} for role in _ROLES}
            for name, one in found.items()
        }

    def status(self, timeout: float) -> list[tuple[int, str, str]]:
        """list of (version, state, message)."""
        answer = self._ask("GetModelStatus", self.types.GetModelStatusRequest(model_spec=self.spec), timeout)
        return [
            (one.version, STATES.get(one.state, "UNKNOWN"), one.status.error_message)
            for one in answer.model_version_status
        ]

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


_ROLES = ("inputs", "outputs")


def _described(info: Any) -> tuple[str, tuple[int | None, ...] | None]:
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
    return TYPES.get(info.dtype, (f"type {info.dtype}",))[0], sizes


def fill(tensor: Any, values: np.ndarray) -> None:
    """Write an array into a `TensorProto`."""
    strings = values.dtype == object
    dtype = "string" if strings else values.dtype.name
    if dtype not in NUMBERS:
        raise InputError(f"expected values of one of the types {', '.join(NUMBERS)}, received {dtype}")
    tensor.dtype = NUMBERS[dtype]
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if strings:
        tensor.string_val.extend(v.encode() if isinstance(v, str) else v for v in values.ravel())
    else:
        tensor.tensor_content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def array(tensor: Any) -> np.ndarray:
    """The array in a `TensorProto`: its bytes, or its values, where the last one is repeated for missing ones."""
    dtype, field = TYPES.get(tensor.dtype, (None, None))
    if dtype is None:
        raise ServingError(f"the server answers with values of the unknown type {tensor.dtype}", "INTERNAL")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    size = int(np.prod(shape))
    if dtype == "string":
        values = np.empty(len(tensor.string_val), object)
        values[:] = tensor.string_val
    elif tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    elif dtype == "float16":
        values = np.array(tensor.half_val, np.uint16).view(np.float16)
    else:
        values = np.array(getattr(tensor, field), dtype)
    if 0 < len(values) < size:
        values = np.concatenate([values, np.repeat(values[-1:], size - len(values))])
    return values.reshape(shape)
