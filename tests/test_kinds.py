"""A kind of input and a kind of target of one's own (toy_kinds.py) go through everything; nothing else was edited."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from toy_kinds import Grade, PointCloud

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.inputs import INPUTS, Input
from mmkeras.registry import CATALOGUES, registered, restore

OWN = registered()


def forget():
    """Unregister the toys, which the laws of other tests would be applied to."""
    for key, parts in OWN.items():
        for name in parts:
            CATALOGUES[key].pop(name, None)


forget()


@pytest.fixture(scope="module", autouse=True)
def toys():
    restore(OWN)
    yield
    forget()


ROWS, GRADES = 60, ("low", "middle", "high")


@pytest.fixture(scope="module")
def schema(toys):
    return mk.Schema({"cloud": PointCloud(8, optional=True), "note": mk.Text(4)}, {"grade": Grade(GRADES)})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """manifest.csv: the wider a cloud, the higher its grade; three clouds are missing."""
    folder, random = tmp_path_factory.mktemp("clouds"), np.random.default_rng(0)
    rows = []
    for row in range(ROWS):
        grade = row % 3
        np.save(folder / f"{row}.npy", random.normal(size=(random.integers(3, 12), 3)) * (0.2 + 3 * grade))
        split = ("train", "train", "train", "val", "test")[row // 3 % 5]
        cloud = "" if row in (5, 20, 41) else f"{row}.npy"
        rows.append({"cloud": cloud, "note": ("so", "la")[row % 2], "grade": GRADES[grade], "split": split})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def data(table, schema):
    return mk.read(table, schema, check="decode").split("split")


@pytest.fixture(scope="module")
def trained(data):
    keras.utils.set_random_seed(0)
    model = mk.build(data.schema, width=16)
    model.compile(keras.optimizers.Adam(0.02), **mk.compile_args(data.schema))
    batches = mk.batches(data["train"], 12, training=True, augment={"cloud": {"jitter": 0.05}})
    history = model.fit(batches, validation_data=mk.batches(data["val"], 12), epochs=25, shuffle=False, verbose=0)
    return model, history


def test_read_names_the_bad_file(table, schema, tmp_path):
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame["cloud"] = [str(table.parent / cell) if cell else "" for cell in frame["cloud"]]
    np.save(tmp_path / "flat.npy", np.zeros((4, 2)))
    frame.loc[2, "cloud"], frame.loc[3, "cloud"] = str(tmp_path / "flat.npy"), str(tmp_path / "none.npy")
    frame.loc[4, "grade"] = "best"
    with pytest.raises(InputError, match=r"row 3: 'cloud': no such file"):
        mk.read(frame, schema)
    records = mk.read(frame, schema, check="decode", on_bad="drop")
    assert len(records) == ROWS - 2
    with pytest.warns(UserWarning, match="expected one of low, middle, high"):
        mk.batches(records.fit(), 8)
    reasons = records.ledger.set_index("row")["reason"]
    assert "expected an array (steps, 3), found (4, 2)" in reasons[2]
    assert list(reasons.index) == [2, 3, 4]


def test_describe(data):
    described = data["train"].describe()
    assert list(described.overview["kind"]) == ["PointCloud", "Text", "Grade"]
    assert "points: 3 least" in str(described)
    assert "optional: missing in" in str(described)
    titles = [axes.get_title(loc="left") for axes in described.figure().axes]
    assert titles == ["cloud: points of clouds", "note: words in a text", "grade: places of grades"]


def test_batches(data):
    x, y = next(iter(mk.batches(data["train"], 6)))
    assert x["cloud"].shape == (6, 8, 3)
    assert (x["cloud_length"].dtype, x["cloud_present"].dtype) == (tf.int32, tf.bool)
    assert y.numpy().tolist() == [0, 1, 2, 0, 1, 2]
    assert not x["cloud"].numpy()[~x["cloud_present"].numpy()].any()
    first = data["train"].frame["cloud"].iloc[0]
    points = np.load(first)[:8]
    np.testing.assert_allclose(x["cloud"][0, : len(points)], points, rtol=1e-6)


def test_batches_of_shards_are_those_of_records(data, tmp_path):
    written = mk.write_shards(data["test"], tmp_path / "shards", shards=2)

    def sums(source):
        return np.sort(np.concatenate([tf.reduce_sum(x["cloud"], [1, 2]) for x, _ in mk.batches(source, 4)]))

    assert len(sums(written)) == len(data["test"])
    np.testing.assert_allclose(sums(written), sums(data["test"]), rtol=1e-6)


def test_augmentation_changes_points_alone(data):
    options = {"training": True, "seed": 3}
    plain = next(iter(mk.batches(data["train"], 9, **options)))[0]
    moved = next(iter(mk.batches(data["train"], 9, augment={"cloud": {"jitter": 1}}, **options)))[0]
    own = np.arange(8) < plain["cloud_length"].numpy()[:, None]
    assert (plain["cloud"].numpy() != moved["cloud"].numpy()).any(-1)[own].all()
    assert not moved["cloud"].numpy()[~own].any()
    with pytest.raises(InputError, match="unknown option of PointCloud 'jiter'; did you mean 'jitter'"):
        mk.batches(data["train"], 9, training=True, augment={"cloud": {"jiter": 1}})


def test_model_learns_and_is_evaluated(trained, data):
    model, history = trained
    assert model.get_layer("cloud_tower").get_layer("cloud_hidden")
    assert model.output_shape == (None, 2)
    found = mk.evaluate(model, data["test"])
    assert found.metrics["off"] < 0.4
    assert set(found.subsets["metric"]) == {"off"}
    scores = found.subsets.set_index("modalities")["score"]
    assert scores["cloud", "note"] < scores["note",] - 0.3
    assert mk.missing_modality_curve(model, data["test"], [0, 1], repeats=1)["metric"].eq("off").all()
    assert "val_off" in history.history


def test_predict(trained, data):
    found = mk.predict(trained[0], data["test"])
    truth = data["test"].frame["grade"]
    assert list(found.columns) == ["grade", "grade_above"]
    assert (found["grade"] == truth).mean() > 0.6
    assert set(found["grade"]) <= set(GRADES)


def test_one_towers_features(trained, data):
    rest = mk.features_model(trained[0], data.schema, ["cloud"])
    x, y, weights = mk.extract_features(trained[0], data["test"], ["cloud"])
    assert (len(y), weights) == (len(data["test"]), None)
    expected = trained[0].predict(mk.batches(data["test"], 32, targets=False), verbose=0)
    np.testing.assert_allclose(rest.predict(x, verbose=0), expected, atol=1e-6)


def test_transfer(trained, data):
    fresh = mk.build(data.schema, width=16)
    table = mk.transfer_weights(trained[0], fresh, body=True, schemas=(data.schema, data.schema))
    assert table["moved"].all()
    x = next(iter(mk.batches(data["test"], 4, targets=False)))
    np.testing.assert_allclose(fresh.predict(x, verbose=0), trained[0].predict(x, verbose=0), atol=1e-6)


def test_distillation(trained, data):
    student = mk.build(data.schema, width=4)
    distiller = mk.distiller(trained[0], student, (data.schema, data.schema))
    distiller.compile("adam", **mk.compile_args(data.schema))
    history = distiller.fit(mk.batches(data["train"], 12, training=True), epochs=1, shuffle=False, verbose=0)
    assert np.isfinite(history.history["distillation_loss"]).all()


def test_a_tower_for_steps_reads_what_has_a_front(data):
    with pytest.raises(InputError, match=r"tower 'lstm' reads .*, received PointCloud"):
        mk.build(data.schema, towers={"cloud": "lstm"})


def test_search_in_processes(data, tmp_path):
    found = mk.tune(
        data,
        space={"fusion": "concat", "width": 8, "note": {"kind": "bag", "depth": 1}},
        tuner="random",
        trials=2,
        epochs=1,
        directory=tmp_path / "search",
    )
    assert found.trials["status"].tolist() == ["COMPLETED"] * 2, found.trials["reason"].tolist()
    assert set(found.trials["cloud"]) == {"points"}
    assert found.objective == ("val_off", "min")


def test_retrieval(data):
    schema = mk.Schema(
        {"cloud": replace(data.schema.inputs["cloud"], optional=False), "note": data.schema.inputs["note"]}, {}
    )
    frame = data["test"].frame
    records = mk.read(frame[frame["cloud"] != ""], schema)
    model = mk.build(schema, align={"kind": "contrastive", "dim": 4}, width=8)
    found = mk.retrieve(model, records)
    assert len(found.query("note", find="cloud", k=2)) == 4
    found.figure("note", "cloud", k=2)


def test_save_and_load(trained, data, tmp_path):
    mk.save(tmp_path / "clouds.mmkeras", trained[0], data.schema)
    model, schema, spec = mk.load(tmp_path / "clouds.mmkeras")
    assert (schema, spec) == (data.schema, None)
    x = next(iter(mk.batches(data["test"], 4, targets=False)))
    np.testing.assert_array_equal(model.predict(x, verbose=0), trained[0].predict(x, verbose=0))


def test_loading_without_the_kinds_says_what_is_missing(trained, data, tmp_path):
    mk.save(tmp_path / "clouds.mmkeras", trained[0], data.schema)
    code = "import sys, mmkeras as mk\ntry:\n    mk.load(sys.argv[1])\nexcept mk.InputError as error:\n    print(error)"
    command = [sys.executable, "-c", code, str(tmp_path / "clouds.mmkeras")]
    environment = {**os.environ, "PYTHONPATH": str(Path(mk.__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "unknown kind" in done.stdout
    assert "'PointCloud'" in done.stdout


@pytest.fixture(scope="module")
def bundle(trained, data, tmp_path_factory):
    return mk.export(trained[0], data.schema, tmp_path_factory.mktemp("served") / "clouds", records=data["test"])


def test_export_answers_as_predict_does(trained, data, bundle):
    serve = tf.saved_model.load(bundle).signatures["serving_default"]
    records = data["test"]
    clouds = [Path(cell).read_bytes() if cell else b"" for cell in records.values("cloud")]
    given = {"cloud": clouds, "note": records.values("note").astype(str)}
    answers = serve(**{name: tf.constant(value) for name, value in given.items()})
    assert answers["status"].numpy().tolist() == [0] * len(records)
    expected = mk.predict(trained[0], records)
    assert [word.decode() for word in answers["grade"].numpy()] == expected["grade"].tolist()
    np.testing.assert_allclose(answers["above"], np.stack(expected["grade_above"]), atol=1e-5)
    card = (bundle / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "numbers (steps, 3)" in card


def test_verify(bundle):
    found = mk.verify(bundle, ways=["load", "session"])
    assert found.passed, str(found)


def test_client(trained, data, bundle):
    pytest.importorskip("tensorflow_serving", reason="the double is made of tensorflow-serving-api")
    from serving_double import Double

    records = data["test"].take(np.arange(4))
    expected = mk.predict(trained[0], records)["grade"].tolist()
    with Double(bundle.parent, "clouds") as double:
        for target in (double.rest, double.grpc):
            with mk.serving.Client(target, model="clouds", schema=bundle) as client:
                assert client.predict(records.frame)["grade"].tolist() == expected
                clouds = [np.load(cell) if cell else None for cell in records.values("cloud")]
                rows = {"cloud": clouds, "note": list(records.values("note"))}
                assert client.predict(rows)["grade"].tolist() == expected


@pytest.mark.parametrize(("format", "package"), [("onnx", "tf2onnx"), ("litert", "ai_edge_litert")])
def test_other_formats(trained, data, tmp_path, format, package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'pip install "mmkeras[{format}]"')
    made = mk.export(trained[0], data.schema, tmp_path / format, format=format)
    assert mk.Schema.load(made / "schema.json") == data.schema


def test_json(data):
    assert mk.Schema.from_json(data.schema.to_json()) == data.schema


def test_a_tokenizer_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setitem(mk.tokenizers.TOKENIZERS, "characters", Characters())
    frame = pd.DataFrame({"t": ["aab", "ba a"] * 6, "y": ["x", "y"] * 6, "split": (["train"] * 2 + ["val"] * 2) * 3})
    schema = mk.Schema({"t": mk.Text(3, tokenizer="characters")}, {"y": mk.Category()})
    data = mk.read(frame, schema).split("split")
    assert data.schema.inputs["t"].vocabulary == ("a", "b", " ")
    assert "characters in a text: 3 least" in str(data["train"].describe())
    assert mk.Schema.from_json(data.schema.to_json()) == data.schema
    x, _ = next(iter(mk.batches(data["train"], 2)))
    assert x["t"].numpy().tolist() == [[2, 2, 3], [3, 2, 4]]
    assert Characters().text(x["t"].numpy(), data.schema.inputs["t"].vocabulary) == ["aab", "ba "]
    model = mk.build(data.schema, width=4)
    bundle = mk.export(model, data.schema, tmp_path / "letters", records=data["train"])
    served = tf.saved_model.load(bundle).signatures["serving_default"](t=tf.constant(["ba", "\N{SNOWMAN}"]))
    expected = model.predict(np.array([[3, 2, 0], [1, 0, 0]], "int32"), verbose=0)
    np.testing.assert_allclose(served["probabilities"], expected, atol=1e-6)
    with pytest.raises(InputError, match="unknown tokenizer 'charakters'; did you mean 'characters'"):
        mk.Text(3, tokenizer="charakters")


class Characters(mk.tokenizers.Tokenizer):
    """Every character is a token."""

    unit = "characters"

    def split(self, texts, strings):
        """At every character."""
        return strings.unicode_split(texts, "UTF-8")


# A kind that the rooms do not know ----------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch):
    """A kind of input that is registered as one, and in no room."""

    @dataclass(frozen=True)
    class Bare(Input):
        column: str | None = None
        shape = (2,)

    monkeypatch.setitem(INPUTS, "Bare", Bare)
    return mk.Schema({"bare": Bare(), "note": mk.Text(4, ["a"])}, {"grade": Grade(GRADES)})


FRAME = pd.DataFrame({"bare": ["1", "2"], "note": ["a", "b"], "grade": ["low", "high"], "split": ["train", "val"]})


@pytest.mark.parametrize(
    "use",
    [
        lambda schema, data: data.describe(),
        lambda schema, data: mk.batches(data, 2),
        lambda schema, data: mk.batches(data, 2, training=True, augment={"bare": {"noise": 1}}),
        lambda schema, data: mk.write_shards(data, "unused", shards=1),
        lambda schema, data: mk.build(schema),
        lambda schema, data: mk.tune({"train": data, "val": data}, directory="unused"),
    ],
    ids=["describe", "batches", "augment", "shards", "build", "tune"],
)
def test_a_room_refuses_a_kind_that_it_does_not_know(bare, use, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"unknown kind 'Bare': no .* is known for it; expected one of .*Image"):
        use(bare, mk.read(FRAME, bare))


def test_a_kind_that_its_codec_cannot_decode_is_refused(bare, monkeypatch):
    codec = mk.decode.CODECS[PointCloud]
    monkeypatch.setitem(mk.decode.CODECS, type(bare.inputs["bare"]), codec)
    with pytest.raises(InputError, match=r"Bare: NumbersCodec decodes inputs with .*, received .*False"):
        mk.batches(mk.read(FRAME, bare), 2)
    with pytest.raises(InputError, match="expected a class that derives from Input, whose wire is one of bytes, text"):
        mk.inputs.register("Odd")(type("Odd", (Input,), {"wire": "json"}))


def test_a_target_without_a_task_is_refused(data, monkeypatch):
    monkeypatch.delitem(mk.tasks.TASKS, "grade")
    with pytest.raises(InputError, match="unknown kind 'Grade'"):
        mk.build(data.schema)


def test_toys_are_the_only_ones_who_know_the_toys():
    texts = {path: path.read_text(encoding="utf-8") for path in Path(mk.__file__).parent.rglob("*.py")}
    found = [str(path) for path, text in texts.items() if "toy_kinds" in text]
    assert not found, "expected toy kinds in the tests alone"
