"""Laws of every tower, fusion and alignment that cost a graph or a process: SavedModel, JAX, the absent token.

A part stands in a small model of its own, a tower with the first kind of input that it reads.
"""

import inspect
import subprocess
import sys

import contracts
import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.alignment import ALIGNMENTS
from mmkeras.fusion import FUSIONS, fuse
from mmkeras.layers import Tokens
from mmkeras.towers import TOWERS

ROWS = 16
READS = {kind: next(name for other, name in contracts.READS if other == kind) for kind in TOWERS}


def tower_model(kind):
    """A model of one tower, whose input is optional, and what it is fed."""
    name = READS[kind]
    still = {option: 0.0 for option in inspect.signature(TOWERS[kind]).parameters if option.endswith("dropout")}
    if kind == "mobile":
        still["trainable"] = False  # the gradient of keras.applications' 150 layers alone takes JAX a minute to compile
    schema = contracts.small_schema(contracts.optional({name: contracts.FEATURES[name]}))
    model = mk.build(schema, towers={name: contracts.choice(kind, "all", **still)}, width=8)
    return model, contracts.samples(schema, ROWS)


def fusion_model(kind):
    """A model of one fusion of a modality with a mask and one without, and what it is fed."""
    tokens = contracts.some_tokens()
    tokens = {name: tokens[name] for name in ("image", "text")}
    inputs = {
        "image": Tokens(keras.Input(tokens["image"].values.shape[1:], name="image")),
        "text": Tokens(
            keras.Input(tokens["text"].values.shape[1:], name="text"),
            keras.Input(tokens["text"].mask.shape[1:], dtype="bool", name="text_there"),
        ),
    }
    fused = keras.tree.flatten(fuse(inputs, kind, width=8))
    x = keras.layers.Concatenate()(fused) if len(fused) > 1 else fused[0]
    model = keras.Model(contracts.flat(inputs), keras.layers.Dense(3, activation="softmax", name="answer")(x))
    return model, dict(zip(("image", "text", "text_there"), contracts.flat(tokens), strict=True))


def alignment_model(kind):
    """A model of two inputs, one of them optional, with a shared space beside its head, and what it is fed."""
    names = {"question": {"kind": "bag", "word_dropout": 0.0}, "trace": {"kind": "conv1d", "filters": 4}}
    features = {name: contracts.FEATURES[name] for name in names}
    schema = contracts.small_schema({**features, **contracts.optional({"trace": features["trace"]})})
    return mk.build(schema, towers=names, width=8, align={"kind": kind, "space": 4}), contracts.samples(schema, ROWS)


MAKE = {
    "towers": (tower_model, TOWERS),
    "fusions": (fusion_model, FUSIONS),
    "alignments": (alignment_model, ALIGNMENTS),
}
EVERY = [pytest.param(make, kind, id=f"{kind}") for make, kinds in MAKE.values() for kind in kinds]


def truth(x):
    return np.arange(len(next(iter(x.values())))) % 3


@pytest.mark.parametrize(("make", "kind"), EVERY)
def test_saved_model_is_equal(make, kind, tmp_path):
    model, x = make(kind)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    served = loaded.serve([tf.constant(x[tensor.name]) for tensor in model.inputs])
    np.testing.assert_allclose(served, contracts.outputs(model, x)[0], atol=1e-5)


JAX = """
import sys
from pathlib import Path
import keras, numpy as np
import mmkeras.layers
assert keras.backend.backend() == "jax"
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = keras.models.load_model(folder / "model.keras", compile=False)
    # compiled here: one that was compiled on TensorFlow keeps jit_compile=False, and JAX runs it op by op
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
    assert model.jit_compile
    x, expected = dict(np.load(folder / "x.npz")), np.load(folder / "expected.npz")
    loss = model.train_on_batch(x, np.arange(len(next(iter(x.values())))) % 3)  # one function to compile, no other
    np.testing.assert_allclose(loss, expected["loss"], rtol=1e-4, err_msg=folder.name)
    for weight in model.trainable_weights:
        np.testing.assert_allclose(weight, expected[weight.path], atol=5e-4, err_msg=f"{folder.name} {weight.path}")
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("family", sorted(MAKE))
def test_one_step_on_jax_is_the_step_on_tensorflow(family, tmp_path):
    """In a fresh process: the same loss, and after a step of gradient descent the same weights."""
    pytest.importorskip("jax", reason="pip install jax")
    make, kinds = MAKE[family]
    for kind in kinds:
        folder = tmp_path / "parts" / kind
        folder.mkdir(parents=True)
        keras.utils.set_random_seed(0)
        model, x = make(kind)
        model.save(folder / "model.keras")
        np.savez(folder / "x.npz", **x)
        before = model.get_weights()
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", run_eagerly=True)
        loss = model.train_on_batch(x, truth(x))
        moved = [np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True)]
        assert max(moved) > 1e-2, f"expected a step of {kind} that can be seen"
        np.savez(folder / "expected.npz", loss=loss, **{w.path: w.numpy() for w in model.trainable_weights})
    command = [sys.executable, "-c", JAX, str(tmp_path / "parts")]
    done = subprocess.run(command, env=contracts.jax_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("kind", TOWERS)
def test_what_is_absent_reaches_no_answer_and_no_weight(kind):
    """Behind every tower the absent token stands, whatever the input holds, and in training no gradient passes."""
    model, x = tower_model(kind)
    absent = {name: np.zeros_like(value) if name.endswith("_present") else value for name, value in x.items()}
    other = {name: np.ones_like(value) if value.dtype != bool else value for name, value in absent.items()}
    np.testing.assert_array_equal(contracts.outputs(model, other), contracts.outputs(model, absent))
    tower, token = (model.get_layer(f"{READS[kind]}_{part}") for part in ("tower", "absent"))
    before = tower.trainable_weights, [w.numpy() for w in tower.trainable_weights], token.get_weights()[0]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(absent, truth(absent))
    for weight, old in zip(*before[:2], strict=True):
        np.testing.assert_array_equal(weight.numpy(), old, err_msg=weight.path)
    assert not np.array_equal(token.get_weights()[0], before[2])
