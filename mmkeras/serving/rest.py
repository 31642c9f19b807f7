"""TensorFlow Serving's REST API: predict, metadata and status."""

import base64
import json
from typing import Any
from urllib.parse import quote

import numpy as np

from mmkeras.serving.failures import CODES, ServingError, answered, package, too_late

TRANSIENT = (429, 502, 503, 504)
CONNECTIONS = 64  # kept open


class Rest:
    """One pool of connections to a server. Its methods send one request, and raise `ServingError`.

    Args:
        where: "http://host:port" or "https://host:port".
        model, version, signature: as `Client` takes them.
    """

    def __init__(self, where: str, model: str, version: int | str | None, signature: str):
        self.requests = package("requests", "requests", "REST")
        self.urllib3 = package("urllib3", "urllib3", "REST")
        self.where, self.signature = where, signature
        kind = "versions" if isinstance(version, int) else "labels"
        part = f"/{kind}/{quote(str(version), safe='')}" if version is not None else ""
        self.url = f"{where}/v1/models/{quote(model, safe='')}{part}"
        self.session = self.requests.Session()
        adapter = self.requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS)
        self.session.mount(where, adapter)

    def _ask(self, path: str, timeout: float, body: bytes | None, *keys: str) -> Any:
        """The value under these keys in the response's JSON."""
        errors = self.requests.exceptions
        try:
            answer = self.session.request(
                "GET" if body is None else "POST",
                self.url + path,
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=self.urllib3.Timeout(total=timeout),  # connecting and waiting together
            )
        except errors.Timeout as error:
            raise too_late(self.where, timeout) from error
        except errors.RequestException as error:
            raise self._failure(error) from error
        return self._content(answer, keys)

    def _failure(self, error: Exception) -> ServingError:
        errors = self.requests.exceptions
        said = str(getattr(error.args[0], "reason", error) if error.args else error)  # of urllib3's: its cause
        if isinstance(error, errors.SSLError):
            return ServingError(f"{self.where}: no safe connection (TLS): {said}", "UNAVAILABLE")
        if "BadStatusLine" in said:
            return ServingError(
                f"{self.where}: something answers there, but not HTTP: a gRPC port (8500 is the usual one) is given as "
                f'"grpc://host:8500" ({said})',
                "UNAVAILABLE",
            )
        if isinstance(error, errors.ConnectionError | errors.ChunkedEncodingError):
            return ServingError(
                f"{self.where}: nothing answers there, or the connection broke: is the server running, and is this its "
                f"REST port (8501 is the usual one)? ({said})",
                "UNAVAILABLE",
                transient=True,
            )
        return ServingError(f"{self.where}: cannot send a request: {said}", "INTERNAL")

    def _content(self, answer: Any, keys: tuple[str, ...]) -> Any:
        text = answer.content.decode("utf-8", "replace")
        try:
            content = json.loads(text)
            for key in keys if answer.ok else ["error"]:
                content = content[key]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            if answer.ok:
                raise ServingError(
                    f"{self.where}: expected the JSON of TensorFlow Serving, received {text[:80]!r}", "INTERNAL"
                ) from error
            content = text or answer.reason
        if answer.ok:
            return content
        code = CODES.get(answer.status_code, "INTERNAL")
        raise answered(self.where, code, content, answer.status_code in TRANSIENT)

    def predict(
        self, inputs: dict[str, np.ndarray], outputs: dict[str, tuple], timeout: float
    ) -> dict[str, np.ndarray]:
        """The outputs of one batch.

        Args:
            inputs: dict of name -> array; strings are objects, str or bytes.
            outputs: dict of name -> (dtype, shape).
            timeout: seconds.

        Returns:
            dict of name -> array; strings are objects, str, and bytes in outputs whose name ends in "_bytes".
        """
        body = {"signature_name": self.signature, "inputs": {name: _plain(v) for name, v in inputs.items()}}
        found = self._ask(":predict", timeout, json.dumps(body).encode(), "outputs")
        if len(outputs) == 1:  # then the server leaves the name out
            found = {next(iter(outputs)): found}
        return {name: _array(values, *outputs[name]) for name, values in found.items() if name in outputs}

    def signatures(self, timeout: float) -> dict[str, dict[str, dict[str, tuple]]]:
        """dict of signature -> dict of "inputs" and "outputs" -> dict of name -> (dtype, shape)."""
        found = self._ask("/metadata", timeout, None, "metadata", "signature_def", "signature_def")
        return {
            name: {role: {key: _described(info) for key, info in one.get(role, {}).items()} for role in _ROLES}
            for name, one in found.items()
        }

    def status(self, timeout: float) -> list[tuple[int, str, str]]:
        """list of (version, state, message)."""
        found = self._ask("", timeout, None, "model_version_status")
        return [(int(one["version"]), one["state"], one.get("status", {}).get("error_message", "")) for one in found]

    def close(self) -> None:
        """Close the connections."""
        self.session.close()


_ROLES = ("inputs", "outputs")


def _described(info: dict[str, Any]) -> tuple[str, tuple[int | None, ...] | None]:
    shape = info.get("tensor_shape", {})
    sizes = (int(dim["size"]) for dim in shape.get("dim", []))
    dtype = info["dtype"].removeprefix("DT_").lower()
    names = {"float": "float32", "double": "float64", "half": "float16"}
    known = not shape.get("unknown_rank")
    return names.get(dtype, dtype), tuple(size if size >= 0 else None for size in sizes) if known else None


def _plain(values: np.ndarray) -> list:
    """An array as JSON values."""
    if values.dtype != object:
        return values.tolist()
    plain = np.empty(values.size, object)
    plain[:] = [v if isinstance(v, str) else {"b64": base64.b64encode(v).decode()} for v in values.ravel()]
    return plain.reshape(values.shape).tolist()


def _array(values: Any, dtype: str, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """The array of JSON values."""
    if dtype != "string":
        return np.array(values, dtype)
    found = np.array(_bytes(values), object)
    return found if shape is None or found.ndim == len(shape) else found.reshape([0, *(n or 0 for n in shape[1:])])


def _bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_bytes(value) for value in values]
    return base64.b64decode(values["b64"]) if isinstance(values, dict) else values
