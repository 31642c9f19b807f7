"""`Client`: requests to a served model, over REST or gRPC."""

import asyncio
import contextlib
import functools
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral
from typing import Any, Self

import numpy as np

from mmkeras.checks import check_whole, checked_keywords, is_number, is_whole
from mmkeras.errors import InputError, shown
from mmkeras.serving.arrays import as_arrays
from mmkeras.serving.connection import MAX_BYTES, Connection, checked
from mmkeras.serving.failures import ServingError, malformed, printable
from mmkeras.serving.over_grpc import Grpc
from mmkeras.serving.rest import Rest
from mmkeras.serving.values import as_columns, load_schema

LONGEST = 86_400  # seconds of a request
PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds before the second attempt, doubled before each further one
WORKERS = 16  # requests of `submit` at a time
STATES = {
    "START": "about to be loaded",
    "LOADING": "being loaded",
    "AVAILABLE": "ready",
    "UNLOADING": "being unloaded",
    "END": "unloaded",
}


@checked_keywords
class Client:
    """Sends requests to a model on TensorFlow Serving.

    Threads may share one client; its connections are kept open. A request that fails for a reason that may pass (no
    response, a broken connection, HTTP's 429, 502, 503 and 504, gRPC's UNAVAILABLE and RESOURCE_EXHAUSTED) is sent
    again, after pauses of 0.1, 0.2, 0.4 ... seconds, randomly shortened by up to half; that is safe, since a prediction
    changes nothing. `timeout` holds for one request with all its attempts, from looking up the host's name to the last
    byte of the answer: after it, nothing is sent again.

    The server is not trusted: redirects are not followed, an answer has at most `max_bytes`, and one that does not fit
    the signature (a missing output, another type, shape or number of rows) is a `ServingError`.

    Values, by the kind of input:

    - any: None, NaN or "" is a missing one; `bytes` are sent unchanged; for a `pathlib.Path` the file is sent.
    - picture: also a PIL image or a uint8 array `(height, width)` or `(height, width, 1 | 3 | 4)`, both sent as PNG;
      its EXIF orientation is sent with it, and the model obeys it if its schema says `upright`, as by default.
    - recording: also `(rate, samples)`, an array `(samples,)` or `(samples, channels)` of float in [-1, 1] or int16;
      sent as WAV, as files ending in .flac, .ogg, .oga and .mp3 are (with `schema` all that are not WAV).
    - text: str.
    - a row of cells: list of str, numbers or None, in the schema's order.
    - series, or another kind of numbers of any length: with `schema`, an array `(steps, channels)`, `(steps,)` for one
      channel, or the path of a .npy file, str or Path; all are sent as .npy files.
    - numbers of any other kind: array of the signature's shape.

    A str is a text. With `schema`, it is a path for every kind that has files; cells may be a dict of column -> cell,
    or be in columns of the table; and an optional input may be left out.

    Args:
        target: "http://host:8501" or "https://..." for REST; "grpc://host:8500", "host:8500" or "grpcs://..." for gRPC.
        model: the model's name in models.config.
        version: number, or a label such as "stable"; None: the newest that is loaded.
        signature: name.
        schema: the bundle's folder, its schema.json or the dict in it, or a `Schema`.
        timeout: seconds for one request.
        retries: attempts after the first.
        batch_size: rows in one request.
        rotate: whether JPEG files and bytes are turned here as their EXIF orientation says (and then sent as PNG), for
            a model that does not do it: `Image(upright=False)`.
        headers: dict of name -> value, sent with every request, as {"Authorization": "Bearer ..."}; gRPC's metadata.
            Without TLS everybody on the way can read them.
        ca: path of a PEM file with the authorities that may have signed the server's certificate; None: the public
            ones. Certificates are always checked.
        certificate: paths of two PEM files, the client's own certificate and its key (without a passphrase), where the
            server asks for them.
        trust_env: whether the proxies in the environment (HTTPS_PROXY, NO_PROXY ...) are used and, over REST, the
            passwords in .netrc. By default requests go to the target alone.
        max_bytes: most bytes of one answer, decompressed (64 MiB).

    Raises:
        InputError: an option of the wrong kind, a file that holds no certificate, a missing package.

    >>> Client("localhost:8501", model="keypad", retries=-1)
    Traceback (most recent call last):
    mmkeras.errors.InputError: Client: expected retries to be a whole number from 0, received -1
    """

    def __init__(
        self,
        target: str,
        *,
        model: str | None = None,
        version: int | str | None = None,
        signature: str = "serving_default",
        schema: Any = None,
        timeout: float = 10.0,
        retries: int = 3,
        batch_size: int = 64,
        rotate: bool = False,
        headers: Mapping[str, str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        trust_env: bool = False,
        max_bytes: int = MAX_BYTES,
    ):
        if not isinstance(model, str) or not model:
            raise InputError(f"Client: expected model to be a name, as in models.config, received {shown(model)}")
        if not (version is None or (isinstance(version, str) and version) or is_whole(version, 0)):
            raise InputError(f"Client: expected version to be number or label, received {shown(version)}")
        if not is_number(timeout, 0, above=True, most=LONGEST):
            expected = f"expected timeout to be seconds above 0, at most {LONGEST:,}"
            raise InputError(f"Client: {expected}, received {shown(timeout)}")
        self.target, self.model, self.version, self.signature = target, model, version, signature
        self.timeout, self.rotate = timeout, rotate
        self.retries = check_whole(retries, "retries", "Client: ", least=0)
        self.batch_size = check_whole(batch_size, "batch_size", "Client: ")
        self._schema = load_schema(schema)
        scheme, host = _address(target)
        options = checked(headers, ca, certificate, trust_env, max_bytes, scheme)
        self._connect = functools.partial(_connect, scheme, host, model, signature=signature, options=options)
        self._server = self._connect(version=version)
        self._lock, self._metadata = threading.Lock(), None
        self._workers: ThreadPoolExecutor | None = None
        self._closing = self._closed = False  # requests submitted before `close` are still sent

    def predict(self, values: Any) -> dict[str, np.ndarray]:
        """Outputs for rows, in their order.

        Args:
            values: a dict of input -> list (or array) with one value a row; a list of rows, each a dict of input ->
                value; or a DataFrame, whose other columns are ignored. One row is a list of one dict.

        Returns:
            dict of output name -> array with one entry a row; strings are str, or bytes where the output's name ends in
            "_bytes".

        Raises:
            InputError: a name that the signature does not have, or a value that cannot be sent.
            ServingError: no response, or a failure on the server.
        """
        signature = self._asked()
        inputs, outputs = signature["inputs"], signature["outputs"]
        columns = as_columns(values, inputs, self._schema)
        count = len(next(iter(columns.values()), []))
        batches = [range(start, min(start + self.batch_size, count)) for start in range(0, count, self.batch_size)]
        answers = [self._batch(columns, inputs, outputs, rows) for rows in batches]
        if not answers:
            return {name: _empty(*described) for name, described in outputs.items()}
        return {name: self._joined(name, [one[name] for one in answers]) for name in answers[0]}

    def _joined(self, name: str, parts: list[np.ndarray]) -> np.ndarray:
        shapes = sorted({part.shape[1:] for part in parts})
        if len(shapes) > 1:
            raise malformed(
                self._server.where,
                f"{name!r}: expected rows of one shape in all batches, received {shapes[0]} and {shapes[1]}",
            )
        return np.concatenate(parts)

    def _batch(self, columns: dict, inputs: dict, outputs: dict, rows: range) -> dict[str, np.ndarray]:
        arrays = as_arrays(columns, inputs, self._schema, rows, self.rotate)
        answers = self._ask(lambda left: self._server.predict(arrays, outputs, left))
        return {name: _as_str(name, answer) for name, answer in answers.items()}

    def submit(self, values: Any) -> Future:
        """`predict` in the background: a `concurrent.futures.Future`."""
        with self._lock:
            self._check_open(self._closing)
            self._workers = self._workers or ThreadPoolExecutor(WORKERS, "mmkeras-serving")
            return self._workers.submit(self.predict, values)

    async def apredict(self, values: Any) -> dict[str, np.ndarray]:
        """`predict` to be awaited."""
        return await asyncio.wrap_future(self.submit(values))

    def metadata(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The inputs and outputs of the signature; the server is asked once.

        Returns:
            dict of "inputs" and "outputs" -> dict of name -> dict of "dtype" (NumPy's name, or "string") and "shape"
            (tuple in which None is any size; None for any shape).
        """
        return {
            role: {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in described.items()}
            for role, described in self._asked().items()
        }

    def _asked(self) -> dict[str, dict]:
        if self._metadata is None:  # no lock: simultaneous threads must not wait for each other's attempts
            self._metadata = self._ask(self._server.described)
        return self._metadata

    def status(self) -> dict[int, str]:
        """The state of each version of the model: dict of version -> str; "ready" is the good one."""
        found = self._ask(self._server.status)
        words = {version: STATES.get(state, state) + (f": {said}" if said else "") for version, state, said in found}
        return {version: printable(said) for version, said in words.items()}

    def ready(self, wait: float = 0.0) -> bool:
        """Whether the model is ready now, or within `wait` seconds. Without a response it is False."""
        self._check_open()
        end = time.monotonic() + wait
        while True:
            with contextlib.suppress(ServingError):
                if any(state == "AVAILABLE" for _, state, _ in self._server.status(min(self.timeout, max(wait, 1.0)))):
                    return True
            if time.monotonic() + PAUSE > end:
                return False
            time.sleep(PAUSE)

    def _what_is_there(self, left: float) -> str:
        """The model's versions on the server, in words."""
        found = []
        server = self._connect(version=None)
        with contextlib.suppress(ServingError), contextlib.closing(server):
            found = [f"{version} ({STATES.get(state, state)})" for version, state, _ in server.status(left)]
        if not found:
            return f"the server has no model {self.model!r}: its name is the one in models.config"
        return f"versions of {self.model!r}: {', '.join(found)}"

    def _ask(self, question: Callable[[float], Any]) -> Any:
        """The result of `question(seconds left)`, called again where that may help."""
        self._check_open()
        deadline = time.monotonic() + self.timeout
        for attempt in range(1, self.retries + 2):
            try:
                return question(max(deadline - time.monotonic(), 1e-3))  # a pause may have taken longer than planned
            except ServingError as error:
                error.attempts = attempt
                if error.code in ("INVALID_ARGUMENT", "INTERNAL"):
                    self._metadata = None  # perhaps from a version that is no longer served: ask for it again
                pause = min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)
                if not error.transient or attempt > self.retries or time.monotonic() + pause >= deadline:
                    left = deadline - time.monotonic()
                    if left > 0 and (error.code == "NOT_FOUND" or "version label" in str(error)):
                        error.args = (f"{error.args[0]}; {self._what_is_there(left)}",)
                    raise
            time.sleep(pause)

    def _check_open(self, closing: bool = False) -> None:
        if self._closed or closing:
            raise InputError("Client: it is closed")

    def close(self) -> None:
        """Wait for the requests of `submit`, and close the connections."""
        with self._lock:
            workers, self._workers, self._closing = self._workers, None, True
        if workers:
            workers.shutdown()
        self._closed = True
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.target!r}, model={self.model!r}, version={self.version!r}, signature={self.signature!r})"


HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(%\w+)?\]|[\w.-]+)(:\d{1,5})?")  # no user, no path: headers hold what is secret


def _address(target: Any) -> tuple[str, str]:
    """The scheme ("http", "https", "grpc", "grpcs") and the host with its port."""
    scheme, found, host = str(target).rstrip("/").partition("://")
    scheme, host = (scheme, host) if found else ("grpc" if scheme.rpartition(":")[1] else "", scheme)
    if scheme not in ("http", "https", "grpc", "grpcs") or not HOST.fullmatch(host):
        received = "one with a user or a password; send them in headers" if "@" in host else shown(target)
        raise InputError(
            'Client: expected target to be "http://host:8501" (REST) or "grpc://host:8500" or "host:8500" (gRPC), '
            f"received {received}"
        )
    return scheme, host


def _connect(
    scheme: str, host: str, model: str, version: int | str | None, signature: str, options: Connection
) -> Rest | Grpc:
    version = int(version) if isinstance(version, Integral) else version
    if scheme in ("http", "https"):
        return Rest(f"{scheme}://{host}", model, version, signature, options)
    return Grpc(host, scheme == "grpcs", model, version, signature, options)


def _empty(dtype: str, shape: tuple[int | None, ...] | None) -> np.ndarray:
    return np.empty([0, *(size or 0 for size in (shape or ())[1:])], object if dtype == "string" else dtype)


def _as_str(name: str, answer: np.ndarray) -> np.ndarray:
    """Strings as str, as gRPC gives bytes. Bytes that are no text stay bytes."""
    if answer.dtype != object or name.endswith("_bytes"):
        return answer
    texts = np.empty(answer.size, object)
    texts[:] = [_text(value) for value in answer.ravel()]
    return texts.reshape(answer.shape)


def _text(value: Any) -> Any:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value
