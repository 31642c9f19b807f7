import base64
import functools
import json
import os
import re
from pathlib import Path

import contracts
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import mmkeras as mk
from mmkeras import decode
from mmkeras.bundle import ask, examples, golden, signatures
from mmkeras.errors import InputError
from mmkeras.schema import Audio, Category, Image, Schema, Series, Tabular, Text


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keypad")
    schema = Schema({"image": Image(8, 8, 1), "question": Text(16), "audio": Audio(8000, 0.3)}, {"answer": Category()})
    return mk.read(mk.datasets.keypad(folder, rows=100), schema).fit()


@pytest.fixture(scope="module")
def exported(records, tmp_path_factory):
    """A model with every tower's tokens, its bundle, and the raw values of ten rows."""
    keras.utils.set_random_seed(0)
    towers = contracts.every_token(records.schema)
    model = mk.build(records.schema, fusion="attention", towers=towers, width=16)
    return model, mk.export(model, records.schema, tmp_path_factory.mktemp("models") / "keypad")


ANSWERS = ("label", "probabilities", "score", "top_labels", "top_scores")


def raw_values(records, rows=10):
    def read(name):
        return [tf.io.read_file(path) for path in records.values(name)[:rows]]

    return {
        "image": tf.stack(read("image")),
        "question": tf.constant(records.values("question")[:rows].tolist()),
        "audio": tf.stack(read("audio")),
    }


@functools.cache
def loaded(bundle):
    return tf.saved_model.load(str(bundle)).signatures


def serve(bundle, values, signature="serving_default"):
    answers = loaded(bundle)[signature](**values)
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
    answers = serve(bundle, x, "tensors")
    assert sorted(answers) == sorted(ANSWERS)
    np.testing.assert_allclose(answers["probabilities"], model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "junk", "status"),
    [
        ("image", b"", 2),
        ("image", b"\x89PNG\r\n\x1a\n then nothing", 1),
        ("image", b"BM" + b"\0" * 16 + (30_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + b"\0" * 24, 3),
        ("audio", b"RIFF", 1),
        ("question", b"\xff\xfe", 1),
        ("question", b"", 2),
    ],
    ids=["image-empty", "image-corrupt", "image-large", "audio-corrupt", "question-corrupt", "question-empty"],
)
def test_one_bad_row_costs_no_other(exported, records, name, junk, status):
    _, bundle = exported
    values = raw_values(records)
    expected = serve(bundle, values)
    broken = [*values[name].numpy()[:3], junk, *values[name].numpy()[4:]]
    answers = serve(bundle, {**values, name: tf.constant(broken)})
    assert answers["status"].tolist() == answers[f"{name}_status"].tolist() == [0, 0, 0, status] + [0] * 6
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


def test_asked_in_a_fresh_process(exported, records):
    model, bundle = exported
    rows = records.frame.iloc[:3].to_dict("records")
    answers = ask(bundle, rows, records.schema)
    assert answers["label"] == list(mk.predict(model, records.take([0, 1, 2]))["answer"])
    with pytest.raises(InputError, match="cannot run the bundle 'nowhere'"):
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
    answers = serve(bundle, {"word": tf.constant(["a", "never seen", "b"])})
    names = [f"{target}_{part}" for target in ("first", "second") for part in ANSWERS]
    assert sorted(answers) == sorted([*names, "status", "word_status"])
    assert answers["second_probabilities"].shape == (3, 4)


@pytest.fixture(scope="module")
def of_all_kinds(tmp_path_factory):
    """A bundle of a model that reads every kind of input and has every kind of target, and its schema."""
    schema = Schema(
        {
            "image": Image(8, 8, 1, optional=True),
            "trace": Series(5, 2, means=(0.0, 1.0), std=(1.0, 2.0)),
            "numbers": Tabular(("age",), ("town",), (30.0,), (5.0,), (("Rome", "Bonn"),)),
            "film": mk.Video(2, 8, 8, 1),
            "words": Text(3, vocabulary=["a", "b"], optional=True),
        },
        {
            "kind": Category(classes=["x", "y", "z"]),
            "tags": mk.Labels(classes=["p", "q"]),
            "price": mk.Number(3.0, 2.0, unit="EUR"),
        },
    )
    keras.utils.set_random_seed(0)
    spec = mk.ModelSpec(width=8)
    model = mk.build(schema, spec)
    folder = tmp_path_factory.mktemp("all") / "everything"
    return mk.export(model, schema, folder, spec=spec, notes="Not meant for anything."), schema, model


def golden_of(bundle):
    """The golden batch's inputs as tensors, and its outputs."""
    golden = json.loads((bundle / "assets.extra" / "golden.json").read_text())

    def value(cell):
        if isinstance(cell, list):
            return [value(each) for each in cell]
        return base64.b64decode(cell["b64"]) if isinstance(cell, dict) else cell

    specs = loaded(bundle)["serving_default"].structured_input_signature[1]
    inputs = {name: tf.constant(value(column), specs[name].dtype) for name, column in golden["inputs"].items()}
    return inputs, golden["outputs"]


def test_the_golden_batch_is_answered_again(of_all_kinds):
    inputs, expected = golden_of(of_all_kinds[0])
    answers = serve(of_all_kinds[0], inputs)
    assert sorted(answers) == sorted(expected)
    for name, values in answers.items():
        if values.dtype == object:
            assert np.char.decode(values.astype(bytes), "utf-8").tolist() == expected[name]
        else:
            np.testing.assert_allclose(values, expected[name], atol=1e-5)
    # made up; without image, trace, film and words; unreadable
    assert answers["status"].tolist() == [0, 0, 2, 2, 0, 1]
    assert answers["image_status"].tolist() == answers["words_status"].tolist() == [0] * 5 + [1]
    assert inputs["image"].numpy()[1] == inputs["film"].numpy()[3] == inputs["words"].numpy()[4] == b""
    assert (inputs["trace"].numpy() == b"").tolist() == [False, False, True, False, False, False]


def test_real_rows_join_the_golden_batch(records, tmp_path):
    model = mk.build(records.schema, towers={"image": "conv"}, width=4)
    bundle = mk.export(model, records.schema, tmp_path, records=records)
    inputs, expected = golden_of(bundle)
    assert expected["status"] == [0] * 9 + [1]
    assert inputs["image"].numpy()[:8].tolist() == [Path(path).read_bytes() for path in records.values("image")[:8]]
    np.testing.assert_allclose(
        expected["probabilities"][:8],
        model.predict(mk.batches(records.take(np.arange(8)), 8, targets=False), verbose=0),
        atol=1e-5,
    )


def examples_of(inputs):
    """The rows of a request as serialised tf.Example."""
    rows = []
    for row in range(len(inputs["trace"])):
        example = tf.train.Example()
        for name in ("image", "film", "words", "numbers", "trace"):
            cells = np.ravel(inputs[name][row].numpy()).tolist()
            example.features.feature[name].bytes_list.value.extend(cells)
        rows.append(example.SerializeToString())
    return rows


def test_examples_answer_as_raw_values_do(of_all_kinds):
    bundle, inputs = of_all_kinds[0], golden_of(of_all_kinds[0])[0]
    expected = serve(bundle, inputs)
    serialized = examples_of(inputs)
    answers = serve(bundle, {"inputs": tf.constant(serialized)}, "examples")
    assert sorted(answers) == sorted(expected)
    for name, values in answers.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)

    wrong = tf.train.Example()
    wrong.features.feature["film"].float_list.value.append(1.0)
    broken = [b"\xff no example", serialized[0], b"", serialized[0], wrong.SerializeToString()]
    answers = serve(bundle, {"inputs": tf.constant(broken)}, "examples")
    assert answers["status"].tolist() == [1, 0, 2, 0, 1]  # without anything in it, the required inputs are empty
    assert answers["film_status"].tolist() == [1, 0, 2, 0, 1]
    assert not answers["kind_probabilities"][[0, 2, 4]].any()
    np.testing.assert_allclose(answers["kind_probabilities"][[1, 3]], expected["kind_probabilities"][[0, 0]], atol=1e-6)
    assert serve(bundle, {"inputs": tf.constant([], tf.string)}, "examples")["status"].shape == (0,)


def test_serialised_bytes_keep_zeros_at_their_end(of_all_kinds):
    schema = of_all_kinds[1]
    inputs = {name: tensor.numpy() for name, tensor in golden_of(of_all_kinds[0])[0].items()}
    inputs["image"][0] += b"\0\0"
    values, good = examples.raw_values(schema, tf.constant(examples.serialized(schema, inputs)))
    assert good.numpy().all()
    for name, value in values.items():
        np.testing.assert_array_equal(value, inputs[name])


def test_classify_and_regress(of_all_kinds):
    bundle, inputs = of_all_kinds[0], golden_of(of_all_kinds[0])[0]
    expected, serialized = serve(bundle, inputs), tf.constant(examples_of(inputs))
    classes = serve(bundle, {"inputs": serialized}, "classify_kind")
    assert classes["classes"].tolist() == expected["kind_top_labels"].tolist()
    np.testing.assert_array_equal(classes["scores"], expected["kind_top_scores"])
    assert sorted(expected["kind_probabilities"][0], reverse=True) == classes["scores"][0].tolist()
    regression = serve(bundle, {"inputs": serialized}, "regress_price")
    np.testing.assert_array_equal(regression["outputs"], expected["price_value"])
    saved = saved_model_pb2.SavedModel.FromString((bundle / "saved_model.pb").read_bytes())
    methods = {name: entry.method_name for name, entry in saved.meta_graphs[0].signature_def.items()}
    assert methods["classify_kind"] == methods["classify_tags"] == "tensorflow/serving/classify"
    assert methods["regress_price"] == "tensorflow/serving/regress"
    assert methods["serving_default"] == methods["examples"] == "tensorflow/serving/predict"


def test_embed(of_all_kinds):
    bundle, _, model = of_all_kinds
    inputs, _ = golden_of(bundle)
    answers = serve(bundle, inputs, "embed")
    assert answers["embedding"].shape == (6, 8)
    assert answers["embedding"].any(axis=1).tolist() == [True, True, False, False, True, False]
    assert answers["status"].tolist() == [0, 0, 2, 2, 0, 1]
    body = model.get_layer("body")
    head = keras.Model(body.get_layer("fused").output, body.output["kind"])
    np.testing.assert_allclose(
        head(answers["embedding"][:1])[0], serve(bundle, inputs)["kind_probabilities"][0], atol=1e-5
    )


def test_no_embedding_of_a_fusion_of_decisions(small):
    _, schema, folder = small
    schema = Schema({**schema.inputs, "other": Text(2, vocabulary=["a"])}, schema.targets)
    signatures = loaded(mk.export(mk.build(schema, fusion="late", width=4), schema, folder))
    assert sorted(signatures) == ["classify", "examples", "serving_default", "tensors"]


def test_a_model_that_holds_a_table(tmp_path):
    schema = Schema({"word": Text(2, vocabulary=["a", "b"])}, {"answer": Category(classes=["x", "y"])})
    word = keras.Input((2,), dtype="int32", name="word")
    found = keras.layers.IntegerLookup(vocabulary=[2, 3], output_mode="multi_hot")(word)
    model = keras.Model([word], keras.layers.Dense(2, activation="softmax", name="answer")(found))
    bundle = mk.export(model, schema, tmp_path)
    answers = serve(bundle, {"word": tf.constant(["a", "b a"])})
    np.testing.assert_allclose(answers["probabilities"], model(np.array([[2, 0], [3, 2]])), atol=1e-6)
    assert "embed" not in loaded(bundle)


def test_the_requests_that_warm_up_a_server(of_all_kinds):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api")
    bundle, *_ = of_all_kinds
    inputs, expected = golden_of(bundle)
    raw = tf.data.TFRecordDataset(str(bundle / "assets.extra" / "tf_serving_warmup_requests"))
    found = {}
    for record in raw:
        log = logs.PredictionLog.FromString(record.numpy())
        api = log.WhichOneof("log_type")
        request = getattr(log, api).request
        assert request.model_spec.name == "everything"
        found.setdefault((api.removesuffix("_log"), request.model_spec.signature_name), []).append(request)
    methods = {name: (name.split("_")[0] if name[:5] in ("class", "regre") else "predict") for name in loaded(bundle)}
    assert set(found) == {(method, name) for name, method in methods.items()}
    assert {len(requests) for requests in found.values()} == {2}
    good, bad = expected["status"].index(0), len(expected["status"]) - 1
    for row, request in zip((good, bad), found["predict", "serving_default"], strict=True):
        assert sorted(request.inputs) == sorted(inputs)
        for name, tensor in request.inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(tensor), inputs[name][row : row + 1].numpy(), err_msg=name)
    for (method, name), requests in found.items():
        statuses = []
        for request in requests:
            if method == "predict":
                given = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
            else:
                given = {"inputs": [one.SerializeToString() for one in request.input.example_list.examples]}
            answer = serve(bundle, given, name)
            assert {len(value) for value in answer.values()} == {1}, "a server refuses more rows than its batches hold"
            statuses += answer.get("status", np.zeros(0)).tolist()
        assert not statuses or [bool(one) for one in statuses] == [False, True]


def test_what_lies_beside_the_graph(of_all_kinds):
    bundle, schema, _ = of_all_kinds
    extra = bundle / "assets.extra"
    assert mk.Schema.load(extra / "schema.json") == schema
    assert mk.ModelSpec.from_json((extra / "spec.json").read_text()) == mk.ModelSpec(width=8)
    about = json.loads((extra / "about.json").read_text())
    assert about["labels"] == {"kind": ["x", "y", "z"], "tags": ["p", "q"]}
    assert about["units"] == {"price": "EUR"}
    assert about["versions"]["tensorflow"] == tf.__version__
    card = (extra / "MODEL_CARD.md").read_text()
    for words in ("# everything", "Not meant for anything.", "EUR", "the first 5 steps", "| `words` |", '"width": 8'):
        assert words in card


def test_metrics_and_history_in_the_card(records, tmp_path):
    model = mk.build(records.schema, width=4)
    model.compile("adam", **mk.compile_args(records.schema))
    evaluation = mk.evaluate(model, records.take(np.arange(20)), permutations=1)
    history = keras.callbacks.History()
    history.history = {"loss": [2.0, 1.5]}
    bundle = mk.export(model, records.schema, tmp_path / "digits", evaluation=evaluation, history=history)
    about = json.loads((bundle / "assets.extra" / "about.json").read_text())
    assert about["metrics"] == evaluation.metrics
    assert len(about["subsets"]) == 8
    assert about["history"] == {"loss": [2.0, 1.5]}
    card = (bundle / "assets.extra" / "MODEL_CARD.md").read_text()
    assert f"| accuracy | {evaluation.metrics['accuracy']:.4f} |" in card
    for words in ("2 epochs", "| loss | 1.5000 |", "| image + audio |"):
        assert words in card


@pytest.mark.parametrize("name", ["model", "schema", "directory", "records", "evaluation", "spec", "history", "notes"])
def test_arguments_of_another_kind(small, name):
    model, schema, folder = small
    with pytest.raises(
        InputError,
        match=rf"export: expected (a )?({name}|{name.title()}) .*received (3|int)|expected a Schema, received 3",
    ):
        mk.export(**{"model": model, "schema": schema, "directory": folder, name: 3})
    assert not folder.exists()


def test_other_formats_take_no_papers(small):
    model, schema, folder = small
    with pytest.raises(InputError, match="expected notes with format=\"saved_model\" alone, received it with 'onnx'"):
        mk.export(model, schema, folder, format="onnx", notes="mine")
    with pytest.raises(InputError, match="unknown format 'onx'; did you mean 'onnx'"):
        mk.export(model, schema, folder, format="onx")
    assert not folder.exists()


def test_an_absent_value_keeps_a_batch_on_the_fast_way(of_all_kinds, monkeypatch):
    """Neither missing nor forgotten values are tried to decode."""
    schema, slow = of_all_kinds[1], []
    monkeypatch.setattr(decode.rows, "_one_by_one", lambda *arguments: slow.append(1))
    inputs, _ = golden_of(of_all_kinds[0])
    for name in ("image", "film"):
        there = inputs[name] != ""
        raw = [tf.where(there, "", inputs[name])]
        decoder = decode.decoder(schema.inputs[name])
        made, status = signatures._model_inputs(name, schema.inputs[name], decoder, raw)
        assert not np.any(made[name])
        assert status.numpy().tolist() == [0 if schema.inputs[name].optional else 2] * len(there)
    assert not slow


def test_unequal_numbers_of_rows(of_all_kinds):
    inputs, _ = golden_of(of_all_kinds[0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected equally many rows"):
        serve(of_all_kinds[0], {**inputs, "trace": inputs["trace"][:1]})


def test_a_model_that_answers_no_numbers(small):
    model, schema, folder = small
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(InputError, match=r"export: the model's '.*' is no finite number"):
        mk.export(model, schema, folder)
    assert list(folder.iterdir()) == []


def test_a_graph_that_answers_otherwise_than_the_model(records, tmp_path, monkeypatch):
    model = mk.build(records.schema, width=4)
    whole = golden.answers
    monkeypatch.setattr(
        golden, "answers", lambda *given: {name: tf.reverse(v, [-1]) for name, v in whole(*given).items()}
    )
    with pytest.raises(InputError, match="of the exported graph differs from the model's own by"):
        mk.export(model, records.schema, tmp_path, records=records)


def test_an_epoch_without_a_number(small):
    model, schema, folder = small
    history = keras.callbacks.History()
    history.history = {"loss": [1.0, float("nan")]}
    bundle = mk.export(model, schema, folder, history=history)
    about = json.loads((bundle / "assets.extra" / "about.json").read_text())
    assert about["history"] == {"loss": [1.0, None]}
    assert "| loss | not a number |" in (bundle / "assets.extra" / "MODEL_CARD.md").read_text()


def test_records_of_another_schema(small, records):
    model, schema, folder = small
    with pytest.raises(InputError, match="expected records of the same schema"):
        mk.export(model, schema, folder, records=records)
