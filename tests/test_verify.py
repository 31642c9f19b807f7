import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import checksums
from mmkeras.errors import InputError
from mmkeras.schema import Category, Number, Schema, Series, Text
from mmkeras.verification import WAYS, Check, Verification, verify
from mmkeras.verification.replay import Skip, program
from mmkeras.verification.replay.checks import main
from mmkeras.verification.replay.golden import compare
from mmkeras.verification.replay.signatures import as_examples
from mmkeras.verification.replay.warm_up import check_warm_up, predict_request


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A version of an untrained model."""
    schema = Schema(
        {
            "word": Text(2, vocabulary=["a", "b"]),
            "trace": Series(4, channels=2, means=[0, 0], std=[1, 1]),
        },
        {"answer": Category(classes=["x", "y"]), "weight": Number(unit="kg", mean=70000, std=10)},
    )
    return mk.export(mk.build(schema, width=4), schema, tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def here(monkeypatch):
    """`verify` replays in this process, which costs no import of TensorFlow: dict of check -> (outcome, words)."""
    monkeypatch.setitem(verify.__globals__, "_run", lambda command, *_: main(*command[3:]))

    def found(bundle, *ways):
        return {check.name: (check.outcome, check.words) for check in verify(bundle, ways=ways).checks}

    return found


@pytest.fixture
def copy(exported, tmp_path):
    return Path(shutil.copytree(exported, tmp_path / "1"))


def edit_golden(bundle, edit):
    path = bundle / "assets.extra" / "golden.json"
    golden = json.loads(path.read_text())
    edit(golden)
    path.write_text(json.dumps(golden))
    checksums.write(bundle)


def test_a_right_bundle(exported):
    """In real processes."""
    verification = verify(exported.parent, ways=["load", "session"])
    assert verification.passed, str(verification)
    assert {check.name: check.outcome for check in verification.checks} == dict.fromkeys(
        [
            "files",
            "load: ops",
            "load: imports",
            "load: golden batch",
            "load: rows by themselves",
            "load: rows in reverse",
            "load: 0 rows",
            "load: signature tensors",
            "load: signature classify_answer",
            "load: signature embed",
            "load: signature examples",
            "load: signature regress_weight",
            "session: ops",
            "session: golden batch",
            "session: warm-up requests",
        ],
        "passed",
    )
    words = {check.name: check.words for check in verification.checks}
    assert words["load: imports"] == f"TensorFlow {tf.__version__} alone, neither mmkeras nor Keras"
    assert words["load: signature embed"].endswith("also gives embedding")
    assert (
        words["session: warm-up requests"]
        == "12 requests to classify_answer, embed, examples, regress_weight, serving_default, tensors"
    )
    assert str(verification).splitlines()[0] == str(exported)


def test_a_program_in_c(exported, copy, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        assert here(exported, "c")["c"] == ("skipped", "there is no C compiler (cc, gcc, clang)")
        return
    (outcome, words) = here(exported, "c")["c: golden batch"]
    assert outcome == "passed", words
    monkeypatch.setattr(program, "compiled", lambda: str(tmp_path / "program"))
    edit_golden(copy, lambda golden: golden["outputs"]["answer_label"].__setitem__(0, "z"))
    outcome, words = here(copy, "c")["c: golden batch"]
    assert words.startswith("answer_label: 1 of 3 rows differ in row 0: expected 'z', received '")
    shutil.rmtree(copy / "variables")
    checksums.write(copy)
    outcome, words = here(copy, "c")["c: golden batch"]
    assert outcome == "failed"
    assert words.startswith("RuntimeError: exit code 1: Could not find variable ")


def test_golden_answers_that_differ(copy, here):
    def edit(golden):
        outputs = golden["outputs"]
        outputs["answer_probabilities"][0][1] += 0.25
        outputs["answer_label"][0] = "z"
        outputs["status"][0] = 3
        outputs["guess"] = outputs.pop("weight_value")

    edit_golden(copy, edit)
    outcome, words = here(copy, "session")["session: golden batch"]
    assert outcome == "failed"
    first, second, label, probabilities, status = words.split("; ")
    assert first == "guess: not answered"
    assert second == "weight_value: there is no expected value"
    assert label.startswith("answer_label: 1 of 3 rows differ in row 0: expected 'z', received '")
    assert probabilities.startswith("answer_probabilities: 1 of 3 rows differ, at most by 0.25 in row 0[1]: expected ")
    assert status == "status: 1 of 3 rows differ, at most by 1 in row 0: expected 3, received 0"


def test_inputs_that_the_signature_does_not_take(copy, here):
    edit_golden(copy, lambda golden: golden["inputs"].pop("word"))
    outcome, words = here(copy, "session")["session: golden batch"]
    assert (outcome, words) == (
        "failed",
        "the signature takes trace, word; golden.json has trace",
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_broken_graph(copy, here, way, monkeypatch):
    monkeypatch.setattr(program, "compiled", lambda: "program")
    (copy / "saved_model.pb").write_bytes(b"\x08\x01 junk")
    checksums.write(copy)
    assert here(copy, way)[f"{way}: ops"][0] == "failed"


@pytest.mark.parametrize("way", ["load", "session"])
def test_missing_weights(copy, here, way):
    shutil.rmtree(copy / "variables")
    checksums.write(copy)
    outcome, words = here(copy, way)[way]
    assert outcome == "failed"
    assert "variables" in words


class Module(tf.Module):
    """Answers with what `rule` makes of a float `(n,)`."""

    def __init__(self, rule):
        super().__init__()
        specs = [tf.TensorSpec([None], tf.float32, name="number")]
        self.serve = tf.function(lambda number: {"value": rule(number)}, specs, autograph=False)

    def save(self, folder, numbers=(1.0, 2.0, 4.0)):
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve, "double": self.serve})
        values = self.serve(tf.constant(numbers))["value"].numpy().tolist()
        golden = {"inputs": {"number": numbers}, "outputs": {"value": values}}
        (folder / "assets.extra").mkdir()
        golden |= {"signature_name": "serving_default", "tolerance": 1e-5}
        (folder / "assets.extra" / "golden.json").write_text(json.dumps(golden))
        return folder


def test_rows_that_see_each_other(tmp_path, here):
    found = here(Module(tf.cumsum).save(tmp_path), "load")
    assert found["load: golden batch"] == ("passed", "3 rows, 1 output, largest difference 0")
    told = "value: 2 of 3 rows differ, at most by 3 in row 2: expected 7, received 4"
    assert found["load: rows by themselves"] == ("failed", told)
    told = "value: 3 of 3 rows differ, at most by 6 in row 0: expected 1, received 7"
    assert found["load: rows in reverse"] == ("failed", told)
    assert found["load: 0 rows"][0] == "passed"
    assert found["load: signature double"][0] == "passed"
    assert found["load: signature tensors"] == (
        "failed",
        "there is no signature 'tensors', only double, serving_default",
    )


def test_no_rows_and_one_row(tmp_path, here):
    def fails_on_none(number):
        with tf.control_dependencies([tf.debugging.assert_positive(tf.size(number))]):
            return tf.identity(number)

    found = here(Module(fails_on_none).save(tmp_path, [3.0]), "load")
    assert found["load: rows by themselves"] == ("skipped", "the golden batch has fewer than 2 rows")
    outcome, words = found["load: 0 rows"]
    assert outcome == "failed"
    assert words.startswith("InvalidArgumentError: ")


def test_ops_that_run_python(tmp_path, here):
    folder = Module(lambda number: tf.ensure_shape(tf.numpy_function(np.sqrt, [number], tf.float32), [None]))
    found = here(folder.save(tmp_path), "session")
    assert found["session: ops"][0] == "failed"
    assert found["session: ops"][1].startswith("nothing of this graph was run: PyFunc runs Python code (in ")
    assert list(found) == ["files", "session: ops"]


def test_ops_that_tensorflow_does_not_have(tmp_path, here):
    folder = Module(tf.sqrt).save(tmp_path)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes().replace(b"\x12\x04Sqrt", b"\x12\x04Sqrd"))
    found = here(folder, "session")
    assert "Sqrd is not one of TensorFlow's" in found["session: ops"][1]
    assert list(found) == ["files", "session: ops"]


def test_a_foreign_bundle(tmp_path, here):
    """Without a list of its files: what cannot be checked is said."""
    found = here(Module(tf.sqrt).save(tmp_path), "session")
    words = "there is no SHA256SUMS: whether files were changed since the export cannot be told"
    assert found["files"] == ("skipped", words)
    assert found["session: golden batch"][0] == "passed"
    assert found["session: warm-up requests"] == ("skipped", "there is no tf_serving_warmup_requests")


def test_warm_up_requests(exported, tmp_path):
    numbers = np.arange(100, dtype=np.float32)  # a message of more than 127 bytes

    def answer(name, values):
        assert values["number"].tolist() == numbers.tolist()
        return {"value": np.float32([1, np.nan])}

    serving = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    log = serving.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "small", "embed"
    request.model_spec.version.value = 300
    request.output_filter.append("value")
    request.inputs["number"].CopyFrom(tf.make_tensor_proto(numbers))
    name, values = predict_request(log.SerializeToString())
    assert (name, list(values)) == ("embed", ["number"])
    with pytest.raises(AssertionError, match="a request ends too early"):
        predict_request(log.SerializeToString()[:-1])
    for api in ("classify_log", "regress_log"):
        whole = serving.PredictionLog()
        example_log = getattr(whole, api)
        example_log.request.model_spec.signature_name = "regress"
        example_log.request.input.example_list.examples.add().features.feature["x"].float_list.value.append(1)
        name, values = predict_request(whole.SerializeToString())
        example = example_log.request.input.example_list.examples[0]
        assert (name, values["inputs"].tolist()) == ("regress", [example.SerializeToString()])
    others = serving.PredictionLog()
    others.session_run_log.request.model_spec.name = "small"
    assert predict_request(others.SerializeToString()) is None
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(log.SerializeToString())
        file.write(others.SerializeToString())
    with pytest.raises(AssertionError, match="value: numbers that are not finite"):
        check_warm_up(tmp_path, answer)
    assert check_warm_up(tmp_path, lambda *_: {}) == "1 request to embed; 1 of other APIs were not replayed"
    with tf.io.TFRecordWriter(str(path)) as file:
        for _ in range(1001):
            file.write(b"")
    with pytest.raises(AssertionError, match="takes at most 1000 requests; here are 1001"):
        check_warm_up(tmp_path, answer)


@pytest.mark.parametrize(
    ("expected", "received", "told"),
    [
        ([70000.0], [70000.5], None),  # within 1e-5 of itself
        ([0.001], [0.001005], None),  # within 1e-5
        ([0.5], [0.50002], "at most by 2e-05 in row 0: expected 0.5, received 0.50002"),
        ([0.5, 1.0], [0.5, np.nan], "1 of 2 rows differ, at most by inf in row 1: expected 1, received nan"),
        ([np.nan, np.inf], [np.nan, np.inf], None),
        ([[1.0]], [1.0], r"x: expected the shape \(1, 1\), received \(1,\)"),
        ([[0.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [1.5, 4.0]], r"1 of 2 rows differ, at most by 2 in row 1\[1\]"),
    ],
)
def test_numbers(expected, received, told):
    def held():
        return compare({"x": np.array(expected)}, {"x": np.float32(received)}, 1e-5)

    if told is None:
        assert held().startswith(f"{len(expected)} row")
    else:
        with pytest.raises(AssertionError, match=told):
            held()


def test_examples_are_made_of_rows():
    values = {
        "sound": np.array([b"RIFF\0\0", b""], object),
        "cells": np.array([[b"a", b"1"], [b"", b""]], object),
        "pixels": np.float32([[1, 2], [0, 0]]),
        "count": np.int32([7, 8]),
    }
    first, second = (tf.train.Example.FromString(one).features.feature for one in as_examples(values))
    assert sorted(first) == sorted(second) == ["cells", "count", "pixels", "sound"]
    assert first["sound"].bytes_list.value == [b"RIFF\0\0"]
    assert second["sound"].bytes_list.value == [b""]
    assert first["cells"].bytes_list.value == [b"a", b"1"]
    assert first["pixels"].float_list.value == [1, 2]
    assert second["count"].int64_list.value == [8]


def python_that(tmp_path, does):
    """A program in the place of Python; its arguments: -m replay WAY BUNDLE RESULTS."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("echo the last line; kill -SEGV $$", f"the process was ended by {signal.SIGSEGV.name}: the last line"),
        ("echo No module named tensorflow >&2; exit 3", "exit code 3: No module named tensorflow"),
        ("sleep 60 & wait", "time limit of 0.5 s"),
        ("exit 0", "the process found nothing"),
    ],
)
def test_a_process_that_does_not_end_well(exported, tmp_path, does, told):
    line = '{"name": "session: ops", "outcome": "passed", "words": "all"}'
    python = python_that(tmp_path, f"test $3 = session && echo '{line}' > $5\n{does}")
    verification = verify(exported, python, ways=["load", "session"], seconds=0.5)
    assert not verification.passed
    files, first, kept, *rest = verification.checks
    assert files.outcome == "passed"
    assert (first.name, first.outcome) == ("load", "failed")
    assert told in first.words
    assert kept == Check("session: ops", "passed", "all")
    assert [check.name for check in rest] == (["session"] if does != "exit 0" else [])


def test_what_the_process_has_started_ends_with_it(exported, tmp_path):
    python = python_that(tmp_path, f"(sleep 1; touch {tmp_path}/late) & wait")
    assert not verify(exported, python, ways=["c"], seconds=0.2).passed
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Skip, match=r"there is no C compiler|needs Linux"):
        program.compiled()


def test_what_is_no_bundle(copy, tmp_path):
    with pytest.raises(InputError, match="folder with its versions"):
        verify(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"verify: unknown way 'lod'; did you mean 'load'\?"):
        verify(copy, ways=["lod"])
    with pytest.raises(InputError, match="verify: cannot run the Python '/no/python'"):
        verify(copy, "/no/python")
    (tmp_path / "2").mkdir()
    with pytest.raises(InputError, match=r"expected a SavedModel, but .*/2' has no saved_model.pb"):
        verify(tmp_path / "2")
    assert verify(copy.parent, ways=[]).directory == copy  # not the empty folder beside it
    with pytest.raises(InputError, match="verify: expected ways to be a list, received 'load'"):
        verify(copy, ways="load")
    with pytest.raises(InputError, match="verify: expected seconds to be a number above 0, received '5'"):
        verify(copy, seconds="5")
    edit_golden(copy, lambda golden: golden["inputs"]["word"].pop())
    with pytest.raises(InputError, match="inputs and outputs with equally many rows, at least one"):
        verify(copy)
    edit_golden(copy, lambda golden: golden.pop("tolerance"))
    with pytest.raises(InputError, match="holds no golden batch: KeyError: 'tolerance'"):
        verify(copy)
    (copy / "assets.extra" / "golden.json").unlink()
    with pytest.raises(
        InputError,
        match=r"has no golden outputs, so that nothing of it can be checked: there is no assets.extra/golden.json",
    ):
        verify(copy)


def test_the_table():
    checks = (Check("load: ops", "passed", "3 kinds"), Check("c", "skipped", "no compiler"))
    verification = Verification(Path("models/1"), checks)
    assert verification.passed
    assert str(verification).splitlines() == [
        "models/1",
        "  passed  load: ops  3 kinds",
        "  skipped c          no compiler",
        "1 passed, 0 failed, 1 skipped",
    ]
    assert not Verification(Path("models/1"), checks[1:]).passed
    long = Verification(Path("models/1"), (Check("load", "failed", "word " * 60),))
    assert max(map(len, str(long).splitlines())) <= 120
    assert not long.passed
