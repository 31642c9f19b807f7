"""Towers that run once, and what follows them."""

import keras
import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError

TOWERS = {"question": {"kind": "lstm", "tokens": "all"}, "audio": {"kind": "spectrogram", "filters": 4}}
CUT = ["question", "audio"]


@pytest.fixture(scope="module")
def data(keypad_manifest):
    """Every third recording and every fifth label of the second target are missing."""
    table = pd.read_csv(keypad_manifest, dtype=str, keep_default_na=False)
    for column in ("image", "audio"):
        table[column] = [str(keypad_manifest.parent / path) for path in table[column]]
    table.loc[::3, "audio"] = ""
    table["kind"] = np.where(np.arange(len(table)) % 5 == 0, "", table["question"].str[:1])
    inputs = {
        "image": mk.Image(8, 8, 1),
        "question": mk.Text(16),
        "audio": mk.Audio(8000, 0.3, optional=True),
    }
    schema = mk.Schema(inputs, {"answer": mk.Category(), "kind": mk.Category(reads="question", optional=True)})
    return mk.read(table, schema).split("split")


@pytest.fixture
def model(data):
    keras.utils.set_random_seed(0)
    return mk.build(data.schema, towers=TOWERS, fusion="attention", width=16)


@pytest.mark.parametrize("towers", [CUT, ["image"], ["audio", "image", "question"]])
def test_what_follows_the_towers_answers_as_the_model(data, model, towers):
    x, _, _ = mk.extract_features(model, data["val"], towers)
    rest = mk.features_model(model, data.schema, towers)
    assert sorted(x) == sorted(tensor.name for tensor in rest.inputs)
    assert ("question_tokens_mask" in x, "audio_present" in x) == ("question" in towers, True)
    expected = model.predict(mk.batches(data["val"], 64, targets=False), verbose=0)
    found = rest.predict(x, verbose=0)
    for name in data.schema.targets:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_answers_and_weights_are_those_of_the_batches(data, model):
    balanced = {"class_weight": {"answer": "balanced"}}
    _, y, weights = mk.extract_features(model, data["train"], CUT, **balanced)
    order = mk.batches(data["train"], len(data["train"]), training=True, **balanced)
    _, truth, expected = next(iter(order))  # the same rows in another order
    for name in data.schema.targets:
        ours, theirs = np.stack([y[name], weights[name]], 1), np.stack([truth[name], expected[name]], 1)
        np.testing.assert_allclose(*(rows[np.lexsort(rows.T)] for rows in (ours, theirs)), rtol=1e-6)
    assert 0 < np.count_nonzero(weights["kind"] == 0) < len(weights["kind"])


def test_training_what_follows_trains_the_model(data, model):
    x, y, weights = mk.extract_features(model, data["train"], CUT)
    rest = mk.features_model(model, data.schema, CUT)
    rest.compile(keras.optimizers.Adam(1e-2), **mk.compile_args(data.schema))
    kept = {name: model.get_layer(f"{name}_tower").get_weights() for name in data.schema.inputs}
    losses = rest.fit(x, y, sample_weight=weights, batch_size=64, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for name, before in kept.items():
        after = model.get_layer(f"{name}_tower").get_weights()
        assert all(map(np.array_equal, before, after)) == (name in CUT)
    model.compile(**mk.compile_args(data.schema))
    scores = model.evaluate(mk.batches(data["train"], 64), return_dict=True, verbose=0)
    again = rest.evaluate(x, y, sample_weight=weights, return_dict=True, verbose=0)
    assert scores["answer_accuracy"] == pytest.approx(again["answer_accuracy"], abs=1e-6)


def test_a_padded_tower_that_stays(keypad_manifest, tmp_path):
    """Its length stays an input of what follows; one target is one array."""
    rows = pd.read_csv(keypad_manifest)[:12]
    table = pd.DataFrame({"image": [str(keypad_manifest.parent / path) for path in rows["image"]]})
    random = np.random.default_rng(0)
    for row in range(len(table)):
        np.save(tmp_path / f"{row}.npy", random.normal(size=(3 + row % 4, 2)))
    table["trace"] = [str(tmp_path / f"{row}.npy") for row in range(len(table))]
    table["kind"] = ["a", "b"] * 6
    schema = mk.Schema({"image": mk.Image(8, 8, 1), "trace": mk.Series(8, 2)}, {"kind": mk.Category()})
    records = mk.read(table, schema).fit()
    model = mk.build(records.schema, width=8)
    x, y, weights = mk.extract_features(model, records, ["image"])
    assert list(x) == ["image_tokens", "trace", "trace_length"]
    assert (x["trace_length"].tolist()[:4], y.tolist(), weights) == ([3, 4, 5, 6], [0, 1] * 6, None)
    expected = model.predict(mk.batches(records, 12, targets=False), verbose=0)
    np.testing.assert_allclose(
        mk.features_model(model, records.schema, ["image"]).predict(x, verbose=0), expected, atol=1e-6
    )


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        ([], r"expected towers to be a list of inputs, at least one, received \[\]"),
        ("audio", "expected towers to be a list of inputs, at least one, received 'audio'"),
        (["audoi"], "unknown input 'audoi'; did you mean 'audio'"),
    ],
)
def test_towers_that_cannot_be_left_out(data, model, towers, message):
    for call in (
        lambda: mk.features_model(model, data.schema, towers),
        lambda: mk.extract_features(model, data["val"], towers),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_models_that_cannot_be_cut(data, model):
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="features_model: expected a model that build made of the schema"):
        mk.features_model(other, data.schema, CUT)
    with pytest.raises(InputError, match="extract_features: expected a model that build made of the schema"):
        mk.extract_features(other, data["val"], CUT)
    more = mk.build(mk.Schema({**data.schema.inputs, "third": mk.Image(8, 8, 1)}, data.schema.targets), width=8)
    with pytest.raises(InputError, match="extract_features: expected a model that build made of the schema"):
        mk.extract_features(more, data["val"], CUT)
