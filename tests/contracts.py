"""Laws that every tower, fusion and head obeys, as plain functions; the tests apply them to all that is registered."""

import keras
import numpy as np
from keras import ops

from mmkeras.fusion import fuse
from mmkeras.heads import compile_args, head
from mmkeras.layers import Tokens
from mmkeras.schema import Audio, Category, Image, Schema, Text
from mmkeras.towers import DEFAULTS, tower

WIDTH = 8
FEATURES = {
    "image": Image(12, 10, 1),
    "question": Text(6, vocabulary=["what", "is", "the", "sum"]),
    "audio": Audio(rate=4000, seconds=0.2),
}
KIND_OF = {kind: next(name for name, f in FEATURES.items() if type(f) is t) for t, kind in DEFAULTS.items()}


def small_schema(**targets):
    targets = targets or {"answer": Category(classes=["a", "b", "c"])}
    return Schema(inputs=FEATURES, targets=targets)


def sample(feature, rows=5, seed=0):
    """Random values of one input, as the pipeline would give them."""
    random = np.random.default_rng(seed)
    if isinstance(feature, Image):
        return random.integers(0, 256, (rows, *feature.shape)).astype("uint8")
    if isinstance(feature, Text):
        words = random.integers(2, feature.tokens, (rows, feature.length))
        lengths = random.integers(1, feature.length + 1, (rows, 1))
        return np.where(np.arange(feature.length) < lengths, words, 0).astype("int32")
    return random.uniform(-1, 1, (rows, *feature.shape)).astype("float32")


def samples(schema, rows=5, seed=0):
    return {name: sample(feature, rows, seed) for name, feature in schema.inputs.items()}


def small_tower(kind, tokens="one", width=WIDTH, feature=None):
    name = KIND_OF[kind]
    return tower(feature or FEATURES[name], {"kind": kind, "tokens": tokens}, width=width, name=name)


def outputs(model, x):
    """Outputs as a list of numpy arrays."""
    return [ops.convert_to_numpy(value) for value in keras.tree.flatten(model(x, training=False))]


def gradients_reach_every_weight(model, x):
    """One step of plain gradient descent on a sum of squares changes every trainable weight."""
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    values = keras.layers.Lambda(lambda value: ops.sum(ops.square(value), axis=tuple(range(1, len(value.shape)))))
    flat = keras.tree.flatten(model.outputs)
    probe = keras.Model(model.inputs, keras.layers.Reshape((1,))(values(flat[0])))
    probe.compile(keras.optimizers.SGD(0.1), "mse")
    rows = len(keras.tree.flatten(x)[0])
    probe.train_on_batch(x, np.full((rows, 1), 3.0))
    after = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    changed = [not np.array_equal(new, old) for new, old in zip(after, before, strict=True)]
    still = [weight.path for weight, moved in zip(model.trainable_weights, changed, strict=True) if not moved]
    assert not still, f"no gradient reaches {still}"


def round_trip_is_equal(model, x, path):
    """Saved as .keras and loaded again, the model answers the same."""
    model.save(path)
    for new, old in zip(outputs(keras.models.load_model(path), x), outputs(model, x), strict=True):
        np.testing.assert_array_equal(new, old)


def order_of_the_batch_changes_nothing(model, x):
    order = np.random.default_rng(1).permutation(len(keras.tree.flatten(x)[0]))
    shuffled = keras.tree.map_structure(lambda value: value[order], x)
    for new, old in zip(outputs(model, shuffled), outputs(model, x), strict=True):
        np.testing.assert_allclose(new, old[order], atol=1e-5)


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
    return [value for part in tokens.values() for value in part if value is not None]


def fusion_model(choice, tokens, width=WIDTH):
    """A model around one fusion, for tokens of any number."""
    inputs = {}
    for name, (values, mask) in tokens.items():
        mask = None if mask is None else keras.Input(mask.shape[1:], dtype="bool", name=f"{name}_mask")
        inputs[name] = Tokens(keras.Input(values.shape[1:], name=name), mask)
    return keras.Model(flat(inputs), fuse(inputs, choice, width=width))


def head_model(choice, target, width=WIDTH):
    x = keras.Input((width,))
    return keras.Model(x, head(x, target, choice, name="answer"))


def loss_of(target, truth, prediction):
    """The head's loss by `compile_args`, as a float."""
    schema = Schema(inputs=FEATURES, targets={"answer": target})
    return float(compile_args(schema)["loss"](truth, prediction))
