"""The first thing that one types works, or the error says what to type."""

import inspect
import re

import keras
import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError

FRAME = pd.DataFrame(
    {"q": ["hi there", "yo"] * 8, "n": range(16), "a": list("xy") * 8, "s": ["train"] * 8 + ["val"] * 8}
)
SCHEMA = mk.Schema({"q": mk.Text(4, optional=True), "n": mk.Tabular(["n"])}, {"a": mk.Category()})


@pytest.fixture(scope="module")
def data():
    return mk.read(FRAME, SCHEMA).split("s", duplicates=False)


@pytest.fixture(scope="module")
def model(data):
    model = mk.build(data.schema, width=8)
    model.compile("adam", **mk.compile_args(data.schema))
    return model


@pytest.fixture(scope="module")
def wrong(data, model):
    """Things that somebody may give, by what they are."""
    return {
        "frame": FRAME,
        "path": "t.csv",
        "dict": {"q": ["a"], "a": ["b"]},
        "splits": data,
        "records": data["val"],
        "schema": data.schema,
        "model": model,
        "dataset": mk.batches(data["val"], 8),
        "none": None,
        "loaded": (model, data.schema, None),
    }


RECORDS = {
    "frame": r"received DataFrame: read it first, as mk\.read\(table, schema\)",
    "path": r"received 't\.csv': read it first, as mk\.read",
    "dict": r"received \{'q': .*: read it first",
    "splits": r'received Splits: give one of its splits, as data\["test"\]',
    "dataset": "received .*Dataset: give the Records that it was made of",
    "schema": "received Schema",
    "model": "received Functional",
    "none": "received None",
}
SCHEMAS = {
    "records": r"received Records: give its schema, as data\.schema",
    "splits": r"received Splits: give its schema, as data\.schema",
    "path": r"received 't\.csv': mk\.Schema\.load\(path\) reads one",
    "dict": r"received \{'q': \['a'\], 'a': \['b'\]\}$",
    "frame": "received DataFrame",
    "model": "received Functional",
    "none": "received None",
}
MODELS = {
    "path": r"received 't\.csv': model, schema, spec = mk\.load\(path\)",
    "loaded": r"received \(.*: model, schema, spec = mk\.load\(path\)",
    "records": r"received Records: mk\.build\(schema, \.\.\.\) makes one",
    "schema": r"received Schema: mk\.build\(schema",
    "none": "received None",
}
PATHS = {"frame": "received DataFrame", "none": "received None", "model": "received Functional"}
EXPECTED = {
    keras.Model: (r"a keras\.Model", MODELS),
    mk.Records: (r"Records \(from mk\.read\)", RECORDS),
    mk.Schema: ("a Schema", SCHEMAS),
}
OTHERS = {"read", "tune", "hypermodel", "combine", "retrieve"}  # they take more; see below


def functions():
    """Every public function with the parameters that are a model, records, a schema or a path."""
    for name in mk.__all__:
        function = getattr(mk, name)
        if inspect.isfunction(function) and name not in OTHERS:
            for parameter in inspect.signature(function).parameters.values():
                if parameter.annotation in EXPECTED:
                    yield name, parameter.name, *EXPECTED[parameter.annotation]
                elif parameter.name in ("path", "folder", "directory") and parameter.default is not None:
                    yield name, parameter.name, "a path", PATHS


CALLS = [(*call[:3], given, message) for call in functions() for given, message in call[3].items()]


def test_the_public_functions_are_found():
    assert len({name for name, *_ in CALLS}) >= 19


@pytest.mark.parametrize(("name", "argument", "expected", "given", "message"), CALLS)
def test_another_kind_of_object(wrong, name, argument, expected, given, message):
    with pytest.raises(InputError, match=rf"^{name}: expected ({argument} to be )?{expected}.*, {message}"):
        getattr(mk, name)(**{argument: wrong[given]})


@pytest.mark.parametrize("given", ["frame", "path", "dict", "schema", "model", "records", "none"])
def test_data_for_a_search(wrong, given):
    for function in (mk.tune, mk.hypermodel):
        with pytest.raises(InputError, match=rf"^{function.__name__}: expected data to be Splits, as mk\.read"):
            function(wrong[given], **({"directory": "none"} if function is mk.tune else {}))
    with pytest.raises(
        InputError, match=r"expected data with 'val', received train: records\.split\(\.\.\., val=0\.1\)"
    ):
        mk.hypermodel({"train": wrong["records"]})


def test_a_path_alone():
    with pytest.raises(InputError, match=r"^evaluate: expected model to be a keras\.Model, received 'test\.csv'"):
        mk.evaluate("test.csv")
    for error in (InputError, TypeError):
        with pytest.raises(
            error, match=r"^Image\(\) missing 2 required arguments: 'height' and 'width'; expected Image\("
        ):
            mk.Image(column=["front", "back"])
    with pytest.raises(
        InputError, match=r"^predict: expected at most 2 arguments without a name, received 3; .*batch_s"
    ):
        mk.predict(keras.Model(), mk.read(FRAME, SCHEMA), 256)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, none: mk.evaluate(model, none),
        lambda model, none: mk.missing_modality_curve(model, none),
        lambda model, none: mk.extract_features(model, none, ["q"]),
        lambda model, none: mk.negative_pairs(none, "q"),
        lambda model, none: mk.retrieve(model, none),
        lambda model, none: mk.write_shards(none, "none", shards=1),
        lambda model, none: mk.batches(none, 8, training=True),
        lambda model, none: mk.hypermodel({"train": none, "val": none}),
    ],
)
def test_no_rows(data, model, call):
    with pytest.raises(InputError, match="expected at least one row of DataFrame"):
        call(model, data["val"].take([]))


def test_no_rows_to_predict_on(data, model):
    none = data["val"].take([])
    assert mk.predict(model, none).columns.tolist() == mk.predict(model, data["val"]).columns.tolist()
    assert list(mk.batches(none, 8)) == []


@pytest.mark.parametrize("by", [[0.8, 0.2], (0.8, 0.2), 0.8, None, ["train", "test"]])
def test_fractions_without_names(by):
    received = re.escape(repr(by))
    with pytest.raises(InputError, match=rf'^split: .* fractions as \{{"train": 0\.8, .*\}}, received {received}$'):
        mk.read(FRAME, SCHEMA).split(by)


def test_rows_that_cannot_be_taken(data):
    for rows in ("a", [999], [-9], [[0]], [True], 3, None, [0.5]):
        with pytest.raises(InputError, match=r"^take: expected positions of the 8 rows"):
            data["val"].take(rows)
    assert len(data["val"].take(np.arange(8) > 5)) == len(data["val"].take([-1, 0])) == 2


def test_splits_say_where_a_thing_is(data):
    with pytest.raises(AttributeError, match=r"^Splits have no attribute 'train': the split is data\['train'\]$"):
        _ = data.train
    with pytest.raises(AttributeError, match=r"'describe': a split has it, as data\[\"train\"\]\.describe$"):
        data.describe()
    assert not hasattr(data, "nothing")


def test_parts_in_another_place():
    for inputs, targets, hint in (
        ({"q": mk.Text}, {}, r"write mk\.Text\(\.\.\.\)$"),
        ({"q": "Text"}, {}, r"write mk\.Text\(\.\.\.\)$"),
        ({"a": mk.Category()}, {}, "it belongs in targets$"),
        ({"q": mk.Text(4)}, {"a": mk.Text(4)}, "it belongs in inputs$"),
    ):
        with pytest.raises(InputError, match=hint):
            mk.Schema(inputs, targets)
    with pytest.raises(InputError, match=r"unknown kind 'PointCloud'; .*import the module"):
        mk.Schema.from_json('{"format": 1, "inputs": {"p": {"kind": "PointCloud"}}, "targets": {}}')
    with pytest.raises(InputError, match="unknown input or target 'p'; Known: a, n, q"):
        SCHEMA.columns("p")


def test_registering_without_a_kind():
    for given in (3, type("Own", (mk.decode.Codec,), {})):
        with pytest.raises(InputError, match=r"^codec: expected a kind, as @mmkeras\.decode\.register\(PointCloud\)"):
            mk.decode.register(given)


@pytest.mark.parametrize("room", ["towers", "fusion", "tasks", "inputs", "targets", "augment", "decode", "alignment"])
def test_a_room_shows_its_public_names_alone(room):
    shown = dir(getattr(mk, room))
    assert "register" in shown
    assert not {"keras", "np", "Any", "Mapping", "InputError", "Catalogue", "base"} & set(shown)


def test_seeds_and_objectives(data, model):
    for call in (
        lambda: mk.batches(data["train"], 8, seed="a"),
        lambda: mk.evaluate(model, data["val"], seed="a"),
        lambda: mk.write_shards(data["train"], "none", shards=1, seed="a"),
    ):
        with pytest.raises(InputError, match="expected seed to be a whole number from 0, received 'a'"):
            call()
    with pytest.raises(InputError, match=r"^compile_args: expected tasks to be a dict .*the third argument"):
        mk.compile_args(data.schema, model)
    with pytest.raises(InputError, match=r"^word vectors: expected a fitted Text .*schema\.inputs\["):
        mk.read_word_vectors("none.txt", data.schema)
    for objective, message in (
        (3, r'^tune: expected objective to be the name of a metric, or a pair as \("val_loss", "min"\), received 3$'),
        ("val_acuracy", "^unknown objective 'val_acuracy'; did you mean 'val_accuracy'"),
    ):
        with pytest.raises(InputError, match=message):
            mk.tune(data, trials=1, epochs=1, directory="none", objective=objective)
    with pytest.raises(InputError, match=r"^space: expected the choices of each tower by its input's name, as \{'q'"):
        mk.hypermodel(data, space={"towers": {"q": ["bag"]}})


def test_predictions_have_the_index_of_the_frame():
    """A DataFrame that was filtered, as most are: `join` puts each prediction beside its row."""
    frame = pd.DataFrame({"text": list("abcabc"), "label": list("xyxyxy")}, index=[30, 10, 20, 70, 50, 60])
    data = mk.read(frame[frame["text"] != "b"], mk.Schema({"text": mk.Text(1)}, {"label": mk.Category()})).fit()
    model = mk.build(data.schema, width=4)
    found = mk.predict(model, data)
    assert found.index.tolist() == [30, 20, 70, 60]
    some = mk.predict(model, data.take([3, 1]))
    assert some.index.tolist() == [60, 20]
    assert some.loc[60, "label_score"] == pytest.approx(found.loc[60, "label_score"], rel=1e-5)
    assert frame.join(found["label_score"]).loc[10].isna()["label_score"]
    other = mk.read(frame.reset_index(drop=True), data.schema)
    both = mk.combine({"one": data, "two": other})
    assert mk.predict(model, both).index.tolist()[:2] == [("one", 0), ("one", 1)]
