"""The client against servers that answer what they should not: bounded in time and size, always a `ServingError`."""

import contextlib
import gzip
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hostile_server import OUTPUTS, SIGNATURES, Hostile, http

from mmkeras.errors import InputError
from mmkeras.serving import Client, ServingError
from mmkeras.serving.messages import messages

QUESTION = {"question": ["a"]}


def outputs(**changed):
    return http({"outputs": {**OUTPUTS, **changed}})


def chunked(body):
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def signature(**changed):
    return http({"metadata": {"signature_def": {"signature_def": {"serving_default": {**one(), **changed}}}}})


def one():
    return SIGNATURES["serving_default"]


def question(**changed):
    return signature(inputs={"question": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "-1"}]}, **changed}})


def dims(*sizes):
    return question(tensor_shape={"dim": [{"size": size} for size in sizes]})


NAN = json.dumps({"outputs": OUTPUTS}).replace("[0]", "[NaN]").encode()
RIGHT = json.dumps({"outputs": OUTPUTS}).encode()

MALFORMED = {
    "empty": (http(), "expected the JSON of TensorFlow Serving, received ''"),
    "no JSON": (http(b"hello"), "received 'hello'"),
    "HTML": (http(b"<html>welcome</html>"), "received '<html>welcome"),
    "cut": (http(RIGHT[:20]), "Unterminated string|Expecting"),
    "a list": (http([]), r"expected the JSON of TensorFlow Serving with 'outputs', received \[\]"),
    "a number": (http(5), "received 5"),
    "no outputs": (http({}), r"with 'outputs', received \{\}"),
    "rows in the place of columns": (http({"predictions": [OUTPUTS]}), "with 'outputs', received {'predictions'"),
    "an error in a 200": (http({"error": "out of order"}), "the server failed with INTERNAL: out of order"),
    "outputs that are null": (http({"outputs": None}), "'outputs': expected an object, received None"),
    "outputs that are a list": (http({"outputs": [1]}), r"'outputs': expected an object, received \[1\]"),
    "a missing output": (http({"outputs": {"score": [[1, 2]]}}), r"no output 'label'; expected .*received \['score'\]"),
    "no rows": (outputs(score=[]), "'score': expected 1 rows, received lists of 0 values"),
    "too many rows": (outputs(status=[0, 0]), "'status': expected 1 rows, received lists of 2 values"),
    "too narrow": (outputs(score=[[1]]), r"'score': expected the shape \(1, 2\), received lists of 1 values"),
    "too wide": (outputs(score=[[1, 2, 3]]), r"'score': expected the shape \(1, 2\), received lists of 3 values"),
    "ragged": (outputs(score=[[1, [2]]]), r"'score': expected the shape \(1, 2\), received \[2\]"),
    "too flat": (outputs(score=[1]), r"'score': expected the shape \(1, 2\), received 1"),
    "too deep": (outputs(score=[[[1], [2]]]), r"'score': expected the shape \(1, 2\), received \[1\]"),
    "null": (outputs(score=None), r"'score': expected the shape \(1, 2\), received None"),
    "null in a list": (outputs(score=[[None, 1]]), "'score': expected float32, received None"),
    "a text for a number": (outputs(score=[["1", "2"]]), "'score': expected float32, received '1'"),
    "a bool for a number": (outputs(score=[[True, 0.5]]), "'score': expected float32, received True"),
    "an object for a number": (outputs(score=[[{"b64": "YQ=="}, 1]]), "'score': expected float32, received {'b64'"),
    "a fraction": (outputs(status=[1.5]), "'status': expected int32, received 1.5"),
    "NaN": (http(NAN), "'status': expected int32, received nan"),
    "beyond int32": (outputs(status=[2**40]), "'status': expected int32: received 1099511627776"),
    "beyond int64": (outputs(status=[10**400]), "'status': expected int32: received 100000"),
    "beyond float32": (outputs(score=[[1e300, 0]]), r"'score': expected float32: received 1e\+300, beyond its range"),
    "beyond float64": (outputs(score=[[10**400, 0]]), "'score': expected float32: int too large"),
    "5,000 digits": (http(b"[" + b"9" * 5000), "5000 digits"),
    "a number for a text": (outputs(label=[5]), "'label': expected string, received 5"),
    "null for a text": (outputs(label=[None]), "'label': expected string, received None"),
    "a list for a text": (outputs(label=[["a"]]), r"'label': expected the shape \(1,\), received \['a'\]"),
    "an object for a text": (outputs(label=[{"a": 1}]), "'label': expected string: received {'a': 1}, not"),
    "no base64": (outputs(label=[{"b64": "§"}]), "'label': expected string: received '§', which is no base64"),
    "half a character": (http(RIGHT.replace(b"cat", b"\\ud800")), "'label': expected string: .*surrogates not allowed"),
    "nested": (http(b"[" * 100_000), "it is nested too deeply"),
    "nested in an output": (
        http(RIGHT.replace(b"[[0", b"[" * 900 + b"0").replace(b"75]]", b"75" + b"]" * 900)),
        "shape",
    ),
    "no UTF-8": (http(RIGHT.replace(b"cat", b"\xff")), "can't decode byte 0xff"),
    "UTF-16": (http(RIGHT.decode().encode("utf-16")), "can't decode byte 0xff in position 0"),
    "no gzip": (http(b"hello", "Content-Encoding: gzip"), "cannot be read: .*incorrect header check"),
    "gzip that is cut": (http(gzip.compress(RIGHT)[:-9], "Content-Encoding: gzip"), "its gzip data end too early"),
    "more after gzip": (http(gzip.compress(RIGHT) + b"x", "Content-Encoding: gzip"), "bytes after its gzip data"),
    "gzip twice": (http(gzip.compress(RIGHT), "Content-Encoding: gzip, gzip"), "expected gzip or no compression"),
    "another encoding": (http(RIGHT, "Content-Encoding: br"), "expected gzip or no compression, received .* 'br'"),
    "no chunks": (chunked(b"zz\r\nhello"), "the connection broke within the answer"),
    "a chunk that is cut": (chunked(b"5\r\nhel"), "the connection broke within the answer"),
    "a chunk of -5 bytes": (chunked(b"-5\r\nhello"), "cannot be read: read length must be non-negative"),
    "a length that is no number": (http(RIGHT, length="five"), "cannot be read: Content-Length 'five'"),
    "two lengths": (http(RIGHT, "Content-Length: 3"), "cannot be read: .*multiple unmatching values"),
    "too short a length": (http(RIGHT, length=5), "received .{1,3}outputs|Unterminated string"),
    "no HTTP": (b"hello\r\n\r\n", "something answers there, but not HTTP"),
    "a status of four digits": (http(status="9999 X"), "something answers there, but not HTTP"),
    "no content": (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "received ''"),
    "1,000 headers": (http(RIGHT, *["X: 1"] * 1000), "got more than 100 headers"),
    "a long header": (http(RIGHT, "X: " + "a" * 100_000), "got more than 65536 bytes"),
    "nothing": (lambda *_: None, "Remote end closed connection"),
    "a page with 500": (http(b"<html>", status="500 Oops"), "the server failed with INTERNAL: <html>"),
    "nothing with 400": (http(status="400 Bad Request"), "the server refuses the request: Bad Request"),
    "nested with 400": (http(b"[" * 100_000, status="400 X"), r"the server refuses the request: \[\[\["),
    "an object with 400": (http({"error": {"a": 1}}, status="400 X"), "the server refuses the request: {"),
    "colours of a terminal": (
        http({"error": "a\x1b[31mb"}, status="400 X"),
        "request: a\N{REPLACEMENT CHARACTER}.31mb",
    ),
}
MALFORMED_METADATA = {
    "no signatures": (http({"metadata": []}), r"with 'metadata.signature_def', received \[\]"),
    "a list": (http({"metadata": {"signature_def": {"signature_def": []}}}), "expected an object, received"),
    "inputs in a list": (signature(inputs=["a"]), r"'inputs': expected an object, received \['a'\]"),
    "a text for an input": (signature(inputs={"question": "x"}), "with 'dtype', received 'x'"),
    "no type": (signature(inputs={"question": {}}), "with 'dtype', received {}"),
    "a number for a type": (question(dtype=5), "'dtype': expected a text, received 5"),
    "an unknown type": (question(dtype="DT_VARIANT"), "inputs 'question': the client knows no type 'variant'"),
    "a text for a shape": (question(tensor_shape="x"), "'tensor_shape': expected an object, received 'x'"),
    "a text for axes": (question(tensor_shape={"dim": "ab"}), "'dim': expected a list, received 'ab'"),
    "a number for an axis": (question(tensor_shape={"dim": [5]}), r"expected sizes of axes, received \[5\]"),
    "a word for a size": (dims("abc"), "expected sizes of axes"),
    "a fraction for a size": (dims(1.5), "expected sizes of axes"),
    "a size of 30 digits": (dims("-1", "9" * 30), "expected sizes of axes"),
    "a row of a terabyte": (dims("-1", str(2**40)), "expected at most 134,217,728 values a row"),
    "100 axes": (dims(*["-1"] * 100), "values a row, received the shape"),
    "nested": (http(b"[" * 100_000), "it is nested too deeply"),
}
MALFORMED_STATUS = {
    "none": (http({}), "with 'model_version_status', received {}"),
    "a text": (http({"model_version_status": "x"}), "'model_version_status': expected a list, received 'x'"),
    "a number for a version": (http({"model_version_status": [5]}), "with 'version', received 5"),
    "a word for a number": (http({"model_version_status": [{"version": "x"}]}), "expected the number of a version"),
    "no state": (http({"model_version_status": [{"version": "1"}]}), "with 'state'"),
    "a number for a state": (
        http({"model_version_status": [{"version": "1", "state": 5}]}),
        "expected a text, received 5",
    ),
    "a text for the rest": (
        http({"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": "x"}]}),
        "'status': expected an object, received 'x'",
    ),
}


def refused(act, **answers):
    """The `ServingError` of one request to a server that answers so; a warning would be an error."""
    with (
        Hostile(**answers) as server,
        Client(server.target, model="m", retries=0, timeout=5) as client,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        with pytest.raises(ServingError) as caught:
            act(client)
    assert server.target in str(caught.value)
    assert len(str(caught.value)) < 700
    return caught.value


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_answers(case):
    answer, words = MALFORMED[case]
    assert re.search(words, str(refused(lambda client: client.predict(QUESTION), predict=answer)))


@pytest.mark.parametrize("case", MALFORMED_METADATA)
def test_malformed_metadata(case):
    answer, words = MALFORMED_METADATA[case]
    assert re.search(words, str(refused(lambda client: client.predict(QUESTION), metadata=answer)))


@pytest.mark.parametrize("case", MALFORMED_STATUS)
def test_malformed_status(case):
    answer, words = MALFORMED_STATUS[case]
    assert re.search(words, str(refused(lambda client: client.status(), status=answer)))
    with Hostile(status=answer) as server, Client(server.target, model="m") as client:
        assert not client.ready()


def test_what_is_not_malformed():
    """NaN of a float output, as TensorFlow Serving writes it; an output more than in the signature."""
    right = {"outputs": {**OUTPUTS, "score": [[1, float("nan")]], "more": "x"}}
    for answer in (http(right), http(gzip.compress(json.dumps(right).encode()), "Content-Encoding: gzip")):
        with Hostile(predict=answer) as server, Client(server.target, model="m") as client:
            found = client.predict(QUESTION)
        assert sorted(found) == ["label", "score", "status"]
        np.testing.assert_array_equal(found["score"], np.float32([[1, np.nan]]))


def test_batches_whose_rows_differ_in_shape():
    loose = signature(outputs={"score": {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True}}})
    answers = iter([[[1, 2]], [[1, 2, 3]]])

    def predict(connection, request):
        connection.sendall(http({"outputs": next(answers)}, "Connection: close"))

    with (
        Hostile(predict, metadata=loose) as server,
        Client(server.target, model="m", batch_size=1) as client,
        pytest.raises(ServingError, match=r"rows of one shape in all batches, received \(2,\) and \(3,\)"),
    ):
        client.predict({"question": ["a", "b"]})


def test_a_new_signature_is_asked_for_after_an_answer_that_does_not_fit():
    with Hostile(predict=outputs(score=[[1, 2, 3]])) as server, Client(server.target, model="m") as client:
        with pytest.raises(ServingError, match=r"expected the shape \(1, 2\)"):
            client.predict(QUESTION)
        wide = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "3"}]}}
        server.answers["metadata"] = signature(outputs={**one()["outputs"], "score": wide})
        assert client.predict(QUESTION)["score"].tolist() == [[1, 2, 3]]


# Time


def drip(head, piece):
    def answer(connection, request):
        connection.sendall(head)
        while not time.sleep(0.05):
            connection.sendall(piece)

    return answer


DRIPS = {
    "nothing": drip(b"", b""),
    "a header": drip(b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: a\r\n"),
    "first answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the end of chunks": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    "gzip that holds nothing": drip(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0\0\0\xff\xff"
    ),
}


@pytest.mark.parametrize("case", DRIPS)
def test_the_limit_of_time_holds_for_the_whole_request(case):
    with Hostile(DRIPS[case]) as server, Client(server.target, model="m", timeout=0.3) as client:
        client.metadata()
        check_late(client)
        before = set(threading.enumerate())
        assert not [one for one in before if one.name == "mmkeras-request" and one.join(2) is None and one.is_alive()]


def check_late(client):
    start = time.monotonic()
    with pytest.raises(ServingError, match=r"no answer within 0\.\d+ s \(timeout\)") as caught:
        client.predict(QUESTION)
    assert time.monotonic() - start < 0.6
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_the_limit_of_time_holds_for_names_and_addresses(monkeypatch):
    look_up = socket.getaddrinfo
    with Hostile() as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with contextlib.ExitStack() as stack:
            for _ in range(4):  # connections that nobody accepts: the next one waits
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            addresses = look_up("127.0.0.1", port, type=socket.SOCK_STREAM) * 20
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
            with Client("http://many.example", model="m", timeout=0.3) as client:
                check_late(client)

            def slow(*args, **options):
                time.sleep(1)
                return look_up("127.0.0.1", server.port, type=socket.SOCK_STREAM)

            monkeypatch.setattr(socket, "getaddrinfo", slow)
            with Client("http://slow.example", model="m", timeout=0.3) as client:
                check_late(client)
        time.sleep(1)
        assert not server.requests  # nothing is sent once the time is over


def test_the_limit_of_time_holds_for_the_question_which_versions_there_are():
    start = time.monotonic()
    with Hostile(status=drip(b"", b"")) as server:
        server.answers["metadata"] = http({"error": "gone"}, status="404 Not Found")
        with (
            Client(server.target, model="m", timeout=0.4) as client,
            pytest.raises(ServingError, match="no such model or version is loaded: gone"),
        ):
            client.predict(QUESTION)
    assert time.monotonic() - start < 0.9


# Size and place


@pytest.mark.parametrize(
    "answer",
    [
        http(gzip.compress(b" " * 3_000_000), "Content-Encoding: gzip"),
        http(b" " * 3_000_000),
        http(b" " * 3_000_000, status="500 Oops"),
        chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (3_000_000, b" " * 3_000_000)),
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 3_000_000,
    ],
)
def test_a_limit_of_size(answer):
    with (
        Hostile(answer) as server,
        Client(server.target, model="m", max_bytes=2_000_000) as client,
        pytest.raises(ServingError, match=r"an answer of more than 2,000,000 bytes: .* max_bytes") as caught,
    ):
        client.predict(QUESTION)
    assert (caught.value.code, caught.value.attempts) == ("RESOURCE_EXHAUSTED", 1)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(status):
    with Hostile() as other:
        for place in (f"{other.target}/v1/models/m:predict", "http://[", "/elsewhere", None):
            answer = http(b"x", *([f"Location: {place}"] if place else []), status=status)
            with Hostile(answer, metadata=answer) as server, Client(server.target, model="m") as client:
                with pytest.raises(
                    ServingError, match=f"redirects to .* \\({status[:3]}\\). It is not followed"
                ) as caught:
                    client.predict(QUESTION)
                assert (caught.value.attempts, len(server.requests)) == (1, 1)
    assert not other.requests


def test_headers():
    with Hostile() as server:
        with Client(server.target, model="m", headers={"Authorization": "Bearer secret", "X-Tenant": "7"}) as client:
            client.predict(QUESTION)
            client.status()
            assert "secret" not in repr(client)
        assert len(server.requests) == 3
        for request in server.requests:
            assert b"\r\nAuthorization: Bearer secret\r\n" in request
            assert b"\r\nX-Tenant: 7\r\n" in request


def test_the_environment_is_used_only_where_it_is_trusted(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Hostile() as server, Hostile() as proxy:
        monkeypatch.setenv("http_proxy", proxy.target)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with Client(server.target, model="m") as client:
            client.predict(QUESTION)
        assert not proxy.requests
        assert not any(b"Authorization" in request for request in server.requests)
        server.requests.clear()
        with Client(server.target, model="m", trust_env=True) as client:
            client.predict(QUESTION)
        with Client(server.target, model="m", trust_env=True, headers={"authorization": "Bearer own"}) as client:
            client.predict(QUESTION)
        assert not server.requests
        assert all(request.split()[1].startswith(server.target.encode()) for request in proxy.requests)
        found = [re.findall(rb"(?i)authorization: (\w+)", request) for request in proxy.requests]
        assert found == [[b"Basic"]] * 2 + [[b"Bearer"]] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headers": "Bearer x"}, "expected headers to be a dict of name -> value, received str"),
        ({"headers": {"a b": "c"}}, "headers: 'a b' is no name of a header"),
        ({"headers": {3: "c"}}, "headers: 3 is no name of a header"),
        ({"headers": {"Token": "secret\r\nX: y"}}, "expected the value of 'Token' to be one line of printable ASCII"),
        ({"headers": {"Token": None}}, "expected the value of 'Token' to be one line of printable ASCII"),
        ({"headers": {"content-length": "3"}}, "headers: 'content-length' is set by the client itself"),
        (
            {"headers": {"grpc-timeout": "3"}, "target": "grpc://localhost:1"},
            "'grpc-timeout' is no name of a header in gRPC",
        ),
        ({"ca": "ca.pem"}, 'ca and certificate are of encrypted connections: expected the target "https://"'),
        ({"certificate": ("a", "b"), "target": "localhost:1"}, 'expected the target "grpcs://"'),
        ({"ca": "no.pem", "target": "https://localhost"}, "cannot read PEM from 'no.pem': .*No such file"),
        ({"ca": __file__, "target": "https://localhost"}, "cannot read PEM from .*test_serving_hostile.py'"),
        ({"ca": 5, "target": "https://localhost"}, "expected ca to be .*path.*, received 5"),
        (
            {"certificate": "a.pem", "target": "https://localhost"},
            "expected certificate to be the paths of two PEM files",
        ),
        (
            {"certificate": ("a.pem", "b.pem"), "target": "grpcs://localhost:1"},
            "cannot read PEM from 'a.pem and b.pem'",
        ),
        ({"trust_env": 1}, "expected trust_env to be True or False, received 1"),
        ({"max_bytes": 0}, "expected max_bytes to be a whole number above 0, received 0"),
        ({"target": "http://me:secret@localhost"}, "received one with a user or a password; send them in headers"),
        ({"target": "http://localhost:1?x=1"}, 'expected target to be "http://host:8501"'),
        ({"target": "http://localhost#"}, 'expected target to be "http://host:8501"'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message) as caught:
        Client(**{"target": "http://localhost:8501", "model": "m", **options})
    assert "secret" not in str(caught.value)


# Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and certificates of a server and of a client that it has signed."""
    folder = tmp_path_factory.mktemp("certificates")
    if not shutil.which("openssl"):
        pytest.skip("openssl, which makes the certificates, is not installed")

    def openssl(words):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)

    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650"
    openssl(f"{new} -keyout ca.key -out ca.pem -subj /CN=authority")
    for name in ("server", "client"):
        alternative = "-addext subjectAltName=IP:127.0.0.1"
        signed = f"-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE {alternative}"
        openssl(f"{new} -keyout {name}.key -out {name}.pem -subj /CN={name} {signed}")
    openssl("pkey -in client.key -out locked.key -aes128 -passout pass:word")
    return folder


@pytest.fixture
def tls(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    return context


def test_certificates_over_rest(certificates, tls):
    ca, pair = certificates / "ca.pem", (certificates / "client.pem", certificates / "client.key")
    with Hostile(tls=tls) as server:
        with (
            Client(server.target, model="m") as client,
            pytest.raises(ServingError, match="no safe connection") as error,
        ):
            client.predict(QUESTION)
        assert (error.value.code, server.requests) == ("UNAVAILABLE", [])
        with Client(server.target, model="m", ca=ca) as client:
            assert client.predict(QUESTION)["label"].tolist() == ["cat"]
            server.answers["predict"] = drip(b"HTTP/1.1 200 OK\r\nX: ", b"a")
            client.timeout = 0.3
            check_late(client)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(ca)
    with Hostile(tls=tls) as server:
        with Client(server.target, model="m", ca=str(ca), certificate=pair) as client:
            assert client.predict(QUESTION)["label"].tolist() == ["cat"]
        with Client(server.target, model="m", ca=ca, retries=0) as client, pytest.raises(ServingError):
            client.predict(QUESTION)
    with pytest.raises(InputError, match="the key has a passphrase or is of another certificate"):
        Client(server.target, model="m", certificate=(pair[0], certificates / "locked.key"))
    with pytest.raises(InputError, match="the key has a passphrase or is of another certificate"):
        Client(server.target, model="m", certificate=(pair[0], certificates / "server.key"))


# gRPC


class Answers:
    """A gRPC server whose methods answer with these bytes. `seen`: the metadata of each request."""

    def __init__(self, predict=None, metadata=None, credentials=None, compression=None):
        grpc, types = pytest.importorskip("grpc"), messages()
        self.seen = []
        self.answers = {
            "Predict": tensors() if predict is None else predict,
            "GetModelMetadata": described() if metadata is None else metadata,
            "GetModelStatus": types.GetModelStatusResponse().SerializeToString(),
        }
        options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
        self.server = grpc.server(ThreadPoolExecutor(4), options=options, compression=compression)
        outer = self

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                outer.seen.append(dict(details.invocation_metadata))
                answer = outer.answers[details.method.rpartition("/")[2]]
                return grpc.unary_unary_rpc_method_handler(lambda *_: answer)

        self.server.add_generic_rpc_handlers([Handler()])
        port = (self.server.add_secure_port if credentials else self.server.add_insecure_port)(
            "127.0.0.1:0", *([credentials] if credentials else [])
        )
        self.target = f"grpc{'s' * bool(credentials)}://127.0.0.1:{port}"
        self.server.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.stop(None).wait()


def shape(*sizes):
    return {"dim": [{"size": size} for size in sizes]}


RIGHT_TENSORS = {
    "score": {"dtype": 1, "tensor_shape": shape(1, 2), "float_val": [0.25, 0.75]},
    "label": {"dtype": 7, "tensor_shape": shape(1), "string_val": [b"cat"]},
    "status": {"dtype": 3, "tensor_shape": shape(1), "int_val": [0]},
}


def tensors(**changed):
    given = {name: tensor for name, tensor in {**RIGHT_TENSORS, **changed}.items() if tensor}
    return messages().PredictResponse(outputs=given).SerializeToString()


def described(info=None, **changed):
    text = {"dtype": 7, "tensor_shape": shape(-1)}
    ints, floats = {**text, "dtype": 3}, {"dtype": 1, "tensor_shape": shape(-1, 2)}
    outputs = {"score": floats, "label": text, "status": ints}
    one = {"inputs": {"question": info or text}, "outputs": outputs, **changed}
    value = messages().SignatureDefMap(signature_def={"serving_default": one}).SerializeToString()
    return messages().GetModelMetadataResponse(metadata={"signature_def": {"value": value}}).SerializeToString()


def score(**changed):
    return lambda: tensors(score={**RIGHT_TENSORS["score"], **changed})


GRPC = {
    "no message": (lambda: b"\xff\xff\xff", "the server failed with INTERNAL: Exception deserializing response"),
    "a missing output": (lambda: tensors(label=None), "no output 'label'"),
    "another type": (score(dtype=2, double_val=[1, 2]), "'score': expected float32, received float64"),
    "a text": (score(dtype=7, string_val=[b"a", b"b"]), "'score': expected float32, received object"),
    "an unknown type": (score(dtype=21), "'score': values of the unknown type 21"),
    "too wide": (score(tensor_shape=shape(1, 3), float_val=[1] * 3), r"expected the shape \(1, 2\), received \(1, 3\)"),
    "too flat": (score(tensor_shape=shape(1)), r"'score': 2 values for the shape \(1,\)"),
    "too many rows": (score(tensor_shape=shape(2, 1)), "'score': expected 1 rows"),
    "a size of -1": (score(tensor_shape=shape(-1, 2)), r"'score': the shape \(-1, 2\)"),
    "one number for a terabyte": (score(tensor_shape=shape(1, 2**40), float_val=[1]), r"'score': the shape \(1, 1099"),
    "too few bytes": (score(float_val=[], tensor_content=b"\0" * 4), r"'score': 1 values for the shape \(1, 2\)"),
    "half a number": (score(float_val=[], tensor_content=b"\0" * 7), "'score': buffer size must be a multiple"),
    "too many bytes": (score(float_val=[], tensor_content=b"\0" * 40), r"'score': 10 values for the shape \(1, 2\)"),
    "beyond int8": (
        lambda: tensors(status={"dtype": 6, "tensor_shape": shape(1), "int_val": [300]}),
        "that int8 does not",
    ),
}
GRPC_METADATA = {
    "no message": (lambda: b"\xff\xff\xff", "INTERNAL"),
    "no signatures": (
        lambda: messages().GetModelMetadataResponse(metadata={"signature_def": {"value": b"\xff"}}).SerializeToString(),
        "expected the signatures of a model",
    ),
    "an unknown type": (lambda: described({"dtype": 21}), "inputs 'question': the client knows no type 'number 21'"),
    "a row of a terabyte": (
        lambda: described({"dtype": 7, "tensor_shape": shape(-1, 2**40)}),
        "at most 134,217,728 values a row",
    ),
}


@pytest.mark.parametrize("case", GRPC)
def test_malformed_answers_over_grpc(case):
    make, words = GRPC[case]
    with (
        Answers(make()) as server,
        Client(server.target, model="m", retries=0) as client,
        pytest.raises(ServingError, match=words),
    ):
        client.predict(QUESTION)


@pytest.mark.parametrize("case", GRPC_METADATA)
def test_malformed_metadata_over_grpc(case):
    make, words = GRPC_METADATA[case]
    with (
        Answers(metadata=make()) as server,
        Client(server.target, model="m", retries=0) as client,
        pytest.raises(ServingError, match=words),
    ):
        client.predict(QUESTION)


def test_zeros_may_be_left_out_over_grpc():
    with Answers(score(float_val=[])()) as server, Client(server.target, model="m") as client:
        assert client.predict(QUESTION)["score"].tolist() == [[0, 0]]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_limit_of_size_over_grpc(compressed):
    """Of compressed messages as well: they are not accepted."""
    grpc = pytest.importorskip("grpc")
    big = tensors(label={"dtype": 7, "tensor_shape": shape(1), "string_val": [b" " * 3_000_000]})
    words = "Compression algorithm not supp" if compressed else "an answer of more than 2,000,000 bytes: .* max_bytes"
    with Answers(big, compression=grpc.Compression.Gzip if compressed else None) as server:
        client = Client(server.target, model="m", max_bytes=2_000_000)
        with client, pytest.raises(ServingError, match=words) as caught:
            client.predict(QUESTION)
    assert caught.value.attempts == 1


def test_headers_and_certificates_over_grpc(certificates):
    grpc = pytest.importorskip("grpc")
    read = {path.name: path.read_bytes() for path in certificates.iterdir()}
    credentials = grpc.ssl_server_credentials(
        [(read["server.key"], read["server.pem"])], read["ca.pem"], require_client_auth=True
    )
    pair = (certificates / "client.pem", certificates / "client.key")
    with Answers(credentials=credentials) as server:
        headers = {"Authorization": "Bearer secret"}
        with Client(server.target, model="m", ca=certificates / "ca.pem", certificate=pair, headers=headers) as client:
            assert client.predict(QUESTION)["label"].tolist() == ["cat"]
        assert [seen["authorization"] for seen in server.seen] == ["Bearer secret"] * 2
        with (
            Client(server.target, model="m", certificate=pair, retries=0) as client,
            pytest.raises(ServingError, match="no safe connection") as caught,
        ):
            client.predict(QUESTION)
    assert caught.value.code == "UNAVAILABLE"
    assert len(server.seen) == 2


def test_the_environments_proxy_over_grpc(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Answers() as server, Hostile() as proxy:
        monkeypatch.setenv("grpc_proxy", proxy.target)
        with Client(server.target, model="m", timeout=5) as client:
            assert client.predict(QUESTION)["label"].tolist() == ["cat"]
    assert not proxy.requests
