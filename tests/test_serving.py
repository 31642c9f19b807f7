import asyncio
import io
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import decode
from mmkeras.decode.audio import wav as decode_wav
from mmkeras.errors import InputError
from mmkeras.serving import Client, ServingError
from mmkeras.serving import client as client_module
from mmkeras.serving.media import as_sent, wav

pytest.importorskip("tensorflow_serving", reason="the double is made of tensorflow-serving-api, which is not installed")
Image = pytest.importorskip("PIL.Image", reason="pictures are written with pillow, which is not installed")
soundfile = pytest.importorskip("soundfile")

from serving_double import Double  # noqa: E402

SCHEMA = {
    "format": 1,
    "inputs": {
        "image": {"kind": "Image", "height": 2, "width": 4, "column": "photo"},
        "audio": {"kind": "Audio", "sampling_rate": 8000, "seconds": 0.05, "optional": True},
        "question": {"kind": "Text", "length": 4},
        "patient": {"kind": "Tabular", "numeric": ["age", "weight"], "categorical": ["ward"]},
        "trace": {"kind": "Series", "channels": 2, "length": 4, "optional": True},
    },
}

TRACES = {"inputs": {"trace": {"kind": "Series", "channels": 2, "length": 4}}}  # no schema but for arrays of numbers
READ_TRACE = decode.decoder(mk.Series(16, 2))


class Echo(tf.Module):
    """Answers with what it was sent."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(version, dtype=tf.int64)

    def default(self, image, audio, question, patient, trace):
        tf.debugging.assert_none_equal(question, "boom", message="no such question")
        values, _, steps = READ_TRACE(trace)
        return {
            "image_bytes": tf.identity(image),
            "audio_bytes": tf.identity(audio),
            "question": tf.identity(question),
            "patient": tf.identity(patient),
            "total": tf.reduce_sum(values, [1, 2]),
            "steps": tf.identity(steps),
            "version": tf.fill(tf.shape(question), self.version),
        }

    def single(self, question):
        return {"letters": tf.strings.length(question)}

    def tensors(self, pixels, flag, ids):
        return {"pixels": pixels + 1, "flag": ~flag, "ids": ids * 2}

    def halves(self, pixels):
        return {"halves": tf.cast(pixels, tf.float16) / 2}


def save(folder, version):
    def texts(name, *shape):
        return tf.TensorSpec([None, *shape], tf.string, name)

    echo = Echo(version)
    given = [texts("image"), texts("audio"), texts("question"), texts("patient", 3), texts("trace")]
    pixels = [tf.TensorSpec([None, 2, 2], tf.uint8, "pixels"), tf.TensorSpec([None], tf.bool, "flag")]
    signatures = {
        "serving_default": tf.function(echo.default).get_concrete_function(*given),
        "single": tf.function(echo.single).get_concrete_function(texts("question")),
        "halves": tf.function(echo.halves).get_concrete_function(pixels[0]),
        "tensors": tf.function(echo.tensors).get_concrete_function(*pixels, tf.TensorSpec([None], tf.int64, "ids")),
    }
    tf.saved_model.save(echo, str(folder / str(version)), signatures)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Versions 1 and 2 of a model."""
    folder = tmp_path_factory.mktemp("models") / "echo"
    save(folder, 1)
    shutil.copytree(folder / "1", folder / "2")
    return folder


@pytest.fixture(scope="module")
def double(folder):
    with Double(folder, "echo", labels={"stable": 1}) as double:
        yield double


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE", 0.02)


@pytest.fixture
def own_double(folder):
    """A double that a test may spoil."""
    with Double(folder, "echo") as double:
        yield double


@pytest.fixture(params=["rest", "grpc"])
def front(request):
    return request.param


@pytest.fixture
def ask(double, front):
    """A client's maker over either front."""
    made = []

    def make(**options):
        made.append(Client(getattr(double, front), **{"model": "echo", **options}))
        return made[-1]

    yield make
    for client in made:
        client.close()


def row(**values):
    return {"image": b"", "audio": None, "question": "", "patient": None, "trace": None, **values}


PICTURE = mk.Image(2, 4)
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
WAVE = np.linspace(-1, 1, 400).astype("float32")


def as_png(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def test_every_kind_of_value(ask, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\xff\x00file")
    soundfile.write(tmp_path / "a.flac", WAVE, 8000)
    client = ask(schema=TRACES)
    answers = client.predict(
        {
            "image": [b"\x00\xff", tmp_path / "a.bin", Image.fromarray(PIXELS), PIXELS, PIXELS[..., 0], None],
            "audio": [wav(8000, WAVE), (8000, WAVE), tmp_path / "a.flac", (8000, WAVE.astype("float64")), "", None],
            "question": ["plain", "Élodie 😀", "", None, float("nan"), pd.NA],
            "patient": [["1", 2, None], (0.5, float("nan"), "north"), [b"1", True, "x"], None, ["", "", ""], [1, 2, 3]],
            "trace": [np.ones((3, 2)), [[1, 2]], None, np.ones((5, 2)), np.zeros((0, 2)), [[0.5, -0.5]] * 2],
        }
    )
    assert list(answers["image_bytes"][:2]) == [b"\x00\xff", b"\xff\x00file"]
    for sent, pixels in zip(answers["image_bytes"][2:5], [PIXELS, PIXELS, PIXELS[..., :1]], strict=True):
        np.testing.assert_array_equal(tf.io.decode_image(sent), pixels)
    assert answers["image_bytes"][5] == b""
    for sent, error in zip(answers["audio_bytes"][:4], [0, 0, 2**-15, 0], strict=True):
        samples, rate = decode_wav(tf.constant(sent))
        assert (int(rate), samples.shape) == (8000, (400, 1))
        np.testing.assert_allclose(samples[:, 0], WAVE, atol=error)
    assert list(answers["audio_bytes"][4:]) == [b"", b""]
    assert list(answers["question"]) == ["plain", "Élodie 😀", "", "", "", ""]
    assert answers["patient"].tolist() == [
        ["1", "2", ""],
        ["0.5", "", "north"],
        ["1", "True", "x"],
        [""] * 3,
        [""] * 3,
        ["1", "2", "3"],
    ]
    assert answers["total"].tolist() == [6, 3, 0, 8, 0, 0]
    assert answers["steps"].tolist() == [3, 1, 0, 4, 0, 2]
    assert {name: value.dtype.name for name, value in answers.items()} == {
        "image_bytes": "object",
        "audio_bytes": "object",
        "question": "object",
        "patient": "object",
        "total": "float32",
        "steps": "int32",
        "version": "int64",
    }


def test_with_the_schema_a_str_is_a_path(ask, tmp_path):
    (tmp_path / "a.png").write_bytes(as_png(PIXELS))
    np.save(tmp_path / "long.npy", np.ones((9, 2)))
    soundfile.write(tmp_path / "a.ogg", WAVE, 8000)
    client = ask(schema=SCHEMA)
    files = {"image": str(tmp_path / "a.png"), "audio": str(tmp_path / "a.ogg"), "trace": str(tmp_path / "long.npy")}
    cells = {"ward": "north", "age": 3, "weight": None}
    answers = client.predict([{**files, "question": str(tmp_path / "a.png"), "patient": cells}])
    assert answers["image_bytes"][0] == as_png(PIXELS)
    assert answers["audio_bytes"][0][:4] == b"RIFF"
    assert answers["question"][0] == str(tmp_path / "a.png")
    assert answers["patient"].tolist() == [["3", "", "north"]]
    assert (answers["steps"][0], answers["total"][0]) == (4, 8)  # cut at the schema's length


def test_optional_inputs_may_be_left_out_with_the_schema(ask):
    given = {"image": [b"1"], "question": ["?"], "patient": [None]}
    answers = ask(schema=SCHEMA).predict(given)
    assert (answers["audio_bytes"][0], answers["steps"][0]) == (b"", 0)
    with pytest.raises(InputError, match=r"missing 'audio', 'trace'; expected .*; received image, question, patient"):
        ask().predict(given)


def test_cells_in_columns_of_their_own(double):
    given = {"image": [b"1"], "question": ["?"], "age": [3], "weight": [4]}
    with Client(double.rest, model="echo", schema=SCHEMA) as client:
        assert client.predict({**given, "ward": ["x"]})["patient"].tolist() == [["3", "4", "x"]]
        with pytest.raises(InputError, match=r"missing 'patient'; .* received image, question, age, weight"):
            client.predict(given)
        with pytest.raises(InputError, match="unknown input 'wrad'; did you mean 'ward'"):
            client.predict({**given, "wrad": ["x"]})


def test_a_data_frame(ask, tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    frame = pd.DataFrame({"photo": [tmp_path / "a.png", None], "question": ["a", None], "age": [3, np.nan]})
    frame = frame.assign(weight=[1.5, 2.5], ward=["north", None], answer=["cat", "dog"])
    client = ask(schema=SCHEMA)
    answers = client.predict(frame)
    assert list(answers["image_bytes"]) == [b"png", b""]
    assert answers["patient"].tolist() == [["3", "1.5", "north"], ["", "2.5", ""]]
    rows = client.predict(frame.drop(columns="answer").astype(object).to_dict("records"))
    assert rows["question"].tolist() == answers["question"].tolist() == ["a", ""]


def test_batches_keep_the_order(own_double):
    rows = [row(question=str(number), trace=np.ones((number % 3, 2))) for number in range(10)]
    for target in (own_double.rest, own_double.grpc):
        with Client(target, model="echo", schema=TRACES, batch_size=4) as client:
            answers = client.predict(rows)
        assert list(answers["question"]) == [str(number) for number in range(10)]
        assert answers["steps"].tolist() == [number % 3 for number in range(10)]
    assert own_double.batches == [4, 4, 2] * 2


def test_no_rows(ask):
    answers = ask().predict({name: [] for name in row()})
    assert answers["patient"].shape == (0, 3)
    assert answers["total"].dtype == "float32"
    assert ask().predict([])["patient"].shape == (0, 3)


def test_one_output_and_numbers(ask):
    assert ask(signature="single").predict({"question": ["abc", ""]})["letters"].tolist() == [3, 0]
    pixels = np.arange(8).reshape(2, 2, 2)  # int64, which uint8 can hold
    answers = ask(signature="tensors").predict({"pixels": pixels, "flag": [True, False], "ids": [2**60, -1]})
    np.testing.assert_array_equal(answers["pixels"], pixels + 1)
    assert (answers["flag"].tolist(), answers["ids"].tolist()) == ([False, True], [2**61, -2])


def test_half_precision(double):  # the server's REST API does not know it
    with Client(double.grpc, model="echo", signature="halves") as client:
        answers = client.predict({"pixels": [[[1, 2], [3, 4]]]})
    assert answers["halves"].dtype == "float16"
    assert answers["halves"].tolist() == [[[0.5, 1], [1.5, 2]]]


def test_metadata_is_asked_once(ask, monkeypatch):
    client = ask()
    found = client.metadata()
    assert found["inputs"]["patient"] == {"dtype": "string", "shape": (None, 3)}
    assert found["inputs"]["trace"] == {"dtype": "string", "shape": (None,)}
    assert found["outputs"]["version"] == {"dtype": "int64", "shape": (None,)}
    monkeypatch.setattr(client._server, "described", None)
    assert client.metadata() == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"imagge": [b""]}, "unknown input 'imagge'; did you mean 'image'?"),
        (
            {"question": ["a"]},
            "missing 'audio', 'image', 'patient', 'trace'; expected audio, image, .*, trace; received question",
        ),
        ({"image": [b""], "question": ["a", "b"]}, "as many rows in every column, received 'image': 1, 'question': 2"),
        ({"image": b"bytes"}, r"'image': expected a list with one value a row \(one row alone is given as \[\{'image'"),
        ("words", "expected a dict of columns, a list of rows"),
        ([row(), row(question=3)], "row 1: 'question': expected a text, .* received int '3'"),
        ([row(image=WAVE)], r"row 0: 'image': expected a waveform as \(rate, samples\)"),
        ([row(image=PIXELS.astype(float))], r"expected a picture as uint8 array .* received an array \(2, 4, 3\) of f"),
        ([row(audio=(WAVE, 8000))], r"row 0: 'audio': expected a recording as \(rate, samples\): samples a second"),
        ([row(audio=(8000, WAVE.astype(int)))], r"expected samples as float in \[-1, 1\] or int16, received int64"),
        ([row(patient=["a"])], r"row 0: 'patient': expected 3 cells, received \['a'\]"),
        ([row(trace=[1.0])], r"row 0: 'trace': expected numbers \(steps, 2\), received an array \(1,\)"),
        ([row(trace=__file__)], r"row 0: 'trace': expected a .npy file or an array, received '.*test_serving.py'"),
        ([row(trace=["a"])], r"row 0: 'trace': expected numbers \(steps, 2\), received"),
        ([row(question="\ud800")], "row 0: 'question': expected text that UTF-8 can hold"),
    ],
)
def test_wrong_values(double, values, message):
    with Client(double.rest, model="echo", schema=TRACES) as client, pytest.raises(InputError, match=message):
        client.predict(values)


def test_wrong_numbers(double):
    right = {"pixels": np.zeros((1, 2, 2), int), "flag": [True], "ids": [1]}
    for wrong, message in [
        (
            {"pixels": [[[300, 0], [0, 0]]]},
            "row 0: 'pixels': expected uint8, received int64 with values that it cannot",
        ),
        ({"pixels": [[[0.5, 0], [0, 0]]]}, "expected uint8, received float64"),
        ({"pixels": [[1, 2]]}, r"'pixels': expected the shape \(None, 2, 2\), received \(1, 2\)"),
        ({"ids": ["a"]}, "'ids': expected int64, received 'a'"),
    ]:
        with Client(double.rest, model="echo", signature="tensors") as client, pytest.raises(InputError, match=message):
            client.predict({**right, **wrong})


def test_wrong_files(double, tmp_path):
    (tmp_path / "a.flac").write_bytes(b"fLaC and nothing")
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0 ftyp")
    with Client(double.rest, model="echo") as client:
        with pytest.raises(InputError, match=r"row 0: 'image': cannot read .*gone.png': No such file"):
            client.predict([row(image=tmp_path / "gone.png")])
        with pytest.raises(InputError, match=r"row 0: 'audio': cannot read the recording .*a.flac"):
            client.predict([row(audio=tmp_path / "a.flac")])
    with pytest.raises(InputError, match="expected a GIF or WebP file, as the served model reads no other"):
        as_sent(str(tmp_path / "a.mp4"), mk.Video(3, 8, 8))
    with pytest.raises(
        InputError, match=r"expected a video: its bytes, a path, received an array \(2, 4, 3\) of uint8"
    ):
        as_sent(PIXELS, mk.Video(3, 8, 8))


def test_versions_and_labels(ask):
    for version in (1, "stable", 2, None):
        assert ask(version=version, signature="single").predict({"question": ["a"]})["letters"].tolist() == [1]
    assert ask().status() == {1: "ready", 2: "ready"}
    assert ask(version=2).status() == {2: "ready"}
    assert ask().ready()
    assert not ask(version=9).ready()
    for options, code, words in [
        (
            {"version": 9},
            "NOT_FOUND",
            r"no such model or version is loaded: .*; versions of 'echo': 2 \(ready\), 1 \(r",
        ),
        ({"model": "eco"}, "NOT_FOUND", "the server has no model 'eco': its name is the one in models.config"),
        ({"version": "gold"}, "INVALID_ARGUMENT", r"Unrecognized servable version label: gold; versions of 'echo': 2 "),
    ]:
        with pytest.raises(ServingError, match=words) as caught:
            ask(**options).metadata()
        assert (caught.value.code, caught.value.attempts) == (code, 1)
    with pytest.raises(InputError, match="'echo': unknown signature 'singel'; did you mean 'single'"):
        ask(signature="singel").metadata()


def test_what_the_server_refuses(ask):
    with pytest.raises(ServingError, match=r"the server refuses the request: .*no such question") as caught:
        ask().predict([row(question="boom")])
    error = caught.value
    assert (error.code, error.transient, error.attempts) == ("INVALID_ARGUMENT", False, 1)


def test_what_may_pass_is_tried_again(own_double, front):
    target = getattr(own_double, front)
    with Client(target, model="echo", signature="single") as client:
        client.metadata()
        own_double.fail_first = 2
        assert client.predict({"question": ["abc"]})["letters"].tolist() == [3]
        assert own_double.asked == 3
    own_double.fail_first = 9
    with Client(target, model="echo", signature="single", retries=2) as client:
        with pytest.raises(
            ServingError, match=r"the server cannot answer now: .*queue.* is full \(3 attempts\)"
        ) as error:
            client.predict({"question": ["abc"]})
        assert (error.value.code, error.value.attempts, error.value.transient) == ("UNAVAILABLE", 3, True)


def test_a_limit_of_time(own_double, front):
    with Client(getattr(own_double, front), model="echo", signature="single", timeout=0.3) as client:
        client.metadata()
        own_double.delay = 1.0
        start = time.monotonic()
        with pytest.raises(ServingError, match=r"no answer within 0\.\d+ s \(timeout\)") as caught:
            client.predict({"question": ["abc"]})
        assert time.monotonic() - start < 0.9
        assert (caught.value.code, caught.value.attempts, own_double.asked) == ("DEADLINE_EXCEEDED", 1, 1)


def test_attempts_end_with_the_time(own_double, monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE", 0.2)
    own_double.fail_first = 99
    with Client(own_double.rest, model="echo", signature="single", timeout=0.5, retries=50) as client:
        start = time.monotonic()
        with pytest.raises(ServingError, match="cannot answer now"):
            client.predict({"question": ["abc"]})
        assert time.monotonic() - start < 1
        assert 2 <= own_double.asked <= 4


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there(scheme):
    port = free_port()
    with Client(f"{scheme}://127.0.0.1:{port}", model="echo", retries=1) as client:
        with pytest.raises(
            ServingError, match=f"{port}: nothing answers there.*is the server running.*2 attempts"
        ) as error:
            client.predict([row()])
        assert error.value.code == "UNAVAILABLE"
        assert not client.ready()


def test_the_wrong_port(double):
    for target, message in [
        (f"http://127.0.0.1:{double.grpc_port}", 'not HTTP: a gRPC port .* is given as "grpc://host:8500"'),
        (f"127.0.0.1:{double.rest_port}", 'not gRPC: a REST port .* is given as "http://host:8501"'),
    ]:
        with Client(target, model="echo") as client, pytest.raises(ServingError, match=message) as error:
            client.metadata()
        assert error.value.attempts == 1


def test_a_server_that_comes_back(folder, front, monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE", 0.2)
    with Double(folder, "echo") as first:
        ports = {"rest": first.rest_port, "grpc_port": first.grpc_port}
        client = Client(getattr(first, front), model="echo", signature="single", retries=8)
        assert client.predict({"question": ["abc"]})["letters"].tolist() == [3]
    pool = ThreadPoolExecutor(1)
    again = pool.submit(lambda: (time.sleep(0.3), Double(folder, "echo", **ports))[1])
    with client:
        assert client.predict({"question": ["abcd"]})["letters"].tolist() == [4]
    again.result().close()


def test_ready_waits(folder):
    port = free_port()
    with Client(f"http://127.0.0.1:{port}", model="echo") as client:
        started = []
        later = threading.Timer(0.2, lambda: started.append(Double(folder, "echo", rest=port)))
        later.start()
        assert not client.ready()
        assert client.ready(wait=20)
        later.join()
        started[0].close()


def test_threads_share_a_client(ask):
    client = ask(schema=TRACES)

    def question(number):
        words = [f"{number}-{part}" for part in range(3)]
        answers = client.predict([row(question=word, trace=np.full((2, 2), number)) for word in words])
        assert list(answers["question"]) == words
        assert answers["total"].tolist() == [4.0 * number] * 3
        return number

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(question, range(200))) == list(range(200))


def test_in_the_background(ask):
    client = ask(signature="single")
    futures = [client.submit({"question": ["x" * number]}) for number in range(5)]
    assert [future.result()["letters"][0] for future in futures] == list(range(5))

    async def several():
        return await asyncio.gather(*(client.apredict({"question": ["x" * number]}) for number in range(5)))

    assert [answers["letters"][0] for answers in asyncio.run(several())] == list(range(5))
    client.close()
    with pytest.raises(InputError, match="Client: it is closed"):
        client.predict({"question": ["x"]})
    with pytest.raises(InputError, match="Client: it is closed"):
        client.submit({"question": ["x"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None}, "expected model to be a name"),
        ({"timeout": 0}, "expected timeout to be seconds above 0, at most 86,400, received 0"),
        ({"batch_size": True}, "expected batch_size to be a whole number above 0, received True"),
        ({"timeout": float("inf")}, "expected timeout to be seconds above 0, at most 86,400, received inf"),
        ({"timeout": True}, "expected timeout to be seconds above 0"),
        ({"version": ""}, "expected version to be number or label, received ''"),
        ({"schema": {"inputs": {"image": 5}}}, "expected schema to be a bundle, its schema.json or a dict"),
        ({"schema": {"inputs": {"image": {"kind": "Imag"}}}}, "'image': unknown kind 'Imag'; did you mean 'Image'"),
        ({"schema": {"inputs": {"image": {"height": 3}}}}, "expected schema to be a bundle"),
        ({"target": "http://localhost:8501/v1/models/keypad"}, 'expected target to be "http://host:8501"'),
        ({"version": 1.5}, "expected version to be number or label, received 1.5"),
        ({"schema": "nowhere.json"}, "schema: cannot read 'nowhere.json'"),
        ({"schema": {"input": {}}}, "expected schema to be a bundle, its schema.json or a dict"),
        ({"target": "localhost"}, 'expected target to be "http://host:8501"'),
        ({"target": "ftp://localhost:1"}, 'expected target to be "http://host:8501"'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        Client(**{"target": "http://localhost:8501", "model": "echo", **options})


def test_missing_packages(monkeypatch):
    for name, make in {
        "grpc": lambda: Client("localhost:8500", model="echo"),
        "requests": lambda: Client("http://localhost:8501", model="echo"),
        "PIL.Image": lambda: as_sent(PIXELS),
    }.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(InputError, match=r'needs the package \w+: pip install "mmkeras\[serving\]"'):
                make()


FRESH = """
import sys
import mmkeras.serving
heavy = lambda: sorted({"tensorflow", "keras", "pandas", "tensorflow_serving"} & set(sys.modules))
assert not heavy() and "grpc" not in sys.modules, heavy()
for target in sys.argv[1:]:
    with mmkeras.serving.Client(target, model="echo", signature="single") as client:
        assert client.predict({"question": ["abc"]})["letters"].tolist() == [3]
    assert not heavy(), heavy()
"""


def test_neither_tensorflow_nor_keras_in_a_fresh_process(double):
    done = subprocess.run(
        [sys.executable, "-c", FRESH, double.rest, double.grpc], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("rate", "samples", "message"),
    [
        (8000, np.zeros((1, 2400)), r"at most 32 channels; received .* an array \(1, 2400\)"),
        (0.5, np.zeros(8), "samples a second from 1 to 10,000,000"),
        (2e9, np.zeros(8), "samples a second from 1 to 10,000,000"),
        (8000, np.full(8, 20_000.0), r"expected samples as float in \[-1, 1\] or int16, received float64 up to 20000"),
    ],
)
def test_recordings_that_are_none(rate, samples, message):
    with pytest.raises(InputError, match=message):
        wav(rate, samples)


def test_pictures_that_pillow_would_change_or_cannot_read(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for mode in ("F", "I"):
        with pytest.raises(InputError, match=f"received the mode '{mode}'"):
            as_sent(image.new(mode, (4, 4)), PICTURE)
    whole = io.BytesIO()
    image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole.getvalue()[:800])
    with pytest.raises(InputError, match="cannot read the picture: "):
        as_sent(image.open(tmp_path / "half.jpg"), PICTURE)


def test_a_jpeg_too_large_for_pillow_is_left_to_the_server():
    image = pytest.importorskip("PIL.Image")
    raw = io.BytesIO()
    image.new("L", (8, 8)).save(raw, "JPEG")
    raw = raw.getvalue()
    at = raw.index(b"\xff\xc0") + 5
    bomb = raw[:at] + b"\xff\xff\xff\xff" + raw[at + 4 :]  # 65,535 x 65,535
    assert as_sent(bomb, PICTURE, rotate=True) == bomb


def test_a_path_that_is_none():
    with pytest.raises(InputError, match=r"cannot read 'a.x00b': embedded null"):
        as_sent("a\0b", PICTURE)


def test_one_str_of_numpy_is_no_column(double):
    with Client(double.rest, model="echo") as client, pytest.raises(InputError, match="expected a list with one value"):
        client.predict({"question": np.str_("abc")})


def test_columns_of_one_name(double):
    frame = pd.DataFrame([["a", "b"]], columns=["question", "question"])
    with Client(double.rest, model="echo") as client, pytest.raises(InputError, match="received 'question' twice"):
        client.predict(frame)


def test_a_pause_that_outlasts_the_time(monkeypatch):
    """The last attempt is made with next to no time, and fails as the others did."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sleep = time.sleep
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: sleep(seconds + 0.5))
    with Client(f"http://127.0.0.1:{port}", model="echo", timeout=0.4) as client, pytest.raises(ServingError):
        client.predict({"question": ["x"]})


def test_after_closing(double):
    client = Client(double.grpc, model="echo")
    client.close()
    with pytest.raises(InputError, match="Client: it is closed"):
        client.ready()
