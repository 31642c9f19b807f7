import contracts
import keras
import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.schema import Category, Schema, Text


@pytest.fixture(scope="module")
def trained():
    """A model of two words: the answer is the first one whatever the second, so "noise" is worth nothing."""
    random = np.random.default_rng(0)
    word = random.choice(["red", "green", "blue", "grey"], 400)
    frame = pd.DataFrame({"word": word, "noise": random.choice(["up", "down"], 400), "answer": word})
    schema = Schema({"word": Text(1), "noise": Text(1)}, {"answer": Category()})
    records = mk.read(frame, schema).fit()
    keras.utils.set_random_seed(0)
    model = mk.build(records.schema, width=16)
    model.compile(keras.optimizers.Adam(0.01), **mk.compile_args(records.schema))
    model.fit(mk.batches(records, 50, training=True), epochs=10, verbose=0)
    return model, records


def scores(evaluation):
    return evaluation.subsets.set_index("modalities")["score"]


def test_every_subset_and_what_it_is_worth(trained):
    found = mk.evaluate(*trained)
    assert found.metrics["accuracy"] == 1.0
    assert list(found.subsets["modalities"]) == [("word", "noise"), ("word",), ("noise",), ()]
    assert scores(found)[("word", "noise")] == 1.0
    assert scores(found)[("word",)] == 1.0
    assert scores(found)[("noise",)] == pytest.approx(0.25, abs=0.06)
    assert list(found.subsets["permutations"]) == [0, 5, 5, 5]
    assert "accuracy 1.0000" in repr(found)
    assert "word + noise" in repr(found)


def test_same_seed_same_scores(trained):
    first, again, other = (mk.evaluate(*trained, seed=seed).subsets for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, again)
    assert not first["score"].equals(other["score"])


def test_a_model_without_sub_models_scores_the_same(trained):
    """The short cut over cached tower outputs changes nothing: a model built elsewhere goes the long way."""
    model, records = trained
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in model.inputs]
    other = keras.Model(inputs, model(inputs))
    other.compile(**mk.compile_args(records.schema))
    pd.testing.assert_frame_equal(mk.evaluate(other, records).subsets, mk.evaluate(model, records).subsets)


def test_predict(trained):
    model, records = trained
    table = mk.predict(model, records.take(np.arange(100, 200)))
    classes = records.schema.targets["answer"].classes
    assert list(table.columns) == ["answer", "answer_score", *(f"answer_probability_{c}" for c in classes)]
    assert list(table.index) == list(range(100, 200))
    assert (table["answer"] == records.frame["answer"][100:200]).all()
    probabilities = table[[f"answer_probability_{c}" for c in classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(table["answer_score"], probabilities.max(axis=1))


def test_predict_needs_no_targets(trained):
    model, records = trained
    new = mk.read(pd.DataFrame({"word": ["red", "never seen"], "noise": ["up", "up"]}), records.schema, targets=False)
    assert mk.predict(model, new)["answer"][0] == "red"


def test_two_targets(tmp_path):
    frame = pd.DataFrame({"word": ["a", "b"] * 20, "first": ["x", "y"] * 20, "second": ["1", "2", "3", "4"] * 10})
    schema = Schema({"word": Text(1)}, {"first": Category(), "second": Category()})
    records = mk.read(frame, schema).fit()
    model = mk.build(records.schema, width=8)
    model.compile("adam", **mk.compile_args(records.schema))
    found = mk.evaluate(model, records)
    assert {"loss", "first_accuracy", "second_accuracy"} <= set(found.metrics)
    whole = found.subsets[found.subsets["permutations"] == 0].set_index("target")["score"]
    assert whole["first"] == pytest.approx(found.metrics["first_accuracy"])
    assert whole["second"] == pytest.approx(found.metrics["second_accuracy"])
    assert {"first", "second_score", "second_probability_4"} <= set(mk.predict(model, records).columns)


def test_refused(trained):
    model, records = trained
    bare = mk.build(records.schema, width=8)
    unfitted = Schema({"word": Text(1), "noise": Text(1)}, {"answer": Category()})
    with pytest.raises(InputError, match="predict needs a fitted schema, but"):
        mk.predict(model, mk.read(records.frame, unfitted))
    with pytest.raises(InputError, match="evaluate: the model is not compiled"):
        mk.evaluate(bare, records)
    with pytest.raises(InputError, match="expected permutations to be a whole number above 0, received 0"):
        mk.evaluate(model, records, permutations=0)
    other = mk.build(contracts.small_schema(), width=8)
    with pytest.raises(InputError, match=r"predict: expected a model with the schema's inputs \{'word'"):
        mk.predict(other, records)
    classes = Schema(records.schema.inputs, {"answer": Category(classes=["red", "green"])})
    expected = (
        r"export: expected outputs \(batch, 2\) for 'answer', which is a Category of the schema, received \(None, 4\)"
    )
    with pytest.raises(InputError, match=expected):
        mk.export(model, classes, "nowhere")


@pytest.fixture
def hinted(request):
    """A model of a word and an optional hint, which every second row lacks; the answer is the word."""
    word = np.random.default_rng(0).choice(["red", "green", "blue", "grey"], 200)
    hint = np.where(np.arange(200) % 2, word, "")
    schema = Schema({"word": Text(1, optional=request.param), "hint": Text(1, optional=True)}, {"answer": Category()})
    records = mk.read(pd.DataFrame({"word": word, "hint": hint, "answer": word}), schema).fit()
    keras.utils.set_random_seed(0)
    model = mk.build(records.schema, width=16)
    model.compile(keras.optimizers.Adam(0.01), **mk.compile_args(records.schema))
    model.fit(mk.batches(records, 50, training=True), epochs=10, verbose=0)
    return model, records


def accuracy(model, records, **present):
    """Of the model on all rows, with what is present set by hand."""
    inputs, y = next(iter(mk.batches(records, len(records))))
    given = {f"{name}_present": np.full(len(records), there) for name, there in present.items()}
    return model.evaluate({**inputs, **given}, y, return_dict=True, verbose=0)["accuracy"]


@pytest.mark.parametrize("hinted", [False], indirect=True)
def test_an_optional_modality_outside_is_missing(hinted):
    model, records = hinted
    found = mk.evaluate(model, records)
    assert list(found.subsets["modalities"]) == [("word", "hint"), ("word",), ("hint",), ()]
    assert list(found.subsets["missing"]) == [(), ("hint",), (), ("hint",)]
    assert list(found.subsets["permutations"]) == [0, 0, 5, 5]
    assert scores(found)[("word",)] == pytest.approx(accuracy(model, records, hint=False))
    assert found.subsets["spread"][1] == 0
    assert "the others shuffled among the rows (hint: replaced by the missing token):" in repr(found)
    assert "word + hint" in repr(found)
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x in model.inputs]
    other = keras.Model(inputs, model(inputs))
    other.compile(**mk.compile_args(records.schema))
    pd.testing.assert_frame_equal(mk.evaluate(other, records).subsets, found.subsets)


@pytest.mark.parametrize("hinted", [True], indirect=True)
def test_nothing_is_shuffled_if_all_is_optional(hinted):
    model, records = hinted
    found = mk.evaluate(model, records)
    assert list(found.subsets["permutations"]) == [0, 0, 0, 0]
    assert list(found.subsets["missing"]) == [(), ("hint",), ("word",), ("word", "hint")]
    assert scores(found)[("hint",)] == pytest.approx(accuracy(model, records, word=False))
    assert scores(found)[()] == pytest.approx(accuracy(model, records, word=False, hint=False))
    assert "the others replaced by their missing tokens:" in repr(found)


@pytest.mark.parametrize("hinted", [True], indirect=True)
def test_absence_curve(hinted):
    model, records = hinted
    curve = mk.missing_modality_curve(model, records, [0, 0.5, 1], repeats=4).set_index(["modality", "share"])
    assert list(curve.index) == [(name, share) for name in ("word", "hint", "all") for share in (0, 0.5, 1)]
    assert set(curve["target"]) == {"answer"}
    assert set(curve["metric"]) == {"accuracy"}
    score = curve["score"]
    for name in ("word", "hint", "all"):
        assert score[name, 0] == pytest.approx(accuracy(model, records))
    assert score["word", 1] == pytest.approx(accuracy(model, records, word=False))
    assert score["all", 1] == pytest.approx(accuracy(model, records, word=False, hint=False))
    assert score["word", 1] < score["word", 0.5] < score["word", 0]
    assert curve["spread"]["all", 0.5] > 0
    assert set(curve["spread"].xs(1, level="share")) == {0}


def test_absence_curve_refused(trained):
    model, records = trained
    with pytest.raises(
        InputError, match="missing_modality_curve: expected an input with optional=True, received word, noise"
    ):
        mk.missing_modality_curve(model, records)


def test_a_model_without_the_side_inputs_is_refused(trained):
    model, records = trained
    optional = Schema(
        {**records.schema.inputs, "noise": contracts.optional(records.schema.inputs)["noise"]},
        {"answer": records.schema.targets["answer"]},
    )
    with pytest.raises(InputError, match=r"expected a model with the schema's inputs \{.*'noise_present': \(\)\}"):
        mk.export(model, optional, "nowhere")
