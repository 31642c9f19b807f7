"""TensorFlow Serving's gRPC API: predict, metadata and status."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmkeras.errors import InputError
from mmkeras.serving.answers import Described, check_array, check_names, chosen, described
from mmkeras.serving.connection import MAX_BYTES, Connection
from mmkeras.serving.failures import ServingError, answered, malformed, package, too_late, too_long
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
    "grpc.max_send_message_length": -1,
    # answers are not compressed: the limit of their size would hold for the compressed ones
    "grpc.compression_enabled_algorithms_bitset": 1,
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
        options: `Connection`.
    """

    def __init__(
        self, host: str, tls: bool, model: str, version: int | str | None, signature: str, connection: Connection
    ):
        self.grpc = package("grpc", "grpcio", "gRPC")
        self.types = messages()
        self.decode_error = package("google.protobuf.message", "protobuf", "gRPC").DecodeError
        self.where, self.model, self.signature = f"grpc{'s' * tls}://{host}", model, signature
        self.most, self.headers = connection.max_bytes, tuple(connection.headers.items())
        self.spec = self.types.ModelSpec(name=model)
        if isinstance(version, int):
            self.spec.version.value = version
        elif version:
            self.spec.version_label = version
        limits = {"grpc.max_receive_message_length": self.most, "grpc.enable_http_proxy": int(connection.trust_env)}
        options = list((OPTIONS | limits).items())
        if tls:
            self.channel = self.grpc.secure_channel(host, self._credentials(connection), options)
        else:
            self.channel = self.grpc.insecure_channel(host, options)
        self.calls = {name: self._method(name, path) for name, path in SERVICES.items()}

    def _credentials(self, connection: Connection) -> Any:
        paths = [connection.ca, *reversed(connection.certificate or (None, None))]  # authorities, key, certificate
        return self.grpc.ssl_channel_credentials(*(None if path is None else Path(path).read_bytes() for path in paths))

    def _method(self, name: str, path: str) -> Callable[..., Any]:
        answer = getattr(self.types, f"{name}Response")
        return self.channel.unary_unary(
            path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def _ask(self, name: str, request: Any, timeout: float) -> Any:
        try:
            return self.calls[name](request, timeout=timeout, metadata=self.headers)
        except self.grpc.RpcError as error:
            raise self._failure(error.code().name, error.details() or "", timeout) from error

    def _failure(self, code: str, said: str, timeout: float) -> ServingError:
        if code == "DEADLINE_EXCEEDED" and "Deadline Exceeded" in said:  # grpc's own words, not the server's
            return too_late(self.where, timeout)
        if code == "RESOURCE_EXHAUSTED" and "larger than max" in said:
            if f"vs. {self.most})" in said:
                return too_long(self.where, self.most)
            return answered(self.where, code, said, False)  # the server's own limit: the same request stays too large
        if code == "UNAVAILABLE" and "handshake" in said.lower():
            return ServingError(f"{self.where}: no safe connection (TLS): {said}", code)
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

    def predict(self, inputs: dict[str, np.ndarray], outputs: Described, timeout: float) -> dict[str, np.ndarray]:
        """The outputs of one batch.

        Args:
            inputs: dict of name -> array; strings are objects, str or bytes.
            outputs: dict of name -> (dtype, shape).
            timeout: seconds.

        Returns:
            dict of name -> array of that type and shape, with as many rows as the inputs; strings are objects, bytes.
        """
        request = self.types.PredictRequest(model_spec=self.spec)
        request.model_spec.signature_name = self.signature
        for name, values in inputs.items():
            fill(request.inputs[name], values)
        found = self._ask("Predict", request, timeout).outputs
        check_names(self.where, found, outputs)
        rows = len(next(iter(inputs.values())))
        arrays = {}
        for name, expected in outputs.items():
            try:
                arrays[name] = array(found[name], self.most)
            except ValueError as error:
                raise malformed(self.where, f"{name!r}: {error}") from error
            check_array(self.where, name, arrays[name], expected, rows)
        return arrays

    def described(self, timeout: float) -> dict[str, Described]:
        """The signature: dict of "inputs" and "outputs" -> dict of name -> (dtype, shape).

        Raises:
            InputError: the model has no such signature.
        """
        request = self.types.GetModelMetadataRequest(model_spec=self.spec, metadata_field=["signature_def"])
        answer = self._ask("GetModelMetadata", request, timeout)
        try:
            found = self.types.SignatureDefMap.FromString(answer.metadata["signature_def"].value).signature_def
        except self.decode_error as error:
            raise malformed(self.where, f"expected the signatures of a model: {error}") from error
        signature = chosen(self.model, self.signature, found)
        return {
            role: {name: self._described(role, name, info) for name, info in getattr(signature, role).items()}
            for role in _ROLES
        }

    def _described(self, role: str, name: str, info: Any) -> tuple[str, tuple[int | None, ...] | None]:
        dtype = TYPES.get(info.dtype, (f"number {info.dtype}",))[0]
        sizes = None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
        return described(self.where, self.signature, role, name, dtype, sizes)

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


def array(tensor: Any, most: int = MAX_BYTES) -> np.ndarray:
    """The array in a `TensorProto`: its bytes, or its values, where the last one is repeated for missing ones.

    Raises:
        ValueError: an unknown type, or values that the shape or the type does not hold.
    """
    dtype, field = TYPES.get(tensor.dtype, (None, None))
    if dtype is None:
        raise ValueError(f"values of the unknown type {tensor.dtype}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    size = math.prod(shape)
    if min(shape, default=0) < 0 or size * (8 if dtype == "string" else np.dtype(dtype).itemsize) > most:
        raise ValueError(f"the shape {tuple(shape)}")
    if dtype == "string":
        values = np.empty(len(tensor.string_val), object)
        values[:] = tensor.string_val
    elif tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    elif dtype == "float16":
        values = np.array(tensor.half_val, np.uint16).view(np.float16)
    else:
        sent = np.array(getattr(tensor, field))
        values = sent.astype(dtype)
        if sent.dtype.kind in "iu" and (values != sent).any():
            raise ValueError(f"numbers that {dtype} does not hold")
    if len(values) > size or (tensor.tensor_content and len(values) < size):
        raise ValueError(f"{len(values)} values for the shape {tuple(shape)}")
    if len(values) < size:
        last = values[-1:] if len(values) else np.array([b""], object) if dtype == "string" else np.zeros(1, dtype)
        values = np.concatenate([values, np.repeat(last, size - len(values))])
    return values.reshape(shape)
