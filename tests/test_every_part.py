"""Laws that cost a process or a graph each: all towers share one model, and all fusions. JAX, SavedModel, bfloat16."""

import subprocess
import sys

import contracts
import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.fusion import FUSIONS, fuse
from mmkeras.layers import Tokens

ROWS = 16


def every_tower():
    """A model of every tower on everything that it reads, all inputs optional, and what it is fed."""
    kinds = {f"{name}_{kind}": (kind, name) for kind, name in contracts.READS}
    schema = contracts.small_schema(
        contracts.optional({key: contracts.FEATURES[name] for key, (_, name) in kinds.items()})
    )
    towers = {key: contracts.choice(kind, "all") for key, (kind, _) in kinds.items()}
    keras.utils.set_random_seed(0)
    return mk.build(schema, towers=towers, width=8), contracts.samples(schema, ROWS)


def every_fusion():
    """A model of every fusion on the same tokens of three modalities, and what it is fed."""
    tokens = contracts.some_tokens()
    inputs = {}
    for name, (values, mask) in tokens.items():
        given = keras.Input(values.shape[1:], name=name)
        inputs[name] = Tokens(
            given, None if mask is None else keras.Input(mask.shape[1:], dtype="bool", name=f"{name}_there")
        )
    keras.utils.set_random_seed(0)
    fused = [vector for kind in FUSIONS for vector in keras.tree.flatten(fuse(inputs, kind, width=8))]
    output = keras.layers.Dense(3, activation="softmax", name="answer")(keras.layers.Concatenate()(fused))
    model = keras.Model(contracts.flat(inputs), output)
    return model, {x.name: value for x, value in zip(model.inputs, contracts.flat(tokens), strict=True)}


@pytest.fixture(scope="module", params=[every_tower, every_fusion])
def made(request):
    model, x = request.param()
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    return model, x


def truth(x):
    return np.arange(len(next(iter(x.values())))) % 3


JAX = """
import sys
import keras, numpy as np
import mmkeras.layers
assert keras.backend.backend() == "jax"
model = keras.models.load_model(sys.argv[1])
x, answers = dict(np.load(sys.argv[2])), np.load(sys.argv[3])
y = np.arange(len(answers["before"])) % 3
np.testing.assert_allclose(model.predict(x, verbose=0), answers["before"], atol=1e-4)
model.train_on_batch(x, y)
np.testing.assert_allclose(model.predict(x, verbose=0), answers["after"], atol=2e-3)
assert "tensorflow" not in sys.modules
"""


def test_one_step_on_jax_is_the_step_on_tensorflow(made, tmp_path):
    """In a fresh process: the same answers before and after a step of gradient descent."""
    pytest.importorskip("jax", reason="pip install jax")
    model, x = made
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **x)
    before = model.predict(x, verbose=0)
    model.train_on_batch(x, truth(x))
    after = model.predict(x, verbose=0)
    assert np.abs(after - before).max() > 1e-2, "expected a step that can be seen"
    np.savez(tmp_path / "answers.npz", before=before, after=after)
    files = [str(tmp_path / name) for name in ("model.keras", "x.npz", "answers.npz")]
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", JAX, *files], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_saved_model_is_equal(made, tmp_path):
    model, x = made
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    served = loaded.serve([tf.constant(x[tensor.name]) for tensor in model.inputs])
    np.testing.assert_allclose(served, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("made_anew", [every_tower, every_fusion])
def test_mixed_bfloat16_trains(made_anew):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x = made_anew()
        model.compile("adam", "sparse_categorical_crossentropy")
        losses = [model.train_on_batch(x, truth(x)) for _ in range(2)]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    for layer in model.layers:
        assert layer.name == "answer" or layer.compute_dtype in ("bfloat16", "float32"), layer.name


def test_absent_values_reach_no_answer():
    """Behind every tower the absent token stands, whatever the input holds, and in training no gradient passes."""
    model, x = every_tower()
    absent = {name: np.zeros_like(value) if name.endswith("_present") else value for name, value in x.items()}
    other = {name: np.ones_like(value) if value.dtype != bool else value for name, value in absent.items()}
    np.testing.assert_array_equal(model.predict(other, verbose=0), model.predict(absent, verbose=0))
    towers = {layer.name: layer.get_weights() for layer in model.layers if layer.name.endswith("_tower")}
    tokens = {layer.name: layer.get_weights()[0] for layer in model.layers if layer.name.endswith("_absent")}
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(absent, truth(absent))
    for name, weights in towers.items():
        for new, old in zip(model.get_layer(name).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(new, old, err_msg=name)
    for name, token in tokens.items():
        assert not np.array_equal(model.get_layer(name).get_weights()[0], token), name
