import subprocess
import sys
from dataclasses import replace

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.fusion import FUSIONS
from mmkeras.layers import Tokens
from mmkeras.schema import Category, Image, Labels, Number, Schema, Text

fusions = pytest.mark.parametrize("fusion", ["concat", "attention"])
EVERY_TOKEN = contracts.every_token(contracts.small_schema())


@fusions
@pytest.mark.parametrize("towers", [{}, EVERY_TOKEN], ids=["one", "all"])
def test_laws(fusion, towers, tmp_path):
    schema = contracts.small_schema()
    x = contracts.samples(schema, rows=16)
    keras.utils.set_random_seed(0)
    model = mk.build(schema, fusion=fusion, towers=towers, width=16)
    assert [tensor.name for tensor in model.inputs] == list(schema.model_inputs)
    assert model.output_names == ["answer"]
    assert contracts.outputs(model, x)[0].shape == (16, 3)
    contracts.order_of_the_batch_changes_nothing(model, x)
    contracts.round_trip_is_equal(model, x, tmp_path / "model.keras")
    contracts.gradients_reach_every_weight(model, [x[name] for name in schema.model_inputs])


def test_is_a_plain_functional_model_of_sub_models():
    model = mk.build(contracts.small_schema(), width=8)
    assert type(model) is keras.src.models.functional.Functional
    assert [layer.name for layer in model.layers if isinstance(layer, keras.Model)] == [
        *(f"{name}_tower" for name in contracts.FEATURES),
        "body",
    ]
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert sum(part.count_params() for part in parts) == model.count_params()


def test_inputs_are_routed_by_name():
    """Shuffled and extra keys change nothing, a missing one raises: FACTS of models made from a dict of inputs."""
    schema = contracts.small_schema()
    model = mk.build(schema, width=8)
    x = contracts.samples(schema)
    expected = model.predict(x, verbose=0)
    shuffled = {"aaa_extra": np.zeros((5, 3)), **{name: x[name] for name in reversed(x)}, "zzz": np.zeros(5)}
    np.testing.assert_array_equal(model.predict(shuffled, verbose=0), expected)
    with pytest.raises((KeyError, ValueError), match="audio"):
        model.predict({name: value for name, value in x.items() if name != "audio"}, verbose=0)


def test_several_targets_are_a_dict():
    schema = contracts.small_schema(answer=Category(classes=["a", "b"]), colour=Category(classes=["r", "g", "b"]))
    model = mk.build(schema, width=8)
    model.compile("adam", **mk.compile_args(schema))
    x = contracts.samples(schema)
    y = {"colour": np.array([0, 1, 2, 0, 1]), "answer": np.zeros(5)}
    history = model.fit(x, y, verbose=0).history
    assert sorted(history) == ["answer_accuracy", "answer_loss", "colour_accuracy", "colour_loss", "loss"]
    answers = model.predict(x, verbose=0)
    assert {name: value.shape for name, value in answers.items()} == {"answer": (5, 2), "colour": (5, 3)}


def digits_schema():
    """The answer is asked of both; the digit of the picture alone; the size of the question."""
    return contracts.small_schema(
        {name: contracts.FEATURES[name] for name in ("image", "question")},
        answer=Category(classes=["a", "b"]),
        digit=Category(classes=["0", "1", "2"], reads="image"),
        size=Number(mean=50, std=5, reads="question"),
    )


def test_a_target_reads_one_tower():
    schema = digits_schema()
    model = mk.build(schema, width=8)
    x = contracts.samples(schema)
    answers = model.predict(x, verbose=0)
    assert {name: value.shape for name, value in answers.items()} == {"answer": (5, 2), "digit": (5, 3), "size": (5,)}
    other = {**x, "question": x["question"][::-1]}
    changed = model.predict(other, verbose=0)
    np.testing.assert_allclose(changed["digit"], answers["digit"], atol=1e-6)
    assert not np.allclose(changed["size"], answers["size"])
    assert not np.allclose(changed["answer"], answers["answer"])


def test_what_it_answers_joins_the_fusion():
    """Probabilities, and deviations from the mean, as one token each."""
    schema = digits_schema()
    body = mk.build(schema, width=8).get_layer("body")
    tokens = keras.Model(body.inputs, [body.get_layer(f"{name}_token").output for name in ("digit", "size")])
    x = [np.random.default_rng(0).normal(size=(5, 1, 8)).astype("float32") for _ in body.inputs]
    answers = body.predict(x, verbose=0)
    for name, found in zip(("digit", "size"), tokens.predict(x, verbose=0), strict=True):
        kernel, bias = body.get_layer(f"{name}_token").get_weights()
        given = answers[name] if name == "digit" else (answers[name][:, None] - 50) / 5
        np.testing.assert_allclose(found, given @ kernel + bias, atol=1e-5)
    before = body.predict(x, verbose=0)["answer"]
    body.get_layer("digit_token").bias.assign(np.ones(8))
    assert not np.allclose(body.predict(x, verbose=0)["answer"], before)


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_every_fusion_serves_targets_of_every_kind(fusion):
    schema = contracts.small_schema(
        {name: contracts.FEATURES[name] for name in ("image", "question")},
        answer=Category(classes=["a", "b"]),
        tags=Labels(classes=["x", "y", "z"]),
        digit=Category(classes=["0", "1", "2"], reads="image"),
        size=Number(mean=50, std=5),
    )
    keras.utils.set_random_seed(0)
    model = mk.build(schema, fusion=fusion, width=8)
    x = contracts.samples(schema, rows=16)
    assert list(model.output) == ["answer", "tags", "digit", "size"]
    contracts.order_of_the_batch_changes_nothing(model, x)
    model.compile("adam", **mk.compile_args(schema), run_eagerly=True)
    truth = {
        "answer": np.arange(16) % 2,
        "tags": np.ones((16, 3)),
        "digit": np.arange(16) % 3,
        "size": np.full(16, 50.0),
    }
    assert np.isfinite(model.train_on_batch(x, truth, return_dict=True)["loss"])


def test_late_decisions_are_averaged_with_learned_weights():
    schema = contracts.small_schema({name: contracts.FEATURES[name] for name in ("image", "question")})
    model = mk.build(schema, fusion="late", width=8)
    body = model.get_layer("body")
    body.get_layer("answer").scores.assign([np.log(3.0), 0.0])
    assert mk.fusion_shares(model) == {"image": pytest.approx(0.75), "question": pytest.approx(0.25)}
    each = keras.Model(body.inputs, [body.get_layer(f"answer_decision_of_{name}").output for name in schema.inputs])
    x = [np.random.default_rng(0).normal(size=(5, 1, 8)).astype("float32") for _ in body.inputs]
    image, question = each.predict(x, verbose=0)
    np.testing.assert_allclose(body.predict(x, verbose=0), 0.75 * image + 0.25 * question, atol=1e-6)


def test_a_target_may_be_called_after_another_and_an_input():
    """As `digit_image`, the usual name of a target that reads the picture beside `digit`."""
    targets = {"digit": Category(classes=["0", "1"]), "digit_image": Category(classes=["0", "1"], reads="image")}
    schema = contracts.small_schema({name: contracts.FEATURES[name] for name in ("image", "question")}, **targets)
    for fusion in FUSIONS:
        assert list(mk.build(schema, fusion=fusion, width=8).output) == ["digit", "digit_image"], fusion


def test_modality_dropout():
    features = {name: replace(contracts.FEATURES[name], optional=True) for name in ("image", "question")}
    schema = contracts.small_schema({**features, "table": contracts.FEATURES["table"]})
    rates = {"image": 0.75}
    model = mk.build(schema, width=8, modality_dropout=rates)
    assert [model.get_layer(f"{name}_missing").rate for name in features] == [0.75, 0]
    everywhere = mk.build(schema, width=8, modality_dropout=0.5)
    assert [everywhere.get_layer(f"{name}_missing").rate for name in features] == [0.5, 0.5]
    assert mk.ModelSpec.from_json(mk.ModelSpec(modality_dropout=rates).to_json()).modality_dropout == rates


@pytest.mark.parametrize(
    ("features", "rate", "message"),
    [
        (
            contracts.FEATURES,
            0.5,
            "expected inputs with optional=True for modality_dropout=0.5, but none of image, que",
        ),
        (contracts.optional(), {"imag": 0.5}, "modality_dropout: unknown optional input 'imag'; did you mean 'image'"),
        (contracts.FEATURES, {"image": 0.5}, "modality_dropout: unknown optional input 'image'; Known: none"),
        (contracts.optional(), {"image": 1}, "'image': expected modality_dropout to be from 0 to below 1, received 1"),
        (contracts.optional(), True, "expected modality_dropout to be from 0 to below 1, received True"),
    ],
)
def test_modality_dropout_refused(features, rate, message):
    with pytest.raises(InputError, match=message):
        mk.build(contracts.small_schema(features), modality_dropout=rate, width=4)


def test_sample_weights_reach_loss_and_accuracy():
    schema = contracts.small_schema()
    model = mk.build(schema, width=8)
    model.compile("adam", **mk.compile_args(schema))
    x = contracts.samples(schema)
    best = model.predict(x, verbose=0).argmax(axis=1)
    wrong = (best + 1) % 3
    truth = np.where(np.arange(5) == 0, best, wrong)
    only_first = np.array([1.0, 0, 0, 0, 0])
    found = model.evaluate(x, truth, sample_weight=only_first, return_dict=True, verbose=0)
    assert found["accuracy"] == 1.0


@fusions
def test_learns_a_rule_of_two_modalities(fusion):
    """The answer is an exclusive or of picture and word: neither alone tells it."""
    schema = Schema(
        {"image": Image(8, 8, 1), "word": Text(1, vocabulary=["a", "b"])}, {"answer": Category(classes=["0", "1"])}
    )
    random = np.random.default_rng(0)
    bright, word = random.integers(0, 2, (2, 512))
    x = {
        "image": (random.integers(0, 100, (512, 8, 8, 1)) + 150 * bright[:, None, None, None]).astype("uint8"),
        "word": (2 + word[:, None]).astype("int32"),
    }
    keras.utils.set_random_seed(0)
    model = mk.build(schema, fusion=fusion, width=16)
    model.compile(keras.optimizers.Adam(3e-3), **mk.compile_args(schema))
    model.fit(x, bright ^ word, epochs=15, verbose=0)
    assert model.evaluate(x, bright ^ word, return_dict=True, verbose=0)["accuracy"] > 0.98


def test_mixed_bfloat16_trains():
    schema = contracts.small_schema()
    x = contracts.samples(schema, rows=16)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mk.build(schema, fusion="attention", towers=EVERY_TOKEN, width=16)
        model.compile("adam", **mk.compile_args(schema), run_eagerly=True)
        history = model.fit(x, np.arange(16) % 3, epochs=2, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert model.output.dtype == "float32"


JAX = """
import sys
import keras, numpy as np
assert keras.backend.backend() == "jax"
model = keras.models.load_model(sys.argv[1])
x = dict(np.load(sys.argv[2]))
np.testing.assert_allclose(model.predict(x, verbose=0), np.load(sys.argv[3]), atol=1e-4)
assert not model.jit_compile, "Keras no longer keeps TensorFlow's choice: the README need not say it"
model.jit_compile = True
history = model.fit(x, np.arange(64) % 3, epochs=1, batch_size=16, verbose=0).history
assert np.isfinite(history["loss"][0]) and model.optimizer.iterations == 4, history
assert not [name for name in sys.modules if name.startswith("mmkeras")]
"""


def test_trains_on_jax_from_arrays(tmp_path):
    """In a fresh process on JAX, without mmkeras: the file of the default parts holds plain Keras layers."""
    pytest.importorskip("jax", reason="pip install jax")
    schema = contracts.small_schema({name: contracts.FEATURES[name] for name in ("image", "question", "trace")})
    model = mk.build(schema, width=16)
    model.compile("adam", **mk.compile_args(schema))
    x = contracts.samples(schema, rows=64)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **x)
    np.save(tmp_path / "y.npy", model.predict(x, verbose=0))
    files = [str(tmp_path / name) for name in ("model.keras", "x.npz", "y.npy")]
    done = subprocess.run(
        [sys.executable, "-c", JAX, *files],
        env=contracts.jax_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_spec_of_functions_has_no_json():
    def thumbnail(x, *, width, name):
        return Tokens(keras.layers.Dense(width)(keras.layers.Flatten()(x))[:, None])

    schema = contracts.small_schema({"image": contracts.FEATURES["image"]})
    spec = mk.ModelSpec(towers={"image": thumbnail}, width=4)
    assert mk.build(schema, spec).get_layer("image_tower").count_params() == 121 * 4
    with pytest.raises(
        InputError, match=r"to_json: expected parts by name, received <function .*thumbnail.*register it"
    ):
        spec.to_json()


def test_spec_round_trip_and_errors():
    spec = mk.ModelSpec(towers={"image": {"kind": "conv", "filters": 8}}, fusion="attention", width=32)
    assert mk.ModelSpec.from_json(spec.to_json()) == spec
    assert mk.build(contracts.small_schema(), spec).count_params() == (
        mk.build(
            contracts.small_schema(), towers={"image": {"kind": "conv", "filters": 8}}, fusion="attention", width=32
        ).count_params()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 3}, "build: unknown argument 'widht'; did you mean 'width'"),
        ({"width": 0}, "expected width to be a whole number above 0, received 0"),
        ({"width": 2.5}, "expected width to be a whole number above 0, received 2.5"),
        ({"towers": "conv"}, "expected towers to be a dict of name -> part, received 'conv'"),
        ({"towers": {"imag": "conv"}}, "ModelSpec.towers: unknown input 'imag'; did you mean 'image'"),
        ({"tasks": {"anwser": "softmax"}}, "ModelSpec.tasks: unknown target 'anwser'; did you mean 'answer'"),
        ({"towers": {"image": "convv"}}, "'image': unknown tower 'convv'; did you mean 'conv'"),
        ({"fusion": "concatenate"}, "unknown fusion 'concatenate'; did you mean 'concat'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        mk.build(contracts.small_schema(), **options)


def test_unfitted_schema_is_refused():
    schema = Schema({"question": Text(4)}, {"answer": Category()})
    with pytest.raises(
        InputError, match="build needs a fitted schema, but the vocabulary, classes or mean of 'question', 'answer' are"
    ):
        mk.build(schema)
    with pytest.raises(InputError, match=r"expected a Schema, received \{'question'"):
        mk.build({"question": Text(4)})
