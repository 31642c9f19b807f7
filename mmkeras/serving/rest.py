"""TensorFlow Serving's REST API: predict, metadata and status."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote

import numpy as np

from mmkeras.serving.answers import Described, brief, check_names, chosen, described, from_json, parsed, part
from mmkeras.serving.connection import Connection
from mmkeras.serving.failures import CODES, ServingError, answered, malformed
from mmkeras.serving.http import Http

TRANSIENT = (429, 502, 503, 504)
SIZE = re.compile(r"-?[0-9]{1,18}")
NAMES = {"float": "float32", "double": "float64", "half": "float16"}
ROLES = ("inputs", "outputs")


class Rest:
    """TensorFlow Serving's REST API. Its methods send one request, and raise `ServingError`.

    Args:
        where: "http://host:port" or "https://host:port".
        model, version, signature: as `Client` takes them.
        options: `Connection`.
    """

    def __init__(self, where: str, model: str, version: int | str | None, signature: str, options: Connection):
        self.http = Http(where, options)
        self.where, self.model, self.signature = where, model, signature
        kind = "versions" if isinstance(version, int) else "labels"
        chosen_version = f"/{kind}/{quote(str(version), safe='')}" if version is not None else ""
        self.url = f"{where}/v1/models/{quote(model, safe='')}{chosen_version}"

    def _ask(self, path: str, timeout: float, body: bytes | None) -> Any:
        """The JSON of an answer that is no error."""
        status, reason, content = self.http.ask(self.url + path, body, timeout)
        if 200 <= status < 300:
            return parsed(self.where, content)
        try:
            said = part(self.where, parsed(self.where, content), str, "error")
        except ServingError:  # a proxy's page, perhaps
            said = content[:4000].decode("utf-8", "replace").strip() or reason
        raise answered(self.where, CODES.get(status, "INTERNAL"), said, status in TRANSIENT)

    def predict(self, inputs: dict[str, np.ndarray], outputs: Described, timeout: float) -> dict[str, np.ndarray]:
        """The outputs of one batch.

        Args:
            inputs: dict of name -> array; strings are objects, str or bytes.
            outputs: dict of name -> (dtype, shape).
            timeout: seconds.

        Returns:
            dict of name -> array of that type and shape, with as many rows as the inputs; strings are objects, str, and
            bytes in outputs whose name ends in "_bytes".
        """
        body = {"signature_name": self.signature, "inputs": {name: _plain(v) for name, v in inputs.items()}}
        answer = self._ask(":predict", timeout, json.dumps(body).encode())
        found = part(self.where, answer, object, "outputs")
        if len(outputs) == 1:  # then the server leaves the name out
            found = {next(iter(outputs)): found}
        found = part(self.where, {"outputs": found}, dict, "outputs")
        check_names(self.where, found, outputs)
        rows = len(next(iter(inputs.values())))
        return {name: from_json(self.where, name, found[name], one, rows) for name, one in outputs.items()}

    def described(self, timeout: float) -> dict[str, Described]:
        """The signature: dict of "inputs" and "outputs" -> dict of name -> (dtype, shape).

        Raises:
            InputError: the model has no such signature.
        """
        answer = self._ask("/metadata", timeout, None)
        keys = ("metadata", "signature_def", "signature_def")
        found = part(self.where, answer, dict, *keys)
        signature = part(self.where, {self.signature: chosen(self.model, self.signature, found)}, dict, self.signature)
        roles = {role: part(self.where, {role: {}} | signature, dict, role) for role in ROLES}
        return {
            role: {name: self._described(role, name, info) for name, info in found.items()}
            for role, found in roles.items()
        }

    def _described(self, role: str, name: str, info: Any) -> tuple[str, tuple[int | None, ...] | None]:
        dtype = part(self.where, info, str, "dtype").removeprefix("DT_").lower()
        shape = part(self.where, {"tensor_shape": {}} | info, dict, "tensor_shape")
        dims = part(self.where, {"dim": []} | shape, list, "dim")
        sizes = [str(dim.get("size", "")) if isinstance(dim, dict) else "" for dim in dims]
        if not all(map(SIZE.fullmatch, sizes)):
            raise malformed(
                self.where,
                f"signature {self.signature!r}: {brief(name)}: expected sizes of axes, received {brief(dims)}",
            )
        known = None if shape.get("unknown_rank") else [int(size) for size in sizes]
        return described(self.where, self.signature, role, name, NAMES.get(dtype, dtype), known)

    def status(self, timeout: float) -> list[tuple[int, str, str]]:
        """list of (version, state, message)."""
        found = part(self.where, self._ask("", timeout, None), list, "model_version_status")
        return [self._state(one) for one in found]

    def _state(self, one: Any) -> tuple[int, str, str]:
        version = part(self.where, one, object, "version")
        if not SIZE.fullmatch(str(version)):
            raise malformed(self.where, f"expected the number of a version, received {brief(version)}")
        said = part(self.where, {"status": {}} | one, dict, "status")
        message = part(self.where, {"error_message": ""} | said, str, "error_message")
        return int(version), part(self.where, one, str, "state"), message

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def _plain(values: np.ndarray) -> list:
    """An array as JSON values."""
    if values.dtype != object:
        return values.tolist()
    plain = np.empty(values.size, object)
    plain[:] = [v if isinstance(v, str) else {"b64": base64.b64encode(v).decode()} for v in values.ravel()]
    return plain.reshape(values.shape).tolist()
