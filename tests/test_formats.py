import importlib.util
import json
from dataclasses import replace

import contracts
import keras
import numpy as np
import pytest
from keras import ops

import mmkeras as mk
from mmkeras.bundle import formats
from mmkeras.bundle.formats import FORMATS, export_as
from mmkeras.errors import InputError
from mmkeras.schema import Audio, Category, Image, Labels, Number, Schema, Series, Text
from mmkeras.tasks import tasks_of


def lacks(name):
    return [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]


EVERY = [
    pytest.param(name, marks=pytest.mark.skipif(bool(lacks(name)), reason=f'pip install "mmkeras[{name}]"'))
    for name in FORMATS
]


def varied(model):
    """The model with weights that make rows differ: fresh ones answer nearly the same to all."""
    random = np.random.default_rng(0)
    model.set_weights([w + random.normal(scale=0.2, size=w.shape).astype(w.dtype) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def three():
    """A model with a convolution, a loop, a spectrogram, a missing input and three kinds of target."""
    inputs = {
        "image": Image(8, 8, 1),
        "question": Text(5, vocabulary=["what", "is", "the", "sum"]),
        "audio": Audio(4000, 0.1, optional=True),
    }
    targets = {
        "answer": Category(classes=["no", "yes", "both"]),
        "tags": Labels(classes=["a", "b"]),
        "size": Number(mean=500, std=100),
    }
    schema = Schema(inputs, targets)
    towers = {"image": "conv", "question": "lstm", "audio": {"kind": "spectrogram", "mels": 16}}
    return varied(mk.build(schema, towers=towers, fusion="concat", width=8)), schema


@pytest.fixture(scope="module", params=EVERY)
def exported(request, three, tmp_path_factory):
    return request.param, export_as(*three, tmp_path_factory.mktemp("models") / "three", request.param)


def run_litert(path, values):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(str(path)).get_signature_runner()(**values)


def run_onnx(path, values):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, values), strict=True))


RUN = {"litert": run_litert, "onnx": run_onnx}


@pytest.mark.parametrize("rows", [1, 7])
def test_the_runtime_answers_as_keras_does(exported, three, rows):
    (name, version), (model, schema) = exported, three
    values = contracts.samples(schema, rows)
    expected = {target: ops.convert_to_numpy(answer) for target, answer in model(values, training=False).items()}
    answers = RUN[name](version / FORMATS[name].file, values)
    decoded = {f"{target}_{part}" for target in ("answer", "tags") for part in ("label", "top_labels", "top_scores")}
    assert answers.keys() == expected.keys() | decoded | {"answer_score"}
    np.testing.assert_array_equal(answers["answer_label"], answers["answer"].argmax(axis=1))
    np.testing.assert_array_equal(answers["answer_score"], answers["answer"].max(axis=1))
    np.testing.assert_array_equal(answers["tags_label"], answers["tags"] > 0.5)
    for target, answer in expected.items():
        np.testing.assert_allclose(answers[target], answer, atol=1e-5, rtol=1e-5)
        assert rows == 1 or np.ptp(answer, axis=0).max() > 1e-2, "rows that are answered alike prove little"


def test_what_is_absent_changes_nothing(exported, three):
    (name, version), (_, schema) = exported, three
    values = contracts.samples(schema, 3)
    values["audio_present"][:] = False
    other = {**values, "audio": np.ones_like(values["audio"])}
    one, two = (RUN[name](version / FORMATS[name].file, given)["answer"] for given in (values, other))
    np.testing.assert_array_equal(one, two)


def test_what_lies_in_a_version(exported, three):
    (name, version), (model, schema) = exported, three
    assert version.name == "1"
    expected = ["SHA256SUMS", "labels.json", FORMATS[name].file, "schema.json"]
    assert sorted(path.name for path in version.iterdir()) == expected
    assert json.loads((version / "labels.json").read_text()) == {"answer": ["no", "yes", "both"], "tags": ["a", "b"]}
    assert mk.Schema.load(version / "schema.json") == schema
    assert not any(layer.unroll for layer in formats._layers(model) if isinstance(layer, keras.layers.RNN))


@pytest.mark.parametrize("name", EVERY[-1:])
def test_what_tf2onnx_lacks(name, tmp_path):
    """Exact GELU, and constants that a function has captured, few numbers and many."""
    keras.utils.set_random_seed(0)
    trace = Series(4, 130, means=[0] * 130, std=[1] * 130)
    schema = Schema({"trace": trace}, {"grade": Category(classes=["x", "y"])})
    x, length = keras.Input((4, 130), name="trace"), keras.Input((), dtype="int32", name="trace_length")
    there = ops.cast(ops.less(ops.arange(4), length[:, None]), "float32")
    y = keras.layers.Normalization(mean=np.arange(130), variance=np.full(130, 4.0))(x)
    y = keras.layers.Dense(3, activation="gelu")(y) * there[..., None]
    model = keras.Model([x, length], keras.layers.Dense(2, name="grade")(keras.layers.Flatten()(y)))
    version = export_as(model, schema, tmp_path, name)
    values = contracts.samples(schema, 4)
    answers = RUN[name](version / FORMATS[name].file, values)
    np.testing.assert_allclose(answers["grade"], model(values, training=False), rtol=1e-4, atol=1e-4)


@keras.saving.register_keras_serializable(package="test_formats")
class Singular(keras.layers.Layer):
    """Nothing that a runtime for phones has an op for."""

    def call(self, x):
        return ops.svd(ops.expand_dims(x, 1), compute_uv=False)


@pytest.fixture
def small():
    schema = Schema({"word": Text(2, vocabulary=["a", "b"])}, {"answer": Category(classes=["x", "y"])})
    return mk.build(schema, towers={"word": "bag"}, width=4), schema


@pytest.mark.parametrize("name", EVERY)
def test_an_op_that_the_format_lacks(name, small, tmp_path):
    model, schema = small
    tower = model.get_layer("word_tower")
    odd = keras.Model(tower.input, Singular(name="word_singular")(tower.output[:, 0]), name="word_tower")
    x = keras.Input((2,), dtype="int32", name="word")
    model = keras.Model([x], keras.layers.Dense(2, name="answer")(odd(x)))
    with pytest.raises(InputError, match=f"{FORMATS[name].title} has no op for 'Svd' in word_tower/word_singular$"):
        export_as(model, schema, tmp_path / "odd", name)
    assert list((tmp_path / "odd").iterdir()) == []


def instead(monkeypatch, name, convert, packages=()):
    monkeypatch.setitem(FORMATS, name, replace(FORMATS[name], convert=convert, packages=packages))


@pytest.mark.parametrize("name", EVERY)
def test_a_file_that_cannot_be_loaded(name, small, tmp_path, monkeypatch):
    instead(monkeypatch, name, lambda model, path: path.write_bytes(b"no model"))
    with pytest.raises(InputError, match=f"the runtime of {FORMATS[name].title} cannot load or run the model: .+"):
        export_as(*small, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [0.25, np.nan])
def test_answers_that_differ(small, tmp_path, monkeypatch, wrong):
    model, schema = small
    instead(monkeypatch, "onnx", lambda model, path: path.touch())

    named = formats._named(model, schema, tasks_of(model, schema))

    def ask(kind, path, values):
        answers = {n: ops.convert_to_numpy(value) for n, value in named([values["word"]], training=False).items()}
        return answers | {"answer": answers["answer"] + (wrong if len(values["word"]) == 1 else 0)}

    monkeypatch.setattr(formats, "_ask", ask)
    words = rf"to 'answer' differ from those of Keras by up to {wrong} in 1 made-up rows; allowed are 0.0001"
    with pytest.raises(InputError, match=f"answers of ONNX {words}"):
        export_as(model, schema, tmp_path, "onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_decoded_otherwise(small, tmp_path, monkeypatch):
    model, schema = small
    instead(monkeypatch, "onnx", lambda model, path: path.touch())
    named = formats._named(model, schema, tasks_of(model, schema))

    def ask(kind, path, values):
        answers = {n: ops.convert_to_numpy(value) for n, value in named([values["word"]], training=False).items()}
        return answers | {"answer_label": 1 - answers["answer_label"]}

    monkeypatch.setattr(formats, "_ask", ask)
    with pytest.raises(InputError, match=r"ONNX decodes 'answer_label' otherwise: expected \[\d \d \d\], received \["):
        export_as(model, schema, tmp_path, "onnx")


def test_an_answer_that_is_missing(small, tmp_path, monkeypatch):
    instead(monkeypatch, "onnx", lambda model, path: path.touch())
    monkeypatch.setattr(formats, "_ask", lambda *given: {"output_0": np.zeros((3, 2))})
    with pytest.raises(InputError, match=r"expected 'answer' \(3, 2\) of ONNX, received {'output_0': \(3, 2\)}"):
        export_as(*small, tmp_path, "onnx")


def test_a_converter_that_fails(small, tmp_path, monkeypatch):
    def fail(model, path):
        raise TypeError("unhashable\nand a page of frames")

    instead(monkeypatch, "onnx", fail)
    with pytest.raises(InputError, match=r"Keras cannot convert the model to ONNX: TypeError: unhashable$"):
        export_as(*small, tmp_path, "onnx")


def test_a_package_that_is_missing(small, tmp_path, monkeypatch):
    instead(monkeypatch, "onnx", None, packages=("json", "no_such_package"))
    with pytest.raises(InputError, match=r'ONNX needs no_such_package: pip install "mmkeras\[onnx\]"'):
        export_as(*small, tmp_path, "onnx")


def test_mixed_precision(small, tmp_path, monkeypatch):
    model, schema = small
    instead(monkeypatch, "onnx", None)
    model.get_layer("word_tower").layers[-1].dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    with pytest.raises(InputError, match="ONNX needs a model that computes in float32, received bfloat16 in 'word_"):
        export_as(model, schema, tmp_path, "onnx")


def test_a_format_that_is_unknown(small, tmp_path):
    with pytest.raises(InputError, match="export: unknown format 'onyx'; did you mean 'onnx'"):
        export_as(*small, tmp_path, "onyx")


def test_a_folder_that_is_served(small, tmp_path, monkeypatch):
    instead(monkeypatch, "litert", None)
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").touch()
    with pytest.raises(InputError, match=r"folder without SavedModels for LiteRT.*reads '3' in it"):
        export_as(*small, tmp_path, "litert")


def test_made_up_values_are_what_the_models_take():
    schema = contracts.small_schema(contracts.optional())
    made = formats._made_up(schema)
    given = {name: (value.shape[1:], value.dtype.name) for name, value in made.items()}
    assert given == {name: (tuple(shape), dtype) for name, (shape, dtype) in schema.model_inputs.items()}
    assert list(made["trace_present"]) == [True, True, False]
    assert made["trace_length"][0] == 20
    assert made["trace_length"][2] == 0
    assert not made["trace"][2].any()
