"""Laws that every tower, fusion and head obeys, as plain functions; the tests apply them to all that is registered."""

import inspect
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from mmkeras.decode import codec_of
from mmkeras.fusion import fuse
from mmkeras.layers import Fused, Tokens
from mmkeras.schema import Audio, Category, Image, Labels, Number, Schema, Series, Tabular, Text, Video
from mmkeras.tasks import TASKS, compile_args, output
from mmkeras.towers import DEFAULTS, TOWERS, reads, tower

WIDTH = 8
FEATURES = {
    "image": Image(12, 10, 1),
    "question": Text(6, vocabulary=["what", "is", "the", "sum"]),
    "audio": Audio(sampling_rate=4000, seconds=0.2),
    "trace": Series(20, 2, means=[1, -2], std=[2, 3]),
    "table": Tabular(
        ["age", "weight"], ["town"], means=[40, 70], std=[10, 20], vocabularies=[["york", "hull", "leeds"]]
    ),
    "film": Video(3, 8, 7, 1),
}
EVERY_TARGET = (
    Category(classes=["a", "b", "c"]),
    Labels(classes=["a", "b", "c"]),
    Number(mean=1000, std=20, unit="g"),
)
TARGETS = {kind: next(t for t in EVERY_TARGET if isinstance(t, TASKS[kind].serves)) for kind in TASKS}
READS = [
    (kind, name)
    for kind, part in TOWERS.items()
    for name, feature in FEATURES.items()
    if isinstance(feature, reads(part) or ())  # what does not say what it reads: see test_every_tower_is_tested
]
ONE_TOKEN = [kind for kind, part in TOWERS.items() if "tokens" not in inspect.signature(part).parameters]
CASES = [
    pytest.param(kind, name, tokens, id=f"{kind}-{name}-{tokens}")
    for kind, name in READS
    for tokens in ("one", "all")
    if tokens == "one" or kind not in ONE_TOKEN
]


def every_token(schema):
    """The choice of the default towers with all their tokens."""
    kinds = {name: DEFAULTS[type(feature)] for name, feature in schema.inputs.items()}
    return {name: {"kind": kind, "tokens": "all"} for name, kind in kinds.items() if kind not in ONE_TOKEN}


def optional(features=FEATURES):
    """The same inputs, all of them optional."""
    return {name: replace(feature, optional=True) for name, feature in features.items()}


def small_schema(features=FEATURES, **targets):
    targets = targets or {"answer": Category(classes=["a", "b", "c"])}
    return Schema(inputs=features, targets=targets)


def sample(feature, rows=5, seed=0):
    """Random values of one input, as its tower receives them: an array, or a list of values and lengths."""
    found = list(codec_of(feature).sample(feature, rows, np.random.default_rng(seed)).values())
    return found if len(found) > 1 else found[0]


def samples(schema, rows=5, seed=0):
    """Random values of all that a model receives; what is not present is zeros."""
    given, random = {}, np.random.default_rng(seed)
    for name, feature in schema.inputs.items():
        keys = [name + suffix for suffix in feature.received if suffix != "_present"]
        given |= zip(keys, keras.tree.flatten(sample(feature, rows, seed)), strict=True)
        if feature.optional:
            present = random.integers(0, 2, rows).astype(bool)
            for key in keys:
                given[key][~present] = 0
            given[f"{name}_present"] = present
    return given


def choice(kind, tokens="one", **options):
    """A tower of one layer, where it has a number of them by default."""
    depth = inspect.signature(TOWERS[kind]).parameters.get("depth")
    small = {"depth": 1} if depth is not None and depth.default is not None else {}
    return {"kind": kind, **small, **options} | ({} if kind in ONE_TOKEN else {"tokens": tokens})


def small_tower(kind, name, tokens="one", width=WIDTH, feature=None, **options):
    return tower(feature or FEATURES[name], choice(kind, tokens, **options), width=width, name=name)


def obeys(laws, case):
    """Try all laws, functions of a case, on one case; the message names those that are broken."""
    broken = []
    for law in laws:
        try:
            law(case)
        except Exception as error:  # a law that cannot be tried is broken, too
            error.add_note(f"law: {law.__name__}")
            broken.append(error)
    if broken:
        told = "\n".join(f"{error.__notes__[0].removeprefix('law: ')}: {error}" for error in broken)
        raise AssertionError(f"broken laws:\n{told}") from broken[0]


def outputs(model, x):
    """Outputs as a list of numpy arrays."""
    return [ops.convert_to_numpy(value) for value in keras.tree.flatten(model(x, training=False))]


def one_step(model, x):
    """One step of plain gradient descent, by which the sum of squares of each row's outputs comes closer to 3.

    By hand: to build and compile a model around this one costs more than the step.
    """
    with tf.GradientTape() as tape:
        given = [value for value in keras.tree.flatten(model(x, training=True)) if value.dtype.is_floating]
        squares = [ops.sum(ops.square(ops.cast(value, "float32")), axis=range(1, value.ndim)) for value in given]
        loss = ops.mean(ops.square(sum(squares) - 3.0)) + sum(model.losses)
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights], unconnected_gradients="zero")
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.assign_sub(ops.cast(0.1 * tf.convert_to_tensor(gradient), weight.dtype))


def gradients_reach_every_weight(model, x):
    """One step changes every trainable weight."""
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    one_step(model, x)
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    changed = [not np.array_equal(new, old) for new, old in zip(after, before, strict=True)]
    still = [weight.path for weight, moved in zip(model.trainable_weights, changed, strict=True) if not moved]
    assert not still, f"no gradient reaches {still}"


def round_trip_is_equal(model, x, path, y=None):
    """Saved as .keras and loaded again, the model gives the same; `y` is what it gives, if that is known."""
    model.save(path)
    for new, old in zip(outputs(keras.models.load_model(path), x), y or outputs(model, x), strict=True):
        np.testing.assert_array_equal(new, old)


def order_of_the_batch_changes_nothing(model, x, y=None):
    order = np.random.default_rng(1).permutation(len(keras.tree.flatten(x)[0]))
    shuffled = keras.tree.map_structure(lambda value: value[order], x)
    for new, old in zip(outputs(model, shuffled), y or outputs(model, x), strict=True):
        np.testing.assert_allclose(new, old[order], atol=1e-5)


def with_an_empty_row(x):
    """The same values, of which the second row is zeros."""
    return keras.tree.map_structure(
        lambda value: np.where(
            np.arange(len(value)).reshape(-1, *[1] * (value.ndim - 1)) == 1, np.zeros_like(value), value
        ),
        x,
    )


def rows_do_not_see_each_other(model, x, y=None):
    """A row of zeros among others, which may be loud or bright, becomes what it becomes alone."""
    x = with_an_empty_row(x)
    alone = outputs(model, keras.tree.map_structure(lambda value: value[1:2], x))
    for one, all_rows in zip(alone, y or outputs(model, x), strict=True):
        np.testing.assert_allclose(one[0], all_rows[1], atol=1e-5)


def some_tokens(rows=5, width=6, seed=0):
    """Tokens of three modalities as numpy: one without mask, two padded; the last row of "text" is all padding."""
    random = np.random.default_rng(seed)
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)[:rows]
    sound = np.array([[1, 0], [1, 1], [1, 0], [1, 1], [1, 1]], bool)[:rows]

    def values(tokens):
        return random.normal(size=(rows, tokens, width)).astype("float32")

    return {
        "image": Tokens(values(1)),
        "text": Tokens(values(4) * mask[..., None], mask),
        "sound": Tokens(values(2) * sound[..., None], sound),
    }


def flat(tokens):
    """Tokens as a fusion model of `fusion_model` takes them."""
    return [value for part in tokens.values() for value in part.tensors]


def fusion_model(choice, tokens, width=WIDTH):
    """A model around one fusion, for tokens of any number; a fusion of decisions gives it one output a modality."""
    inputs = {}
    for name, (values, mask, _) in tokens.items():
        mask = None if mask is None else keras.Input(mask.shape[1:], dtype="bool", name=f"{name}_mask")
        inputs[name] = Tokens(keras.Input(values.shape[1:], name=name), mask)
    fused = fuse(inputs, choice, width=width)
    return keras.Model(flat(inputs), list(fused.decisions.values()) if fused.decisions else fused.vector)


def head_model(choice, target, width=WIDTH):
    x = keras.Input((width,), name="vector")
    return keras.Model([x], output(Fused(x), target, choice, name="answer"))


def loss_of(target, truth, prediction):
    """The head's loss by `compile_args`, as a float."""
    schema = Schema(inputs=FEATURES, targets={"answer": target})
    return float(compile_args(schema)["loss"](truth, prediction))


def jax_environment(home):
    """Of a fresh process on the JAX backend; compiling costs far more than running there, so little is optimised."""
    return {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        "--xla_cpu_use_fusion_emitters=false",
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
    }
