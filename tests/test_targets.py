"""The kinds of targets: cells to numbers and back, missing ones, class weights, and the whole road with all of them."""

import dataclasses
import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import pipeline
from mmkeras.errors import InputError
from mmkeras.evaluation import check_model
from mmkeras.records import Records
from mmkeras.schema import Category, Labels, Number, Schema, Text
from mmkeras.tasks import TASKS

WORDS = ["red", "green", "blue", "grey"]


def records_of(targets, **columns):
    """Records with one text input "w"; empty cells of targets stay as they are."""
    rows = len(next(iter(columns.values())))
    frame = pd.DataFrame({"w": [WORDS[row % 4] for row in range(rows)], **columns}, dtype=object)
    return Records(Schema({"w": Text(1, WORDS)}, targets), frame, "table.csv")


def test_labels_fit_and_encode():
    cells = ["10|b", "9", "", "|", " b | 9 |", "9|9"]
    target = Labels().fit(cells)
    assert target.classes == ("9", "10", "b")
    values, good = target.encode(cells)
    assert values.tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0]]
    assert (values.dtype, good.tolist()) == (np.float32, [True, True, False, True, True, True])
    assert target.encode(["9|c", "  ", "b"])[1].tolist() == [False, False, True]
    assert Labels(["red", "a b"], separator=", ").encode(["red, a b", ", "])[0].tolist() == [[1, 1], [0, 0]]
    assert target.encode([])[0].shape == (0, 3)


def test_number_fit_and_encode():
    target = Number(unit="kg").fit(["1", "", "2", "6"])
    assert target == Number(mean=3.0, std=np.sqrt(14 / 3), unit="kg")
    values, good = target.encode(["1e2", "-.5", "", "nan", "inf", "1_0", "1e39", "x"])
    assert (values.dtype, values.tolist()) == (np.float32, [100, -0.5, 3, 3, 3, 3, 3, 3])
    assert good.tolist() == [True, True] + [False] * 6
    assert Number().encode(["x"])[0].tolist() == [0]


def test_json_round_trip():
    targets = {
        "tags": Labels(["a", "b"], separator="; ", column="Tags", optional=True),
        "price": Number(mean=1 / 3, std=np.float64(2), unit="€", column="Preis"),
        "kind": Category(["x", "y"], optional=True),
    }
    schema = Schema({"w": Text(1, WORDS)}, targets)
    assert Schema.from_json(schema.to_json()) == schema
    assert schema.fitted
    assert Schema(schema.inputs, {"t": Labels(), "n": Number()}).unfitted == ["t", "n"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Labels("ab"), "Labels: expected classes to be a list of strings, received 'ab'"),
        (lambda: Labels([]), "Labels: expected at least 1 class, received none"),
        (lambda: Labels(["a", "a"]), "Labels: expected distinct classes, received 'a' more than once"),
        (lambda: Labels(["a|b"]), "Labels: expected labels without '|' and spaces around them, received 'a|b'"),
        (lambda: Labels(["a", " b"]), "received ' b'"),
        (lambda: Labels(separator=""), "Labels: expected separator to be a string of at least one character"),
        (lambda: Labels().fit(["", "|"]), "Labels: expected at least 1 class, received none"),
        (lambda: Category(optional=1), "Category: expected optional to be True or False, received 1"),
        (lambda: Number(unit=3), "Number: expected unit to be a string, received 3"),
        (lambda: Number(mean=3), "expected mean and std, or neither, received mean=3 and std=None"),
        (lambda: Number(0, 0), "Number: expected std to be a float32 number above 0, received 0"),
        (lambda: Number(float("nan"), 1), "Number: expected mean to be a float32 number, received nan"),
        (lambda: Number(0, 1e300), "Number: expected std to be a float32 number above 0, received 1e+300"),
        (lambda: Number(unit="m").fit(["1", "3,5"]), "Number: expected a finite number (m), received '3,5'"),
        (lambda: Number().fit(["2", "2.0"]), "expected at least 2 different values to fit on, received [2.0]"),
        (lambda: Number().fit(["1700000000", "1700000001"]), "expected numbers that float32 can tell apart"),
    ],
)
def test_what_cannot_be(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_fields_are_frozen():
    for target in (Labels(["a"]), Number(0, 1)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            target.optional = True


@pytest.mark.parametrize(
    ("target", "cell", "message"),
    [
        (Number(0, 1, unit="kg"), "heavy", "expected a finite number (kg): 'heavy' (1 such rows)"),
        (Number(0, 1, optional=True), "nan", "expected a finite number: 'nan' (1 such rows)"),
        (Number(0, 1), "", "expected a finite number (1 such rows)"),
        (
            Labels(["a", "b"]),
            "a|c",
            "expected some of the 2 classes a, b, joined by '|', or '|' alone for none: 'a|c'",
        ),
        (Labels(["a"]), "", "expected some of the class a, joined by '|', or '|' alone for none (1 such rows)"),
        (Category(["a", "b"], optional=True), "c", "expected one of the 2 classes a, b: 'c' (1 such rows)"),
    ],
)
def test_cells_that_cannot_be_read(target, cell, message):
    good = {"Number": "1", "Labels": "a", "Category": "a"}[type(target).__name__]
    with pytest.raises(InputError, match="^" + re.escape(f"table.csv row 1: 't': {message}")):
        mk.batches(records_of({"t": target}, t=[good, cell]), 2)


def test_no_weights_where_none_are_needed():
    targets = {"n": Number(0, 1), "t": Labels(["a", "b"])}
    ((_, y),) = mk.batches(records_of(targets, n=["1.5", "-2"], t=["a", "a|b"]), 2)
    assert {name: (value.dtype.name, value.numpy().tolist()) for name, value in y.items()} == {
        "n": ("float32", [1.5, -2]),
        "t": ("float32", [[1, 0], [1, 1]]),
    }


def test_absent_targets_have_a_filler_and_weight_zero():
    targets = {"n": Number(5, 1, optional=True), "c": Category(["x", "y"], optional=True), "t": Labels(["a", "b"])}
    records = records_of(targets, n=["", "1", "2"], c=["y", "", "x"], t=["a", "|", "b"])
    ((_, y, weights),) = mk.batches(records, 3)
    assert {name: value.numpy().tolist() for name, value in y.items()} == {
        "n": [5, 1, 2],
        "c": [1, 0, 0],
        "t": [[1, 0], [0, 0], [0, 1]],
    }
    assert {name: value.numpy().tolist() for name, value in weights.items()} == {
        "n": [0, 1, 1],
        "c": [1, 0, 1],
        "t": [1, 1, 1],
    }
    assert {(value.dtype.name, tuple(value.shape)) for value in weights.values()} == {("float32", (3,))}


def test_one_optional_target_has_one_tensor_of_weights():
    data = mk.batches(records_of({"n": Number(0, 1, optional=True)}, n=["", "1"]), 2)
    assert [tuple(spec.shape) for spec in data.element_spec[1:]] == [(None,), (None,)]
    ((_, y, weights),) = data
    assert (y.numpy().tolist(), weights.numpy().tolist()) == ([0, 1], [0, 1])
    (inputs,) = mk.batches(records_of({"n": Number(0, 1, optional=True)}, n=["", "1"]), 2, targets=False)
    assert list(inputs) == ["w"]


def weights_of(records, class_weight):
    """The weights of the training batches, in the order of the table: the word's vocabulary tells the row."""
    ((inputs, _, weights),) = mk.batches(records, len(records), training=True, class_weight=class_weight)
    order = np.argsort(inputs["w"][:, 0], kind="stable")
    return tf.nest.map_structure(lambda value: value.numpy()[order].tolist(), weights)


@pytest.mark.parametrize(
    ("class_weight", "expected"),
    [
        ("balanced", [2 / 3, 2 / 3, 2 / 3, 2]),  # 4 rows, 2 classes that occur: 4 / (2 * 3) and 4 / (2 * 1)
        ({"c": "balanced"}, [2 / 3, 2 / 3, 2 / 3, 2]),
        ({"2": 5}, [1, 1, 1, 5]),
        ({2: 5, "1": 0}, [0, 0, 0, 5]),
        ({"c": {"1": 0.25}}, [0.25, 0.25, 0.25, 1]),
        ({}, [1, 1, 1, 1]),
    ],
)
def test_class_weights_by_hand(class_weight, expected):
    records = records_of({"c": Category(["1", "2", "3"])}, c=["1", "1", "1", "2"])
    assert weights_of(records, class_weight) == pytest.approx(expected)


def test_class_weights_times_absence():
    targets = {"c": Category(["x", "y"], optional=True), "n": Number(0, 1, optional=True)}
    records = records_of(targets, c=["x", "x", "", "y"], n=["1", "", "3", "4"])
    found = weights_of(records, "balanced")
    assert found["c"] == pytest.approx([3 / 4, 3 / 4, 0, 3 / 2])  # 3 rows that have it, 2 classes
    assert found["n"] == [1, 0, 1, 1]
    assert weights_of(records, {"c": {"y": 7}}) == {"c": [1, 1, 0, 7], "n": [1, 0, 1, 1]}
    assert weights_of(records.take([0, 1, 2]), "balanced")["c"] == [1, 1, 0]  # counts the records given


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("balancd", "expected 'balanced' or a dict, received 'balancd'"),
        (3, "expected 'balanced' or a dict, received 3"),
        ({"d": {"x": 1}}, "unknown target 'd'; Known: c, n"),
        ({"c": {"xx": 1}}, "unknown label of 'c': 'xx'; did you mean 'x'?"),
        ({"c": 2}, "'c': expected 'balanced' or a dict of label -> weight, received 2"),
        ({"c": {"x": -1}}, "'c': expected the weight of 'x' to be a number from 0, received -1"),
        ({"c": {"x": True}}, "'c': expected the weight of 'x' to be a number from 0, received True"),
        ({"c": {"x": float("nan")}}, "'c': expected the weight of 'x' to be a number from 0, received nan"),
        ({"n": {"x": 1}}, "'n': expected a target whose classes can have weights, received a Number"),
        ({"n": "balanced"}, "'n': expected a target whose classes can have weights, received a Number"),
    ],
)
def test_class_weights_that_cannot_be(class_weight, message):
    records = records_of({"c": Category(["x", "y"]), "n": Number(0, 1)}, c=["x", "y"], n=["1", "2"])
    with pytest.raises(InputError, match=re.escape(f"batches: class_weight: {message}")):
        mk.batches(records, 2, training=True, class_weight=class_weight)


def test_class_weights_only_in_training_and_only_for_categories():
    records = records_of({"c": Category(["x", "y"])}, c=["x", "y"])
    for options in ({}, {"training": True, "targets": False}):
        with pytest.raises(InputError, match="expected class_weight with training=True and targets only"):
            mk.batches(records, 2, class_weight="balanced", **options)
    with pytest.raises(InputError, match="expected a target whose classes can have weights, as a Category, received n"):
        mk.batches(records_of({"n": Number(0, 1)}, n=["1", "2"]), 2, training=True, class_weight="balanced")


ALL = {"zone": Category(["x", "y"], optional=True), "tags": Labels(["a", "b"], optional=True)}
ALL["mass"] = Number(100, 20, unit="g", optional=True)
COLUMNS = {"zone": ["x", "", "y", "x"], "tags": ["a|b", "|", "", "b"], "mass": ["", "90", "130", "100"]}


def compiled(schema, seed=0):
    keras.utils.set_random_seed(seed)
    model = mk.build(schema, width=4)
    model.compile(keras.optimizers.SGD(0.1), **mk.compile_args(schema))
    return model


def test_loss_and_metrics_by_hand_without_the_missing():
    """The loss of each head is the sum of its weighted losses over all rows of the batch, missing ones included."""
    records = records_of(ALL, **COLUMNS)
    model = compiled(records.schema)
    answers = model.predict(mk.batches(records, 4, targets=False), verbose=0)
    zone, tags, mass = (np.asarray(answers[name], float) for name in ALL)
    truth = np.array([[1, 1], [0, 0], [0, 0], [0, 1]])
    cross = -(truth * np.log(tags) + (1 - truth) * np.log(1 - tags)).mean(axis=1)
    found = model.evaluate(mk.batches(records, 4), return_dict=True, verbose=0)
    assert found["zone_loss"] == pytest.approx(-(np.log(zone[0, 0] * zone[2, 1] * zone[3, 0])) / 4, rel=1e-4)
    assert found["tags_loss"] == pytest.approx((cross[0] + cross[1] + cross[3]) / 4, rel=1e-4)
    off = mass[1:] - [90, 130, 100]
    assert found["mass_loss"] == pytest.approx((off**2).sum() / 400 / 4, rel=1e-4)
    assert found["mass_mae"] == pytest.approx(np.abs(off).mean(), rel=1e-4)
    spread = ((np.array([90, 130, 100]) - 320 / 3) ** 2).sum()
    assert found["mass_r2"] == pytest.approx(1 - (off**2).sum() / spread, rel=1e-3, abs=1e-4)
    assert found["zone_accuracy"] == pytest.approx(np.mean(zone.argmax(axis=1)[[0, 2, 3]] == [0, 1, 0]))
    assert found["loss"] == pytest.approx(sum(found[f"{name}_loss"] for name in ALL), rel=1e-5)


def test_the_value_of_an_absent_target_changes_nothing():
    """Whatever stands in for the missing: losses, metrics and the weights after a step stay the same bit by bit."""
    records = records_of(ALL, **COLUMNS)
    ((x, y, weights),) = mk.batches(records, 4)
    y = {name: value.numpy() for name, value in y.items()}
    other = {name: value.copy() for name, value in y.items()}
    other["zone"][1], other["tags"][2], other["mass"][0] = 1, [1, 1], -1e6
    found = []
    for truth in (y, other):
        model = compiled(records.schema)
        measured = model.train_on_batch(x, truth, sample_weight=weights, return_dict=True)
        found.append((measured, model.get_weights()))
    assert found[0][0] == found[1][0]
    assert all(np.isfinite(value) for value in found[0][0].values())
    for one, another in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(one, another)
        assert np.isfinite(one).all()


def test_batches_without_any_truth_are_finite():
    records = records_of(ALL, zone=[""] * 4, tags=[""] * 4, mass=[""] * 4)
    model = compiled(records.schema)
    history = model.fit(mk.batches(records, 2, training=True), epochs=2, shuffle=False, verbose=0).history
    assert all(np.isfinite(value).all() for value in history.values())
    assert history["loss"] == [0, 0]


@pytest.fixture(scope="module")
def trained():
    """The word says it all: its zone, its tags and its mass; every fourth cell of each target is missing."""
    random = np.random.default_rng(0)
    word = random.choice(WORDS, 400)
    number = np.array([WORDS.index(w) for w in word])
    frame = pd.DataFrame({"word": word, "noise": random.choice(["up", "down"], 400)})
    frame["zone"] = np.where(number < 2, "x", "y")
    frame["tags"] = np.array(["a|b", "b", "|", "a"])[number]
    frame["mass"] = (1000 + 10.0 * number).astype(str)
    hidden = frame.copy()
    for place, name in enumerate(ALL):
        hidden.loc[place::4, name] = ""
    inputs = {"word": Text(1, WORDS), "noise": Text(1, ["up", "down"])}
    target = {"zone": Category(optional=True), "tags": Labels(optional=True), "mass": Number(unit="g", optional=True)}
    records = Records(Schema(inputs, target), hidden, "table.csv").fit()
    keras.utils.set_random_seed(0)
    model = mk.build(records.schema, width=16)
    model.compile(keras.optimizers.Adam(0.01), **mk.compile_args(records.schema))
    model.fit(mk.batches(records, 50, training=True), epochs=15, shuffle=False, verbose=0)
    return model, records, frame


def test_fit_skips_the_missing(trained):
    _, records, _ = trained
    targets = records.schema.targets
    assert (targets["zone"].classes, targets["tags"].classes) == (("x", "y"), ("a", "b"))
    there = [float(cell) for cell in records.values("mass") if cell]
    assert targets["mass"].mean == pytest.approx(np.mean(there))
    assert targets["mass"].std == pytest.approx(np.std(there))


def test_all_kinds_are_learnt_and_predicted_also_where_missing(trained):
    model, records, truth = trained
    table = mk.predict(model, records)
    assert list(table) == [
        *("zone", "zone_score", "zone_probability_x", "zone_probability_y"),
        *("tags", "tags_probability_a", "tags_probability_b", "mass"),
    ]
    assert list(table["zone"]) == list(truth["zone"])
    assert list(table["tags"]) == [tuple(cell.strip("|").split("|")) if cell != "|" else () for cell in truth["tags"]]
    assert np.abs(table["mass"] - truth["mass"].astype(float)).max() < 5
    assert table["mass"].dtype == np.float32


def test_evaluate_scores_the_rows_that_have_the_target(trained):
    model, records, _ = trained
    found = mk.evaluate(model, records, permutations=2)
    whole = found.subsets[found.subsets["permutations"] == 0].set_index("target")
    assert dict(whole["metric"]) == {"zone": "accuracy", "tags": "f1", "mass": "mae"}
    assert whole["score"]["zone"] == found.metrics["zone_accuracy"] == 1
    assert whole["score"]["tags"] == pytest.approx(found.metrics["tags_f1"]) == pytest.approx(1)
    assert whole["score"]["mass"] == pytest.approx(found.metrics["mass_mae"], rel=1e-4)
    table, there = mk.predict(model, records), records.values("mass") != ""
    error = np.abs(table["mass"][there] - records.values("mass")[there].astype(float)).mean()
    assert whole["score"]["mass"] == pytest.approx(error, rel=1e-4)
    assert found.metrics["mass_r2"] > 0.95
    assert found.metrics["tags_auc"] == pytest.approx(1)


def serve(bundle, **values):
    answers = tf.saved_model.load(str(bundle)).signatures["serving_default"](
        **{name: tf.constant(value, tf.string) for name, value in values.items()}
    )
    return {name: value.numpy() for name, value in answers.items()}


def test_exported_answers_are_those_of_predict(trained, tmp_path):
    model, records, _ = trained
    some = records.take(np.arange(12))
    answers = serve(
        mk.export(model, records.schema, tmp_path), word=list(some.values("word")), noise=list(some.values("noise"))
    )
    table = mk.predict(model, some)
    assert [label.decode() for label in answers["zone_label"]] == list(table["zone"])
    assert [label.decode() for label in answers["tags_label"]] == ["|".join(tags) or "|" for tags in table["tags"]]
    assert {b"a|b", b"b", b"|", b"a"} == set(answers["tags_label"])
    np.testing.assert_allclose(answers["tags_probabilities"][:, 1], table["tags_probability_b"], atol=1e-5)
    np.testing.assert_allclose(answers["mass_value"], table["mass"], rtol=1e-6)
    assert not {"tags_score", "mass_label", "mass_score"} & set(answers)


@pytest.mark.parametrize("target", [Labels(["é", "b", "c"], separator=" · "), Number(50, 2)])
def test_exported_bad_rows_and_no_rows(target, tmp_path):
    schema = Schema({"w": Text(1, WORDS)}, {"t": target})
    bundle = mk.export(mk.build(schema, width=4), schema, tmp_path)
    answers = serve(bundle, w=["red", b"\xff\xfe", "blue"])
    assert answers["status"].tolist() == [0, 1, 0]
    if isinstance(target, Number):
        assert answers["value"][1] == 0
        assert (answers["value"][[0, 2]] > 30).all()
    else:
        chosen = TASKS["sigmoid"].decoded(answers["probabilities"], target)["label"]
        assert [label.decode() for label in answers["label"][[0, 2]]] == [
            " · ".join(c) or " · " for c in chosen[[0, 2]]
        ]
        assert (answers["label"][1], answers["probabilities"][1].tolist()) == (b"", [0, 0, 0])
    empty = serve(bundle, w=[])
    assert {len(value) for value in empty.values()} == {0}


def test_a_model_of_another_target():
    schema = Schema({"w": Text(1, WORDS)}, {"t": Number(0, 1)})
    other = Schema({"w": Text(1, WORDS)}, {"t": Labels(["a", "b"])})
    cases = [(other, schema, "(batch) for 't', which is a Number of the schema, received (None, 2)")]
    cases += [(schema, other, "(batch, 2) for 't', which is a Labels of the schema, received (None,)")]
    for own, asked, expected in cases:
        with pytest.raises(InputError, match=re.escape(f"predict: expected outputs {expected}")):
            check_model(mk.build(own, width=4), asked, "predict")


def test_labels_of_the_pipeline_belong_to_the_weights():
    records = records_of(ALL, **COLUMNS)
    numbers = pipeline.labels(records)
    weights = pipeline.row_weights(records, numbers)
    assert list(numbers) == list(weights) == list(ALL)
    assert all(len(numbers[name]) == len(weights[name]) == 4 for name in ALL)


def test_optional_targets_and_bad_numbers_of_a_table():
    frame = pd.DataFrame({"q": list("abcd"), "kind": ["x", "", "y", "x"], "price": ["1.5", "2", "", "dear"]})
    schema = mk.Schema({"q": mk.Text(1)}, {"kind": mk.Category(optional=True), "price": mk.Number(optional=True)})
    with pytest.raises(InputError, match=r"^DataFrame row 3: 'price': expected a .*number.*: 'dear' \(1 such rows\)$"):
        mk.read(frame, schema)
    with pytest.warns(UserWarning, match="1 of 4 rows left out"):
        records = mk.read(frame, schema, on_bad="drop", bad_limit=0.5).fit()
    assert records.ledger[["row", "column", "value"]].to_numpy().tolist() == [[3, "price", "dear"]]
    ((_, y, weights),) = mk.batches(records, 4)
    assert weights["kind"].numpy().tolist() == [1, 0, 1]
    assert weights["price"].numpy().tolist() == [1, 1, 0]
    assert y["price"].numpy()[:2].tolist() == [1.5, 2]
