"""Laws of every tower, fusion, head and alignment that cost a graph or a process: SavedModel, JAX, the missing token.

A part stands in a small model of its own, a tower in one for each kind of input that it reads.
"""

import inspect
import json
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
from mmkeras.tasks import TASKS
from mmkeras.towers import TOWERS

ROWS = 16


def tower_model(part):
    """A model of one tower, whose input is optional, and what it is fed."""
    kind, name = part.split("-")
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
    fused = fuse(inputs, kind, width=8)
    x = keras.layers.Concatenate()(list(fused.decisions.values())) if fused.decisions else fused.vector
    model = keras.Model(contracts.flat(inputs), keras.layers.Dense(3, activation="softmax", name="answer")(x))
    return model, dict(zip(("image", "text", "text_there"), contracts.flat(tokens), strict=True))


def optional_model(fusion):
    """A model of a fusion of two inputs, both of them optional, and what it is fed."""
    names = {"question": {"kind": "bag", "word_dropout": 0.0}, "trace": {"kind": "conv1d", "filters": 4}}
    schema = contracts.small_schema(contracts.optional({name: contracts.FEATURES[name] for name in names}))
    return mk.build(schema, towers=names, fusion=fusion, width=8), contracts.samples(schema, ROWS)


def head_model(kind):
    """A model of one head, and what it is fed."""
    model = contracts.head_model(kind, contracts.TARGETS[kind])
    return model, {"vector": np.random.default_rng(0).normal(size=(ROWS, contracts.WIDTH)).astype("float32")}


def alignment_model(kind):
    """A model of two inputs, one of them optional, with a shared space beside its head, and what it is fed."""
    names = {"question": {"kind": "bag", "word_dropout": 0.0}, "trace": {"kind": "conv1d", "filters": 4}}
    features = {name: contracts.FEATURES[name] for name in names}
    schema = contracts.small_schema({**features, **contracts.optional({"trace": features["trace"]})})
    return mk.build(schema, towers=names, width=8, align={"kind": kind, "dim": 4}), contracts.samples(schema, ROWS, 3)


MAKE = {
    "towers": (tower_model, ["-".join(pair) for pair in contracts.READS]),
    "fusions": (fusion_model, [*FUSIONS]),
    "tasks": (head_model, [*TASKS]),
    "alignments": (alignment_model, [*ALIGNMENTS]),
}
EVERY = [pytest.param(make, kind, id=f"{family}-{kind}") for family, (make, kinds) in MAKE.items() for kind in kinds]


def truth_and_loss(kind, x):
    """Truths for the rows, and the loss by which the part learns them: a head's own, with its options."""
    numbers = np.arange(len(next(iter(x.values())))) % 3
    target = contracts.TARGETS.get(kind)
    options = {"focal": 2.0, "label_smoothing": 0.1} if kind in ("softmax", "sigmoid") else {}
    loss = TASKS[kind].loss(target, **options) if target else keras.losses.SparseCategoricalCrossentropy()
    if isinstance(target, mk.Labels):
        return np.eye(3, dtype="float32")[numbers], loss
    return (numbers * 20.0 if isinstance(target, mk.Number) else numbers), loss


@pytest.mark.parametrize(("make", "kind"), EVERY)
def test_saved_model_is_equal(make, kind, tmp_path):
    model, x = make(kind)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    served = loaded.serve([tf.constant(x[tensor.name]) for tensor in model.inputs])
    np.testing.assert_allclose(served, contracts.outputs(model, x)[0], atol=1e-5)


JAX = """
import json, sys
from pathlib import Path
import keras, numpy as np
import mmkeras.model
assert keras.backend.backend() == "jax"
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = keras.models.load_model(folder / "model.keras", compile=False)
    # compiled here: one that was compiled on TensorFlow keeps jit_compile=False, and JAX runs it op by op
    loss = keras.losses.deserialize(json.loads((folder / "loss.json").read_text()))
    model.compile(keras.optimizers.SGD(0.5), loss)
    assert model.jit_compile
    x, expected = dict(np.load(folder / "x.npz")), np.load(folder / "expected.npz")
    loss = model.train_on_batch(x, expected["truth"])  # one function to compile, no other
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
        truth, loss = truth_and_loss(kind, x)
        (folder / "loss.json").write_text(json.dumps(keras.losses.serialize(loss)))
        model.save(folder / "model.keras")
        np.savez(folder / "x.npz", **x)
        before = model.get_weights()
        model.compile(keras.optimizers.SGD(0.5), loss, run_eagerly=True)
        loss = model.train_on_batch(x, truth)
        moved = [np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True)]
        assert max(moved) > 1e-2, f"expected a step of {kind} that can be seen"
        after = {weight.path: weight.numpy() for weight in model.trainable_weights}
        np.savez(folder / "expected.npz", truth=truth, loss=loss, **after)
    command = [sys.executable, "-c", JAX, str(tmp_path / "parts")]
    done = subprocess.run(command, env=contracts.jax_environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


MISSING = [(tower_model, kind) for kind in MAKE["towers"][1]] + [(optional_model, kind) for kind in FUSIONS]


@pytest.mark.parametrize(("make", "kind"), MISSING, ids=[kind for _, kind in MISSING])
def test_what_is_absent_reaches_no_answer_and_no_weight(make, kind):
    """Behind every tower, and before every fusion, the missing token stands in its place.

    Whatever the input holds changes no answer; in training no gradient passes to the tower, and the token learns.
    """
    model, x = make(kind)
    names = [name.removesuffix("_present") for name in x if name.endswith("_present")]
    for name in names:
        missing = {**x, f"{name}_present": np.zeros(ROWS, bool)}
        own = [key for key in (name, f"{name}_length") if key in x]
        other = {**missing, **{key: np.ones_like(x[key]) for key in own}}
        np.testing.assert_array_equal(contracts.outputs(model, other), contracts.outputs(model, missing))
        tower, token = (model.get_layer(f"{name}_{part}") for part in ("tower", "missing"))
        before = tower.trainable_weights, [w.numpy() for w in tower.trainable_weights], token.get_weights()[0]
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
        model.train_on_batch(missing, truth_and_loss("", x)[0])
        for weight, old in zip(*before[:2], strict=True):
            np.testing.assert_array_equal(weight.numpy(), old, err_msg=weight.path)
        assert not np.array_equal(token.get_weights()[0], before[2])
