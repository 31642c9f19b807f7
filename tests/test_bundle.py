import json
import os
import re
import subprocess
import sys

import contracts
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.bundle import ask
from mmkeras.errors import InputError
from mmkeras.schema import Audio, Category, Image, Schema, Text


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keypad")
    schema = Schema({"image": Image(8, 8, 1), "question": Text(16), "audio": Audio(8000, 0.3)}, {"answer": Category()})
    return mk.read(mk.datasets.keypad(folder, rows=100), schema).fit()


@pytest.fixture(scope="module", params=["concat", "attention"])
def exported(request, records, tmp_path_factory):
    """A model with every tower's tokens, its bundle, and the raw values of ten rows."""
    keras.utils.set_random_seed(0)
    towers = contracts.every_token(records.schema)
    model = mk.build(records.schema, fusion=request.param, towers=towers, width=16)
    return model, mk.export(model, records.schema, tmp_path_factory.mktemp("models") / "keypad")


def raw_values(records, rows=10):
    def read(name):
        return [tf.io.read_file(path) for path in records.values(name)[:rows]]

    return {
        "image": tf.stack(read("image")),
        "question": tf.constant(records.values("question")[:rows].tolist()),
        "audio": tf.stack(read("audio")),
    }


def serve(bundle, values):
    answers = tf.saved_model.load(str(bundle)).signatures["serving_default"](**values)
    return {name: value.numpy() for name, value in answers.items()}


def test_raw_values_answer_as_predict_does(exported, records):
    model, bundle = exported
    some = records.take(np.arange(10))
    answers, table = serve(bundle, raw_values(records)), mk.predict(model, some)
    probabilities = model.predict(mk.batches(some, 10, targets=False), verbose=0)
    np.testing.assert_allclose(answers["probabilities"], probabilities, atol=1e-5)
    np.testing.assert_allclose(answers["score"], table["answer_score"], atol=1e-5)
    assert [label.decode() for label in answers["label"]] == list(table["answer"])
    assert not any(answers[name].any() for name in ("status", "image_status", "question_status", "audio_status"))


def test_tensors_signature(exported, records):
    model, bundle = exported
    (x,) = mk.batches(records.take(np.arange(10)), 10, targets=False)
    answers = tf.saved_model.load(str(bundle)).signatures["tensors"](**x)
    assert sorted(answers) == ["label", "probabilities", "score"]
    np.testing.assert_allclose(answers["probabilities"], model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "junk"),
    [("image", b""), ("image", b"\x89PNG\r\n\x1a\n then nothing"), ("audio", b"RIFF"), ("question", b"\xff\xfe")],
)
def test_one_bad_row_costs_no_other(exported, records, name, junk):
    _, bundle = exported
    values = raw_values(records)
    expected = serve(bundle, values)
    broken = [*values[name].numpy()[:3], junk, *values[name].numpy()[4:]]
    answers = serve(bundle, {**values, name: tf.constant(broken)})
    assert answers["status"].tolist() == answers[f"{name}_status"].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert (answers["label"][3], answers["score"][3], answers["probabilities"][3].sum()) == (b"", 0, 0)
    others = np.arange(10) != 3
    np.testing.assert_allclose(answers["probabilities"][others], expected["probabilities"][others], atol=1e-6)
    assert (answers["label"][others] == expected["label"][others]).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(exported, records, rows):
    _, bundle = exported
    answers = serve(bundle, {name: value[:rows] for name, value in raw_values(records).items()})
    assert answers["label"].shape == answers["status"].shape == (rows,)
    assert answers["probabilities"].shape[0] == rows


def test_all_rows_bad(exported):
    _, bundle = exported
    junk = tf.constant([b"junk"] * 3)
    answers = serve(bundle, {"image": junk, "question": junk, "audio": junk})
    assert answers["status"].tolist() == [1, 1, 1]
    assert np.isfinite(answers["probabilities"]).all()


SESSION = """
import json, sys
import tensorflow as tf
bundle, image, question, audio = sys.argv[1:]
feeds = {"image": [open(image, "rb").read(), b"junk"], "question": [question.encode()] * 2}
feeds["audio"] = [open(audio, "rb").read()] * 2
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loaded = tf.compat.v1.saved_model.load(session, ["serve"], bundle)
    signature = loaded.signature_def["serving_default"]
    assert sorted(signature.inputs) == sorted(feeds), sorted(signature.inputs)
    found = session.run(
        {name: tensor.name for name, tensor in signature.outputs.items()},
        {signature.inputs[name].name: value for name, value in feeds.items()},
    )
assert "keras" not in sys.modules or not [m for m in sys.modules if m.startswith("mmkeras")]
print(json.dumps({"probabilities": found["probabilities"].tolist(), "status": found["status"].tolist()}))
"""


def test_session_on_tensor_names_as_tensorflow_serving_does(exported, records):
    model, bundle = exported
    row = [str(records.values(name)[0]) for name in ("image", "question", "audio")]
    command = [sys.executable, "-c", SESSION, str(bundle), *row]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    expected = model.predict(mk.batches(records.take([0]), 1, targets=False), verbose=0)
    np.testing.assert_allclose(found["probabilities"][0], expected[0], atol=1e-5)
    assert found["status"] == [0, 1]


def test_asked_in_a_fresh_process(exported, records):
    model, bundle = exported
    rows = records.frame.iloc[:3].to_dict("records")
    answers = ask(bundle, rows, records.schema)
    assert answers["label"] == list(mk.predict(model, records.take([0, 1, 2]))["answer"])
    with pytest.raises(InputError, match="cannot ask the bundle 'nowhere'"):
        ask("nowhere", rows, records.schema)


def test_the_schema_lies_beside_it(exported, records):
    _, bundle = exported
    assert mk.Schema.load(bundle / "assets.extra" / "schema.json") == records.schema


@pytest.fixture
def small(tmp_path):
    schema = Schema({"word": Text(2, vocabulary=["a", "b"])}, {"answer": Category(classes=["x", "y"])})
    return mk.build(schema, width=4), schema, tmp_path / "models" / "small"


def test_versions_are_never_overwritten(small):
    model, schema, folder = small
    assert [mk.export(model, schema, folder).name for _ in range(2)] == ["1", "2"]
    (folder / "7").mkdir()
    (folder / "notes").mkdir()
    assert mk.export(model, schema, folder).name == "8"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "7", "8", "notes"]
    assert (folder / "8").stat().st_mode & 0o777 == 0o755


def test_nothing_is_left_of_an_export_that_fails(small, monkeypatch):
    model, schema, folder = small

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Schema, "save", full)
    with pytest.raises(InputError, match=r"cannot write to .*small': No space left on device"):
        mk.export(model, schema, folder)
    assert list(folder.iterdir()) == []


def test_a_file_in_the_way(small, tmp_path):
    model, schema, _ = small
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=re.escape(f"export: cannot write to {str(tmp_path / 'file')!r}")):
        mk.export(model, schema, tmp_path / "file")
    with pytest.raises(InputError, match="export: cannot write to"):
        mk.export(model, schema, tmp_path / "file" / "model")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(small, tmp_path):
    model, schema, _ = small
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(InputError, match="Permission denied"):
        mk.export(model, schema, tmp_path / "locked" / "model")


def test_two_targets_are_prefixed(tmp_path):
    frame = pd.DataFrame({"word": ["a", "b"] * 4, "first": ["x", "y"] * 4, "second": ["1", "2", "3", "4"] * 2})
    records = mk.read(frame, Schema({"word": Text(1)}, {"first": Category(), "second": Category()})).fit()
    bundle = mk.export(mk.build(records.schema, width=4), records.schema, tmp_path)
    answers = serve(bundle, {"word": tf.constant(["a", "never seen", ""])})
    names = [f"{target}_{part}" for target in ("first", "second") for part in ("label", "probabilities", "score")]
    assert sorted(answers) == sorted([*names, "status", "word_status"])
    assert answers["second_probabilities"].shape == (3, 4)
