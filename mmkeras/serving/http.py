"""One exchange over HTTP with a server that is not trusted: bounded in time and size, to no other host."""

import contextlib
import functools
import http.client
import re
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from mmkeras.errors import shown
from mmkeras.serving.connection import Connection
from mmkeras.serving.failures import ServingError, package, too_late, too_long

CONNECTIONS = 64  # kept open
PIECE = 65_536  # bytes that are read at a time


class Http:
    """One pool of connections to a server.

    Args:
        where: "http://host:port" or "https://host:port".
        options: `Connection`.
    """

    def __init__(self, where: str, options: Connection):
        self.requests = package("requests", "requests", "REST")
        self.urllib3 = package("urllib3", "urllib3", "REST")
        self.where, self.options = where, options
        self.adapter = _adapter_class()(pool_connections=1, pool_maxsize=CONNECTIONS)

    def ask(self, url: str, body: bytes | None, timeout: float) -> tuple[int, str, bytes]:
        """Send one request: POST, or GET without a body.

        The request runs in a thread of its own, whose connection is cut after the time: no limit of a socket's own
        holds for looking a name up, for several addresses, and for a server that sends a byte now and then.

        Returns:
            The status, its words, and the body, decompressed.

        Raises:
            ServingError: no answer in time, one that is too long or cannot be read, a redirect, a broken connection.
        """
        held = _Held()
        try:
            return _within(timeout, lambda: self._exchange(url, body, timeout, held), held.cut)
        except ServingError:
            raise
        except (TimeoutError, self.requests.exceptions.Timeout, self.urllib3.exceptions.TimeoutError) as error:
            raise too_late(self.where, timeout) from error
        except (OSError, ValueError, zlib.error, http.client.HTTPException, self.urllib3.exceptions.HTTPError) as error:
            raise self._failure(error, held) from error

    def _exchange(self, url: str, body: bytes | None, timeout: float, held: "_Held") -> tuple[int, str, bytes]:
        _here.held = held
        utils, trusted = self.requests.utils, self.options.trust_env
        headers = {**self.options.headers, "Content-Type": "application/json", "Accept-Encoding": "gzip"}
        own = any(name.lower() == "authorization" for name in headers)
        auth = utils.get_netrc_auth(url) if trusted and not own else None
        method = "GET" if body is None else "POST"
        request = self.requests.Request(method, url, headers=headers, data=body, auth=auth).prepare()
        answer = self.adapter.send(  # an adapter follows no redirect, and keeps no cookies
            request,
            stream=True,
            timeout=self.urllib3.Timeout(total=timeout),
            verify=self.options.ca or True,
            cert=self.options.certificate,
            proxies=utils.get_environ_proxies(url) if trusted else {},
        )
        with contextlib.closing(answer):
            held.answered = True
            if 300 <= answer.status_code < 400:
                raise ServingError(
                    f"{self.where}: the server redirects to {shown(answer.headers.get('Location', 'nowhere'))} "
                    f"({answer.status_code}). It is not followed: give the server's own address as the target",
                    "FAILED_PRECONDITION",
                )
            return answer.status_code, answer.reason or "", self._content(answer)

    def _content(self, answer: Any) -> bytes:
        """The body, decompressed here, to no more than `max_bytes`."""
        encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise self._unreadable(f"expected gzip or no compression, received Content-Encoding {shown(encoding)}")
        length, most = answer.headers.get("Content-Length", "0"), self.options.max_bytes
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise self._unreadable(f"Content-Length {shown(length)}")
        if int(length) > most:
            raise too_long(self.where, most)
        unzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding != "identity" else None
        found = bytearray()
        while piece := answer.raw.read(PIECE, decode_content=False):
            found += unzip.decompress(piece, most + 1 - len(found)) if unzip else piece
            if len(found) > most:
                raise too_long(self.where, most)
            if unzip and unzip.unused_data:
                raise self._unreadable("bytes after its gzip data")
        if unzip and not unzip.eof:
            raise self._unreadable("its gzip data end too early")
        return bytes(found)

    def _unreadable(self, reason: str) -> ServingError:
        return ServingError(f"{self.where}: the answer cannot be read: {reason}", "INTERNAL")

    def _failure(self, error: Exception, held: "_Held") -> ServingError:
        """The error of another library in plain words."""
        errors, protocol = self.requests.exceptions, self.urllib3.exceptions.ProtocolError
        said = str(getattr(error.args[0], "reason", error) if error.args else error)[:300]  # of urllib3's: its cause
        if isinstance(error, errors.SSLError):
            return ServingError(f"{self.where}: no safe connection (TLS): {said}", "UNAVAILABLE")
        if "BadStatusLine" in said:
            return ServingError(
                f"{self.where}: something answers there, but not HTTP: a gRPC port (8500 is the usual one) is given as "
                f'"grpc://host:8500" ({said})',
                "UNAVAILABLE",
            )
        if held.answered and isinstance(error, protocol | http.client.IncompleteRead | ConnectionError):
            return ServingError(
                f"{self.where}: the connection broke within the answer: {said}", "UNAVAILABLE", transient=True
            )
        if isinstance(error, errors.ConnectionError | protocol | ConnectionError):
            return ServingError(
                f"{self.where}: nothing answers there, or the connection broke: is the server running, and is this its "
                f"REST port (8501 is the usual one)? ({said})",
                "UNAVAILABLE",
                transient=True,
            )
        return self._unreadable(said)

    def close(self) -> None:
        """Close the connections."""
        self.adapter.close()


_here = threading.local()  # `held`: of the exchange in this thread


class _Held:
    """The connection that an exchange holds, so that another thread can cut it."""

    def __init__(self) -> None:
        self.connection: Any = None
        self.socket: socket.socket | None = None
        self.over = self.answered = False

    def hold(self, connection: Any) -> None:
        self.connection = connection
        if self.over:
            raise TimeoutError

    def cut(self) -> None:
        self.over = True
        for one in {self.socket, getattr(self.connection, "sock", None)} - {None}:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)  # under TLS as well, without its farewell


@functools.cache
def _adapter_class() -> type:
    """The adapter of requests whose connections can be cut."""
    adapters: Any = package("requests.adapters", "requests", "REST")
    urllib3: Any = package("urllib3", "urllib3", "REST")
    connection: Any = package("urllib3.connection", "urllib3", "REST")

    def held(base: type) -> type:
        class Held(base):
            def connect(self) -> None:
                _here.held.hold(self)
                super().connect()
                _here.held.hold(self)  # nothing is sent where that took too long

            def request(self, *args: Any, **options: Any) -> None:
                _here.held.hold(self)
                super().request(*args, **options)
                _here.held.socket = self.sock  # the connection lets go of it where the server closes afterwards

        return Held

    class Http(urllib3.HTTPConnectionPool):
        ConnectionCls = held(connection.HTTPConnection)

    class Https(urllib3.HTTPSConnectionPool):
        ConnectionCls = held(connection.HTTPSConnection)

    class Adapter(adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = {"http": Http, "https": Https}

        def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
            manager = super().proxy_manager_for(*args, **options)
            manager.pool_classes_by_scheme = {"http": Http, "https": Https}
            return manager

    return Adapter


def _within(seconds: float, work: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """The result of `work`, run in another thread. TimeoutError after the time: `stop` is called, and it is left."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it is raised where the result is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="mmkeras-request", daemon=True).start()
    try:
        return future.result(seconds)
    finally:
        if not future.done():
            stop()
