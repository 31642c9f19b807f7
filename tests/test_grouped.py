"""A second view over a model's weights, for batches in which each distinct picture stands once."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.model import deduplicated_model
from mmkeras.schema import Category

ROWS, PICTURES = 12, 4
INDEX = np.array([0, 2, 2, 1, 3, 0, 0, 2, 1, 3, 3, 2], "int32")
TARGETS = {"answer": Category(classes=["a", "b", "c"]), "colour": Category(classes=["r", "g"])}


def shared_schema(by, targets=("answer",), optional=False):
    features = {name: contracts.FEATURES[name] for name in ("table", by)}
    features[by] = replace(features[by], shared=True, optional=optional)
    return contracts.small_schema(features, **{name: TARGETS[name] for name in targets})


def two_batches(schema, by, steps=3):
    """Several batches of the same rows, each as the plain model takes it (dict) and as the view does (tuple)."""
    order = [f"{by}_index", *(name for name in schema.model_inputs if name not in (by, f"{by}_length"))]
    order += [name for name in (by, f"{by}_length") if name in schema.model_inputs]
    for step in range(steps):
        x = contracts.samples(schema, rows=ROWS, seed=step)
        distinct = {name: contracts.samples(schema, rows=PICTURES, seed=10 + step)[name] for name in order if name in x}
        shared = [name for name in (by, f"{by}_length") if name in x]
        plain = {**x, **{name: distinct[name][INDEX] for name in shared}}
        once = {**x, **{name: distinct[name] for name in shared}, f"{by}_index": INDEX}
        random = np.random.default_rng(step)
        y = {name: random.integers(0, len(TARGETS[name].classes), ROWS) for name in schema.targets}
        weights = {name: random.uniform(0, 2, ROWS).astype("float32") for name in schema.targets}
        y, weights = (part if len(part) > 1 else part["answer"] for part in (y, weights))
        yield plain, tuple(once[name] for name in order), y, weights


class Batches(keras.utils.PyDataset):
    """A list of batches, on every backend."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        return self.batches[number]


def both_views(schema, by, fusion="concat", tokens="one"):
    towers = contracts.every_token(schema) if tokens == "all" else {}
    keras.utils.set_random_seed(0)
    model = mk.build(schema, towers=towers, fusion=fusion, width=8)
    view = deduplicated_model(model, schema, by)
    for each in (model, view):
        each.compile(keras.optimizers.SGD(0.05), **mk.compile_args(schema))
    return model, view


def check_equal_training(schema, by, **options):
    """From the same weights, both views end at the same weights, with the same losses and metrics on the way."""
    model, view = both_views(schema, by, **options)
    start, runs = model.get_weights(), []
    batches = list(two_batches(schema, by))
    for each, number in ((model, 0), (view, 1)):
        model.set_weights(start)
        data = Batches([(batch[number], *batch[2:]) for batch in batches])
        history = each.fit(data, epochs=2, shuffle=False, verbose=0).history
        scores = each.evaluate(data, return_dict=True, verbose=0)
        runs.append((model.get_weights(), history, scores))
    (plain, history, scores), (once, history_once, scores_once) = runs
    for new, old in zip(once, plain, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)
    assert not all(np.array_equal(new, old) for new, old in zip(plain, start, strict=True))
    assert history.keys() == history_once.keys()
    for name in history:
        np.testing.assert_allclose(history_once[name], history[name], atol=1e-5)
    assert scores_once == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize(
    ("by", "options"),
    [
        ("image", {}),
        ("image", {"tokens": "all", "fusion": "attention", "optional": True, "targets": ("answer", "colour")}),
        ("trace", {"tokens": "all"}),
        ("film", {"optional": True}),
        ("audio", {"optional": True}),
    ],
)
def test_trains_and_evaluates_as_the_plain_model(by, options):
    schema_options = {name: options[name] for name in ("targets", "optional") if name in options}
    rest = {name: value for name, value in options.items() if name not in schema_options}
    check_equal_training(shared_schema(by, **schema_options), by, **rest)


def test_tf_data_of_any_number_of_pictures():
    """Real batches: each of another number of rows and pictures."""
    tf = pytest.importorskip("tensorflow")
    schema = shared_schema("image")
    model, view = both_views(schema, "image")
    sizes = [(12, 4), (7, 2), (3, 5)]

    def rows():
        for count, pictures in sizes:
            table = contracts.sample(schema.inputs["table"], count, seed=count)
            images = contracts.sample(schema.inputs["image"], pictures, seed=count)
            yield (np.arange(count, dtype="int32") % pictures, table, images), np.arange(count) % 3, np.ones(count)

    signature = (
        tuple(tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in view.inputs),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((None,), tf.float32),
    )
    data = tf.data.Dataset.from_generator(rows, output_signature=signature)
    data = data.apply(tf.data.experimental.assert_cardinality(len(sizes)))  # else Keras counts one step too many
    answers = view.predict(data, verbose=0)
    expected = [
        model.predict({"table": table, "image": images[index]}, verbose=0) for (index, table, images), _, _ in rows()
    ]
    np.testing.assert_allclose(answers, np.concatenate(expected), atol=1e-5)
    losses = [-np.log(part[np.arange(len(part)), np.arange(len(part)) % 3]) for part in expected]
    found = view.evaluate(data, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(np.concatenate(losses).mean(), abs=1e-5)
    view.fit(data, verbose=0)
    assert view.optimizer.iterations == 3


def test_inputs_and_layers():
    schema = shared_schema("film", optional=True)
    model, view = both_views(schema, "film")
    assert [tensor.name for tensor in view.inputs] == ["film_index", "table", "film_present", "film", "film_length"]
    assert view.output_names == model.output_names == ["answer"]
    for name in ("film_tower", "film_missing", "table_tower", "body", "answer"):
        assert view.get_layer(name) is model.get_layer(name)
    assert {id(weight) for weight in view.weights} == {id(weight) for weight in model.weights}


def test_the_model_is_saved_as_before(tmp_path):
    """Also a model that was loaded has a deduplicated view."""
    schema = shared_schema("image", optional=True)
    model, view = both_views(schema, "image")
    plain, once, _, _ = next(two_batches(schema, "image"))
    contracts.round_trip_is_equal(model, plain, tmp_path / "model.keras")
    loaded = deduplicated_model(keras.models.load_model(tmp_path / "model.keras"), schema, "image")
    np.testing.assert_array_equal(contracts.outputs(loaded, once), contracts.outputs(view, once))
    np.testing.assert_allclose(contracts.outputs(view, once), contracts.outputs(model, plain), atol=1e-6)


JAX = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
import test_grouped
assert keras.backend.backend() == "jax"
for by, optional in (("image", True), ("trace", False)):
    test_grouped.check_equal_training(test_grouped.shared_schema(by, optional=optional), by)
test_grouped.test_a_keras_distribution_is_refused()
"""


def test_trains_and_evaluates_the_same_on_jax(tmp_path):
    pytest.importorskip("jax", reason="pip install jax")
    command = [sys.executable, "-c", JAX, str(contracts.__file__).rpartition("/")[0]]
    done = subprocess.run(command, env=contracts.jax_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("imge", "deduplicated_model: unknown input 'imge'; did you mean 'image'"),
        ("table", r"deduplicated_model: expected 'table' to be an input with shared=True, received Tabular\("),
    ],
)
def test_only_a_shared_input_is_taken(by, message):
    schema = shared_schema("image")
    with pytest.raises(InputError, match=message):
        deduplicated_model(mk.build(schema, width=8), schema, by)


def test_only_a_model_of_build_is_taken():
    schema = shared_schema("image")
    model = mk.build(schema, width=8)
    other = keras.Model(model.inputs, model(model.inputs))
    with pytest.raises(
        InputError, match=r"deduplicated_model: expected a model that build made .*no layer 'table_tower'"
    ):
        deduplicated_model(other, schema, "image")
    with pytest.raises(InputError, match="no layer 'image_missing'"):
        deduplicated_model(model, shared_schema("image", optional=True), "image")


def test_several_replicas_are_refused(monkeypatch):
    schema = shared_schema("image")
    model = mk.build(schema, width=8)
    monkeypatch.setattr(keras.Model, "distribute_strategy", SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(InputError, match="deduplicated_model: expected a model on one device"):
        deduplicated_model(model, schema, "image")


def test_a_keras_distribution_is_refused():
    schema = shared_schema("image")
    model = mk.build(schema, width=8)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    try:
        with pytest.raises(InputError, match="deduplicated_model: expected a model on one device"):
            deduplicated_model(model, schema, "image")
    finally:
        keras.distribution.set_distribution(None)
