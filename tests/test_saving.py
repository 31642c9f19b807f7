"""Saved models are loaded: by Keras after `import mmkeras`, and by mk.load with their schema and spec."""

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import contracts
import h5py
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras import saving
from mmkeras.errors import InputError

ROWS = 8
LEARNED = {"answer": {"kind": "softmax", "weight": "learned"}, "size": {"kind": "linear", "weight": "learned"}}


def small_schema(*targets):
    features = {
        "question": replace(contracts.FEATURES["question"], optional=True),
        "trace": contracts.FEATURES["trace"],
        "table": contracts.FEATURES["table"],
    }
    chosen = {"answer": contracts.EVERY_TARGET[0], "size": contracts.EVERY_TARGET[2]}
    return contracts.small_schema(features, **{name: chosen[name] for name in targets})


def learned():
    """Two targets whose loss weights are learned, a missing token, rates by part."""
    schema = small_schema("answer", "size")
    spec = mk.ModelSpec(width=8, tasks=LEARNED)
    model = mk.build(schema, spec)
    optimizer = mk.learning_rate_multipliers(keras.optimizers.AdamW(0.01), model, {"question": 0.1})
    model.compile(optimizer, **mk.compile_args(schema, LEARNED, model))
    return model, schema, spec


def regression():
    schema = small_schema("size")
    model = mk.build(schema, width=8)
    model.compile("adam", **mk.compile_args(schema))
    return model, schema, None


def frozen():
    """Word vectors that are not trained, all tokens of all inputs."""
    schema = small_schema("answer")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "words.txt").write_text("what 1 0 0\nis 0 1 0\n")
        words = {"kind": "lstm", "vectors": f"{folder}/words.txt", "train_vectors": False}
        model = mk.build(schema, towers={"question": words, "trace": "lstm"}, fusion="attention", width=8)
    model.compile("adam", **mk.compile_args(schema))
    return model, schema, None


def aligned(kind):
    schema = small_schema("answer")
    spec = mk.ModelSpec(width=8, align={"kind": kind, "dim": 4})
    model = mk.build(schema, spec)
    model.compile("adam", **mk.compile_args(schema))
    return model, schema, spec


MODELS = {
    **{"learned": learned, "regression": regression, "frozen": frozen},
    **{f"aligned-{kind}": lambda kind=kind: aligned(kind) for kind in ("contrastive", "adversarial", "misa")},
}


def truths(schema):
    numbers = {"answer": np.arange(ROWS) % 3, "size": 1000.0 + np.arange(ROWS)}
    return schema.fold({name: numbers[name] for name in schema.targets})


def outputs(model, x):
    return model.output_names, [np.asarray(value) for value in keras.tree.flatten(model(x))]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of `<name>.mmkeras`, `<name>.keras` and what the models answer; the models, by name."""
    folder, made = tmp_path_factory.mktemp("saved"), {}
    for name, make in MODELS.items():
        model, schema, spec = made[name] = make()
        x = contracts.samples(schema, ROWS)
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(7)
        mk.save(folder / f"{name}.mmkeras", model, schema, spec)
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.x.npz", **x)
        np.savez(folder / f"{name}.y.npz", *outputs(model, x)[1])
    return folder, made


LOAD = """
import sys
from pathlib import Path
import numpy as np
assert "mmkeras.model" not in sys.modules
for path in sorted(Path(sys.argv[1]).glob(sys.argv[2])):
    model = keras.models.load_model(path)
    assert model.compiled
    x, y = (np.load(path.with_suffix(suffix)) for suffix in (".x.npz", ".y.npz"))
    for new, old in zip(keras.tree.flatten(model(dict(x))), y.values(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-4, err_msg=path.name)
known = {name for name in keras.utils.get_custom_objects() if name.startswith("mmkeras>")}
assert len(known) > 20
"""
WALK = """
import pkgutil
for module in pkgutil.walk_packages(mmkeras.__path__, "mmkeras."):
    if "replay" not in module.name:
        __import__(module.name)
later = {name for name in keras.utils.get_custom_objects() if name.startswith("mmkeras>")} - known
assert not later, f"saved_classes.MODULES does not name the modules of {later}"
"""
THREADS = """
import mmkeras, threading
threads = [threading.Thread(target=__import__, args=["keras"]) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import keras
"""
ORDERS = {
    "mmkeras, then TensorFlow's keras": ("import mmkeras; import tensorflow as tf; keras = tf.keras", "*.keras", WALK),
    "mmkeras, then keras in threads": (THREADS, "learned.keras", ""),
    "a room of mmkeras first": ("import mmkeras.layers, keras", "regression.keras", ""),
}


def in_process(code, *arguments, jax=None):
    environment = contracts.jax_environment(jax) if jax else {**os.environ}
    root = os.path.dirname(os.path.dirname(mk.__file__))
    done = subprocess.run(
        [sys.executable, "-W", "error:mmkeras", "-c", code, *map(str, arguments)],
        env={**environment, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(("first", "models", "then"), ORDERS.values(), ids=list(ORDERS))
def test_keras_loads_models_after_import_mmkeras(first, models, then, saved):
    in_process(f"{first}{LOAD}{then}", saved[0], models)


JAX = """
import keras
import importlib, inspect, sys
import numpy as np
import mmkeras as mk
importlib.reload(keras)
assert inspect.getsource(keras)
keras.models.load_model(f"{sys.argv[1]}/frozen.keras")
model, schema, spec = mk.load(f"{sys.argv[1]}/learned.mmkeras")
assert "tensorflow" not in sys.modules
assert model.jit_compile and int(model.optimizer.iterations) == 7 and spec.width == 8
x, y = (dict(np.load(f"{sys.argv[1]}/learned.{part}.npz")) for part in "xy")
for new, old in zip(schema.targets, y.values()):
    np.testing.assert_allclose(model(x)[new], old, atol=1e-4)
weights = [layer.log_variance for layer in model.get_layer("body").layers if hasattr(layer, "log_variance")]
before = [float(weight) for weight in weights]
model.train_on_batch(x, {"answer": np.arange(8) % 3, "size": 1000.0 + np.arange(8)})
assert len(weights) == 2 and all(float(new) != old for new, old in zip(weights, before))
"""


def test_a_model_goes_from_tensorflow_to_jax(saved, tmp_path):
    """And Keras may have been imported first, and again."""
    pytest.importorskip("jax", reason="pip install jax")
    in_process(JAX, saved[0], jax=tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_all_is_there_again(name, saved):
    folder, made = saved
    old, schema, spec = made[name]
    model, again, spec_again = mk.load(folder / f"{name}.mmkeras")
    assert (again, spec_again) == (schema, spec)
    x = contracts.samples(schema, ROWS)
    for mine, theirs in zip(outputs(model, x), outputs(old, x), strict=True):
        np.testing.assert_equal(mine, theirs)
    for mine, theirs in zip(model.optimizer.variables, old.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_training_goes_on_as_if_nothing_had_been(tmp_path):
    """Moments, iterations, rates by part and learned loss weights: each step is the same afterwards."""
    model, schema, spec = learned()
    x, y = contracts.samples(schema, ROWS), truths(schema)
    fit = {"batch_size": ROWS // 2, "shuffle": False, "verbose": 0}
    model.fit(x, y, **fit)
    mk.save(tmp_path / "a.mmkeras", model, schema, spec)
    again = mk.load(str(tmp_path / "a.mmkeras"))[0]
    before = {weight.path: weight.numpy() for weight in again.weights}
    losses = [one.fit(x, y, epochs=2, **fit).history["loss"] for one in (model, again)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    moved = {path for path, value in before.items() if not np.array_equal(value, again_weight(again, path))}
    assert {path for path in before if path.endswith("log_variance")} <= moved


def again_weight(model, path):
    return next(weight.numpy() for weight in model.weights if weight.path == path)


def test_an_uncompiled_model_and_what_was_moved_into_it(tmp_path):
    schema = small_schema("answer")
    source, model = mk.build(schema, width=8), mk.build(schema, width=8)
    mk.transfer_weights(source, model, towers=["trace"], origin="traces of last year")
    mk.save(tmp_path / "any.name", model, schema)
    again, _, spec = mk.load(tmp_path / "any.name")
    assert not again.compiled
    assert spec is None
    assert mk.weight_history(again) == mk.weight_history(model) != []
    mk.save(tmp_path / "twice", again, schema)
    assert mk.weight_history(mk.load(tmp_path / "twice")[0]) == mk.weight_history(model)


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):
    """Of the user, registered here."""

    def call(self, x):
        return x


def with_layer(layer):
    schema = contracts.small_schema({"trace": contracts.FEATURES["trace"]})
    model = mk.build(schema, width=8)
    return keras.Model(model.inputs, layer(model.output)), schema


def test_what_cannot_be_saved(tmp_path):
    model, schema, _ = regression()
    path = tmp_path / "a.mmkeras"
    with pytest.raises(InputError, match=r"save: expected model to be a keras.Model, received 'b'"):
        mk.save(path, "b", schema)
    with pytest.raises(InputError, match="save: expected a Schema"):
        mk.save(path, model, None)
    with pytest.raises(InputError, match=r"save: expected spec to be a ModelSpec, received \{\}"):
        mk.save(path, model, schema, {})
    with pytest.raises(InputError, match="save: expected a path, received 1"):
        mk.save(1, model, schema)
    with pytest.raises(InputError, match="save needs a fitted schema"):
        mk.save(path, model, mk.Schema(schema.inputs, {"size": mk.Number()}))
    with pytest.raises(InputError, match="save: expected a model with the schema's inputs"):
        mk.save(path, model, contracts.small_schema())
    with pytest.raises(InputError, match="expected parts by name"):
        mk.save(path, model, schema, mk.ModelSpec(fusion=lambda: None))
    with pytest.raises(InputError, match="save: expected a model without code in it, received one with '__lambda__'"):
        mk.save(path, *with_layer(keras.layers.Lambda(lambda x: x, output_shape=(3,))))
    with pytest.raises(InputError, match=r"save: cannot write '.*none/a': No such file"):
        mk.save(tmp_path / "none" / "a", model, schema)
    assert os.listdir(tmp_path) == []


def test_an_unfinished_file_leaves_the_old_one(tmp_path, monkeypatch):
    model, schema, _ = regression()
    mk.save(tmp_path / "a", model, schema)
    old = (tmp_path / "a").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(InputError, match=r"cannot write '.*a': No space left on device"):
        mk.save(tmp_path / "a", model, schema)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == old


def zipped(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return path


@pytest.fixture
def parts(saved):
    """The parts of a file of mk.save, to be written otherwise."""
    with zipfile.ZipFile(saved[0] / "regression.mmkeras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema.json": None}, "received another zip, of 'format.json', 'model.keras'"),
        ({"../evil": b""}, r"received another zip, of '\.\./evil'"),
        ({"config.json": b"", "metadata.json": b""}, "a model of Keras: keras.models.load_model reads it"),
        ({"format.json": b"{}"}, "expected the format of a file of mk.save, received {}"),
        ({"format.json": b"\xff"}, r"format\.json: expected UTF-8"),
        ({"format.json": b"["}, r"format\.json: expected JSON"),
        ({"format.json": b"[" * 100000}, r"format\.json: expected JSON"),
        ({"format.json": b'{"format": 2, "mmkeras": "9.0"}'}, "received 2, of mmkeras 9.0: this is mmkeras"),
        ({"schema.json": b"{}"}, "Schema: expected the JSON of a schema"),
        ({"model.keras": b"no model"}, r"model\.keras: expected a model of Keras, received something else"),
        ({"spec.json": b'{"fusoin": 1}'}, "ModelSpec: unknown argument 'fusoin'; did you mean 'fusion'"),
        ({"weight_history.json": b"x"}, r"weight_history\.json: expected JSON"),
    ],
)
def test_another_file_is_refused(tmp_path, parts, change, message):
    new = {name: content for name, content in {**parts, **change}.items() if content is not None}
    with pytest.raises(InputError, match=message):
        mk.load(zipped(tmp_path / "a", new.items()))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_zip_allows_and_we_do_not(tmp_path, parts, monkeypatch):
    twice = [*parts.items(), ("schema.json", parts["schema.json"])]
    with pytest.raises(InputError, match=r"expected each part once, received 'schema\.json' twice"):
        mk.load(zipped(tmp_path / "a", twice))
    with pytest.raises(InputError, match="expected it as it is, received it compressed"):
        mk.load(zipped(tmp_path / "a", parts.items(), zipfile.ZIP_DEFLATED))
    linked = [(link("schema.json"), b"/etc/passwd"), *((n, c) for n, c in parts.items() if n != "schema.json")]
    with pytest.raises(InputError, match=r"'schema\.json': expected a plain file, received a link"):
        mk.load(zipped(tmp_path / "a", linked))
    monkeypatch.setattr(saving, "LONGEST", 10)
    with pytest.raises(InputError, match=r"\.json: expected at most 10 bytes"):
        mk.load(zipped(tmp_path / "a", parts.items()))


def inner(parts, *more, compression=zipfile.ZIP_STORED, config=lambda text: text):
    """The parts with another model.keras."""
    with zipfile.ZipFile(io.BytesIO(parts["model.keras"])) as archive:
        own = {name: archive.read(name) for name in archive.namelist()}
    own["config.json"] = config(own["config.json"].decode()).encode()
    file = io.BytesIO()
    zipped(file, [*own.items(), *more], compression)
    return {**parts, "model.keras": file.getvalue()}.items()


def test_a_model_that_keras_would_take_and_we_do_not(tmp_path, parts):
    path = tmp_path / "a"
    with pytest.raises(InputError, match=r"model\.keras: '.*json': expected it as it is, received it compressed"):
        mk.load(zipped(path, inner(parts, compression=zipfile.ZIP_DEFLATED)))
    with pytest.raises(InputError, match=r"expected parts inside the file, received 'assets/\.\./\.\./evil'"):
        mk.load(zipped(path, inner(parts, ("assets/../../evil", b""))))
    code = json.dumps({"class_name": "__lambda__", "config": {}})
    with pytest.raises(InputError, match="expected a model without code in it"):
        mk.load(zipped(path, inner(parts, config=lambda text: f'{{"x": {code}, {text[1:]}')))
    with pytest.raises(InputError, match=r"model\.keras: expected a model of Keras, received another zip"):
        mk.load(zipped(path, {**parts, "model.keras": zipped(tmp_path / "b", [("a", b"")]).read_bytes()}.items()))
    with pytest.raises(InputError, match=r"Keras cannot load the model: .*registered"):
        mk.load(zipped(path, inner(parts, config=lambda text: text.replace("mmkeras>", "theirs>"))))


def test_files_that_are_none(tmp_path, saved):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        mk.load(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        mk.load(tmp_path)
    with pytest.raises(InputError, match="load: expected a path, received None"):
        mk.load(None)
    with pytest.raises(InputError, match=r"received a model of Keras: keras\.models\.load_model reads it"):
        mk.load(saved[0] / "regression.keras")


def test_no_damage_gets_by(tmp_path, saved, monkeypatch):
    """Every kind of cut and thousands of flipped bytes: refused as bad input, or read as it was written."""
    monkeypatch.setattr(saving, "_model", lambda path, where: path.read_bytes())
    monkeypatch.setattr(saving, "_check_belongs", lambda *_: None)
    whole = (saved[0] / "regression.mmkeras").read_bytes()
    random, path = np.random.default_rng(0), tmp_path / "a"
    directory = whole.rindex(b"PK\x01\x02") - 400
    places = [*random.integers(0, len(whole), 300), *random.integers(directory, len(whole), 700)]
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        model = archive.read("model.keras")
    for number, place in enumerate(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(whole[:place] if number % 5 == 0 else flipped)
        try:
            read = saving.load(path)
        except InputError:
            continue
        except AttributeError:  # as far as the model, which is only bytes here
            read = None
        assert read is None or read[0] == model


def test_classes_that_are_not_registered_here(tmp_path, monkeypatch):
    model, schema = with_layer(Own())
    mk.save(tmp_path / "a", model, schema)
    assert isinstance(mk.load(tmp_path / "a")[0].layers[-1], Own)
    monkeypatch.delitem(keras.saving.get_custom_objects(), "tests>Own")
    with pytest.raises(InputError, match=r"Keras cannot load the model: .*a layer of your own is registered, by"):
        mk.load(tmp_path / "a")


def test_a_kind_that_is_not_registered_here(tmp_path, parts):
    new = {**parts, "schema.json": parts["schema.json"].replace(b'"Series"', b'"PointCloud"')}
    with pytest.raises(InputError, match=r"unknown kind 'PointCloud'.*a kind of your own is registered, as by"):
        mk.load(zipped(tmp_path / "a", new.items()))


def test_a_schema_that_is_not_the_models_is_refused(tmp_path):
    schema = small_schema("answer")
    model = mk.build(schema, width=8)
    other = mk.Schema(schema.inputs, {"answer": mk.Category(["a", "b", "c", "d", "e", "f", "g"])})
    with pytest.raises(InputError, match=r"save: expected the output \(batch, 7\) for 'answer'"):
        mk.save(tmp_path / "a.mmkeras", model, other)
    with pytest.raises(InputError, match="save: expected another ending than that of Keras' own files"):
        mk.save(tmp_path / "a.keras", model, schema)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.create_dataset("a", (2**32,), "f4", chunks=(2**20,), compression="gzip"), "17,179,869,184"),
        (lambda file: file.create_dataset("a", data=np.zeros(10**6, "f4"), compression="gzip"), "4,000,000 bytes of"),
        (lambda file: file.create_dataset("a", (10,), "f4", external=[("/etc/hostname", 0, 40)]), "expected an array"),
        (lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/other.h5", "/a")), "a link to another place: 'x'"),
    ],
)
def test_weights_that_are_not_in_their_file_are_refused(tmp_path, make, said):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        make(file)
    with open(tmp_path / "w.h5", "rb") as file, pytest.raises(InputError, match=said):
        saving._check_weights(file, os.path.getsize(tmp_path / "w.h5"), "load: ")


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
def test_what_is_no_path_is_refused(path):
    for function in (mk.load, mk.Schema.load, mk.read_shards):
        with pytest.raises(InputError, match=r"expected a path, received"):
            function(path)
