"""A server that answers whatever a test orders, byte by byte: for clients that must not trust it."""

import json
import socket
import threading

INFO = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}], "unknown_rank": False}}
SIGNATURES = {
    "serving_default": {
        "inputs": {"question": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}}},
        "outputs": {
            "score": INFO,
            "label": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}},
            "status": {"dtype": "DT_INT32", "tensor_shape": {"dim": [{"size": "-1"}]}},
        },
    }
}
METADATA = {"metadata": {"signature_def": {"signature_def": SIGNATURES}}}
STATUS = {"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_message": ""}}]}
OUTPUTS = {"score": [[0.25, 0.75]], "label": ["cat"], "status": [0]}  # the right answer to one row


def http(body=b"", *headers, status="200 OK", length=None):
    """A whole answer in HTTP."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, "", ""]).encode() + body


class Hostile:
    """Answers predict requests with `predict`, those for metadata and status with `metadata` and `status`.

    Each is bytes, or a function of the connection and the whole request. With `tls`, an `ssl.SSLContext`, over TLS.
    `requests` holds what was received, head and body.
    """

    def __init__(self, predict=None, metadata=None, status=None, tls=None):
        self.answers = {
            "predict": http({"outputs": OUTPUTS}) if predict is None else predict,
            "metadata": http(METADATA) if metadata is None else metadata,
            "status": http(STATUS) if status is None else status,
        }
        self.requests, self.tls, self.closing = [], tls, threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.target = f"http{'s' * bool(tls)}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closing.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            connection = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with connection:
                while request := _request(connection):
                    self.requests.append(request)
                    path = request.split(b" ", 2)[1]
                    kind = "predict" if b":predict" in path else "metadata" if path.endswith(b"/metadata") else "status"
                    answer = self.answers[kind]
                    if callable(answer):
                        answer(connection, request)
                        return
                    connection.sendall(answer)
                    if b"Content-Length" not in answer.partition(b"\r\n\r\n")[0]:
                        return
        except OSError:
            return  # the client has gone, as it may

    def close(self):
        self.closing.set()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _request(connection):
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
