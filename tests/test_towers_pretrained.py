import subprocess
import sys
from dataclasses import dataclass, replace

import cloudpickle
import contracts
import keras
import numpy as np
import pytest
from keras import ops

import mmkeras as mk
from mmkeras.decode import NumbersCodec
from mmkeras.errors import InputError
from mmkeras.inputs import Image, Input
from mmkeras.towers import from_model, reads, tower
from mmkeras.towers.pretrained import can_read

FEATURES = contracts.FEATURES
each_way = pytest.mark.parametrize("tokens", ["one", "all"])


def pictures(shape=(None, None, 3), dropout=0.0):
    """A picture backbone: a grid "grid" of 4 channels, and its mean over the places."""
    x = grey = keras.Input(shape)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="grid")(x)
    x = keras.layers.Dropout(dropout, name="drop")(keras.layers.BatchNormalization(name="norm")(x))
    return keras.Model(grey, keras.layers.GlobalAveragePooling2D(name="mean")(x), name="eye")


def words(known=6, length=None):
    """A text model: ids in, an LSTM's states out, without knowledge of padding."""
    ids = keras.Input((length,), dtype="int32")
    return keras.Model(ids, keras.layers.LSTM(5, return_sequences=True)(keras.layers.Embedding(known, 3)(ids)))


def built(model, name="image", tokens="one", feature=None, width=8, **options):
    choice = {"kind": from_model(model, **options), "tokens": tokens}
    return tower(feature or FEATURES[name], choice, width=width, name=name)


def one_step(model, x, rows=5):
    """One step of gradient descent; the tower's weights before and after."""
    before = [ops.convert_to_numpy(weight) for weight in model.weights]
    flat = keras.layers.Flatten()(keras.tree.flatten(model.outputs)[0])
    trained = keras.Model(model.inputs, keras.layers.Dense(1)(flat))
    trained.compile(keras.optimizers.SGD(0.1), "mse")
    trained.train_on_batch(x, np.full((rows, 1), 3.0))
    return before, [ops.convert_to_numpy(weight) for weight in model.weights]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (pictures(), ["image"]),
        (words(), ["question"]),
        (keras.Sequential([keras.Input((20, 2)), keras.layers.LSTM(3)]), ["trace"]),
        (keras.Sequential([keras.Input((800,)), keras.layers.Dense(3)]), ["question", "audio", "table"]),
        (keras.Sequential([keras.Input((3, 8, 7, 1)), keras.layers.Flatten()]), ["film"]),
    ],
    ids=["pictures", "words", "trace", "vector", "film"],
)
def test_what_it_reads(model, names):
    assert [name for name, feature in FEATURES.items() if can_read(model, feature)] == names
    assert reads(from_model(model)) is None


@dataclass(frozen=True)
class Depths(Input):
    """A picture of distances, of a kind of its own."""

    shape = (12, 10, 1)


@dataclass(frozen=True)
class Cloud(Input):
    """Points in space, padded."""

    shape = (7, 3)
    padded = True


def test_kinds_of_ones_own(tmp_path):
    """By the axes of a kind, whatever it is: pictures are fitted to the model, padded steps are averaged."""
    x = np.random.default_rng(0).uniform(0, 1, (5, 12, 10, 1)).astype("float32")
    made = built(pictures((8, 8, 3)), "far", feature=Depths())
    assert contracts.outputs(made, x)[0].shape == (5, 1, 8)
    points, lengths = NumbersCodec().sample(Cloud(), 5, np.random.default_rng(0)).values()
    model = keras.Sequential([keras.Input((7, 3)), keras.layers.Dense(3)])
    made = built(model, "cloud", "all", Cloud())
    values, mask = contracts.outputs(made, [points, lengths])
    np.testing.assert_array_equal(mask.sum(axis=1), lengths)
    assert not values[~mask].any()


@keras.saving.register_keras_serializable(package="tests")
class Doubled(keras.layers.Layer):
    """A layer that no other process knows."""

    def call(self, x):
        return 2 * x


def test_it_reaches_another_process(tmp_path):
    """As the trials of a search get it: pickled, with the class of a layer that stands in a notebook."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), Doubled()], name="own")
    part = from_model(model, preprocess=lambda x: x + 1.0)
    (tmp_path / "part.pkl").write_bytes(cloudpickle.dumps(part))
    (tmp_path / "feature.pkl").write_bytes(cloudpickle.dumps(FEATURES["table"]))
    x = contracts.sample(FEATURES["table"])
    made = tower(FEATURES["table"], part, width=8, name="table")
    np.save(tmp_path / "x.npy", x)
    code = f"""
import pickle, numpy as np, keras
from pathlib import Path
from mmkeras.towers import tower
folder = Path({str(tmp_path)!r})
part, feature = (pickle.loads((folder / name).read_bytes()) for name in ("part.pkl", "feature.pkl"))
made = tower(feature, {{"kind": part, "tokens": "all"}}, width=8, name="table")
backbone = made.get_layer("table_frozen").layer
np.save(folder / "y.npy", backbone(np.load(folder / "x.npy") + 1.0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model(x + 1.0), rtol=1e-5)
    assert made.get_layer("table_frozen").layer.count_params() == model.count_params()


CASES = [
    ("image", pictures(), {"layer": "grid"}, (1, 6 * 5)),
    ("image", pictures(), {}, (1, 1)),
    ("question", words(), {}, (1, 6)),
    ("trace", keras.Sequential([keras.Input((20, 2)), keras.layers.LSTM(3, return_sequences=True)]), {}, (1, 20)),
    ("table", keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]), {}, (1, 1)),
    ("audio", keras.Sequential([keras.Input((800,)), keras.layers.Dense(3)]), {}, (1, 1)),
]


@pytest.mark.parametrize(("name", "model", "options", "counts"), CASES, ids=lambda value: getattr(value, "name", None))
def test_laws(name, model, options, counts, tmp_path):
    x = contracts.sample(FEATURES[name])
    for tokens, count in zip(("one", "all"), counts, strict=True):
        made = built(model, name, tokens, **options)
        values, *mask = contracts.outputs(made, x)
        assert values.shape == (5, count, 8)
        assert values.dtype == np.float32
        assert len(mask) == (tokens == "all" and name in ("question", "trace"))
        contracts.order_of_the_batch_changes_nothing(made, x)
        contracts.rows_do_not_see_each_other(made, x)
        contracts.round_trip_is_equal(made, x, tmp_path / "tower.keras")


@pytest.mark.parametrize(("name", "model", "options", "counts"), CASES[:3], ids=["grid", "mean", "words"])
def test_gradients_reach_every_weight(name, model, options, counts):
    x = contracts.sample(FEATURES[name], rows=32)
    keras.utils.set_random_seed(0)
    made = built(model, name, "one", trainable=True, width=16, **options)
    assert len(made.trainable_weights) == len(made.get_layer(f"{name}_backbone").trainable_weights) + 2 > 2
    contracts.gradients_reach_every_weight(made, x)


def test_frozen_weights_stay_and_trained_ones_move():
    x = contracts.sample(FEATURES["image"])
    frozen, trained = (built(pictures(), trainable=trainable) for trainable in (False, True))
    assert [weight.shape for weight in frozen.trainable_weights] == [(4, 8), (8,)]
    before, after = one_step(frozen, x)
    changed = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    assert changed == [False] * 6 + [True] * 2
    before, after = one_step(trained, x)
    moved = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    assert moved == [True] * 8, "the moving mean and variance too"


def test_a_frozen_model_behaves_as_at_inference():
    x = contracts.sample(FEATURES["image"])
    frozen, trained = (built(pictures(dropout=0.9), trainable=trainable) for trainable in (False, True))
    np.testing.assert_array_equal(frozen(x, training=True), frozen(x, training=False))
    assert not np.array_equal(trained(x, training=True), trained(x, training=False))


def test_frozen_stays_frozen_behind_a_file(tmp_path):
    built(pictures()).save(tmp_path / "tower.keras")
    loaded = keras.models.load_model(tmp_path / "tower.keras")
    assert [weight.shape for weight in loaded.trainable_weights] == [(4, 8), (8,)]


def test_each_tower_has_a_copy():
    """Two models of one backbone: neither of them changes the backbone or the other."""
    model, x = pictures(), contracts.sample(FEATURES["image"])
    part = from_model(model, trainable=True)
    first, second = (tower(FEATURES["image"], part, width=8, name="image") for _ in range(2))
    before = model.get_weights()
    one_step(first, x)
    for new, old, other in zip(model.get_weights(), before, second.get_weights(), strict=False):
        np.testing.assert_array_equal(new, old)
        np.testing.assert_array_equal(other, old)
    assert model.trainable
    schema = contracts.small_schema({"image": FEATURES["image"], "photo": Image(9, 9)})
    both = mk.build(schema, towers={"image": part, "photo": part}, width=8)
    assert both.get_layer("image_tower").get_layer("image_backbone").count_params() == model.count_params()
    values = contracts.samples(schema)
    assert contracts.outputs(both, values)[0].shape == (5, 3)


def test_numbers_of_a_layer():
    """Each place of the grid is what the backbone's inner layer gives, through the dense layer."""
    model, x = pictures(), contracts.sample(FEATURES["image"])
    made = built(model, tokens="all", layer="grid")
    kernel, bias = made.get_layer("image_dense").get_weights()
    grid = keras.Model(model.inputs, model.get_layer("grid").output)(np.repeat(x, 3, axis=-1).astype("float32"))
    expected = np.maximum(ops.convert_to_numpy(grid).reshape(5, 30, 4) @ kernel + bias, 0)
    np.testing.assert_allclose(contracts.outputs(made, x)[0], expected, atol=1e-3)
    assert not [one.name for one in made.get_layer("image_frozen").layer.layers if one.name in ("norm", "mean")]


@pytest.mark.parametrize(
    ("given", "wanted", "options"),
    [
        (Image(12, 10, 1), (None, None, 3), {}),
        (Image(12, 10, 1), (20, 16, 3), {}),
        (Image(12, 10, 3), (6, 5, 3), {}),
        (Image(12, 10, 1), (None, None, 1), {"resize": (6, 5)}),
        (Image(12, 10, 3), (None, None, None), {}),
    ],
)
def test_pictures_are_brought_to_what_the_model_takes(given, wanted, options):
    eye = keras.Input(wanted)
    echo = keras.Model(eye, keras.layers.Identity()(eye))
    made = built(echo, tokens="all", feature=given, width=64, **options)
    places = tuple(a or b for a, b in zip(wanted[:2], options.get("resize", (12, 10)), strict=True))
    assert made.output_shape == (None, places[0] * places[1], 64)
    x = contracts.sample(given)
    channels = wanted[2] or given.channels
    expected = np.repeat(x, channels // given.channels, axis=-1).astype("float32")
    expected = ops.convert_to_numpy(ops.image.resize(expected, places)).reshape(5, -1, channels)
    dense = made.get_layer("image_dense")
    kernel = np.eye(channels, 64)
    dense.set_weights([kernel, np.zeros(64)])
    np.testing.assert_allclose(contracts.outputs(made, x)[0][..., :channels], expected, atol=1e-3)


def test_preprocess_stands_before_the_model(tmp_path):
    eye = keras.Input((12, 10, 1))
    echo = keras.Model(eye, keras.layers.Identity()(eye))
    x = contracts.sample(FEATURES["image"])
    for preprocess in (keras.layers.Rescaling(1 / 127.5, offset=-1), lambda value: value / 127.5 - 1.0):
        made = built(echo, tokens="all", preprocess=preprocess, width=2)
        made.get_layer("image_dense").set_weights([np.ones((1, 2)), np.ones(2)])
        np.testing.assert_allclose(contracts.outputs(made, x)[0][..., 0], x.reshape(5, -1) / 127.5, atol=1e-5)
        contracts.round_trip_is_equal(made, x, tmp_path / "tower.keras")


@pytest.mark.parametrize("family", ["mobilenet_v2", "resnet", "efficientnet"])
def test_preprocessing_of_keras_applications(family):
    preprocess = getattr(keras.applications, family).preprocess_input
    eye = keras.Input((12, 10, 3))
    made = built(keras.Model(eye, keras.layers.Identity()(eye)), "image", "all", Image(12, 10), preprocess=preprocess)
    x = contracts.sample(Image(12, 10))
    made.get_layer("image_dense").set_weights([np.eye(3, 8), np.zeros(8)])
    expected = np.maximum(preprocess(x.astype("float32")).reshape(5, -1, 3), 0)
    np.testing.assert_allclose(contracts.outputs(made, x)[0][..., :3], expected, atol=1e-4)


def test_words_are_averaged_where_there_are_any():
    model, x = words(), contracts.sample(FEATURES["question"])
    every, one = (built(model, "question", tokens) for tokens in ("all", "one"))
    states, mask = ops.convert_to_numpy(model(x)), x != 0
    one.set_weights(every.get_weights())
    kernel, bias = every.get_layer("question_dense").get_weights()
    values, given = contracts.outputs(every, x)
    np.testing.assert_array_equal(given, mask)
    np.testing.assert_allclose(values, np.maximum(states @ kernel + bias, 0) * mask[..., None], atol=1e-6)
    mean = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(contracts.outputs(one, x)[0][:, 0], np.maximum(mean @ kernel + bias, 0), atol=1e-5)


@each_way
def test_junk_behind_the_end_of_a_trace(tokens):
    model = keras.Sequential([keras.Input((20, 2)), keras.layers.LSTM(3, return_sequences=True)])
    made = built(model, "trace", tokens)
    clean, lengths = contracts.sample(FEATURES["trace"])
    junk = clean.copy()
    junk[np.arange(20) >= lengths[:, None]] = np.nan
    for new, old in zip(
        contracts.outputs(made, [junk, lengths]), contracts.outputs(made, [clean, lengths]), strict=True
    ):
        np.testing.assert_array_equal(new, old)


def test_the_spec_takes_it_registered_by_name():
    from mmkeras.towers import TOWERS

    mk.towers.register("eye")(from_model(pictures()))
    try:
        spec = mk.ModelSpec(towers={"image": {"kind": "eye", "dropout": 0.1}}, width=8)
        model = mk.build(contracts.small_schema(), mk.ModelSpec.from_json(spec.to_json()))
        assert model.get_layer("image_tower").get_layer("image_frozen").layer
    finally:
        del TOWERS["eye"]


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        made = built(pictures(), tokens="all", layer="grid")
        assert np.isfinite(contracts.outputs(made, contracts.sample(FEATURES["image"]))[0].astype("float32")).all()
    finally:
        keras.config.set_dtype_policy("float32")


class Own(keras.Model):
    def call(self, x):
        return x


def of_inputs(*names):
    inputs = [keras.Input((6,), name=name) for name in names]
    return keras.Model(inputs, keras.layers.Concatenate()(inputs), name="pair")


def of_outputs():
    eye = keras.Input((12, 10, 1))
    return keras.Model(eye, {"a": keras.layers.Flatten(name="flat")(eye), "b": eye}, name="fork")


def used_elsewhere():
    """A model with a layer that another one used first."""
    shared = keras.layers.ReLU(name="shared")
    keras.Model(other := keras.Input((12, 10, 1)), shared(other))
    eye = keras.Input((12, 10, 1))
    return keras.Model(eye, shared(eye))


def test_one_of_several_outputs():
    assert built(of_outputs(), layer="a").output_shape == (None, 1, 8)
    assert built(of_outputs(), layer="b", tokens="all").output_shape == (None, 120, 8)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: "resnet", {}, "from_model: expected a keras.Model, received 'resnet'"),
        (lambda: Own(name="own"), {}, "expected a functional or a built Sequential model, received 'own', a Own; wrap"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), {}, "expected a functional or a built Sequential model"),
        (pictures, {"layer": "gird"}, "from_model: model 'eye': unknown layer or output 'gird'; did you mean 'grid'"),
        (of_outputs, {}, "model 'fork': unknown layer or output 'sequence_output'.*Known: a, b"),
        (used_elsewhere, {"layer": "shared"}, "expected a layer whose first use is in the model .* received 'shared'"),
        (lambda: of_inputs("x", "y"), {}, "expected a model of one input, .* received 'pair' with the inputs x, y"),
        (lambda: pictures((8, 8, 3)), {"resize": (4, 4)}, r"expected resize with .* received \(4, 4\) .*None, 8, 8, 3"),
        (words, {"resize": (4, 4)}, "expected resize with a model of pictures of any size"),
        (lambda: keras.Sequential([keras.Input(()), keras.layers.Identity()]), {}, "expected a model of 2 to 5 axes"),
    ],
)
def test_refused(model, options, message):
    with pytest.raises(InputError, match=message):
        from_model(model(), **options)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        (
            "question",
            pictures,
            r"'question': tower 'from_model\(eye\)' reads \(None, None, None, 3\), received Text \(6,\)",
        ),
        ("image", lambda: pictures((8, 8, 4)), "'image': expected 4 channels, which the model takes, received 1"),
        ("question", lambda: words(5), "'question': expected at most 5 token ids, .* received 6"),
        ("question", lambda: words(6, 9), r"'question': expected values for .*\(None, 9\), received \(None, 6\)"),
        (
            "trace",
            lambda: keras.Sequential([keras.Input((20, 2)), keras.layers.Conv1D(3, 3)]),
            r"'trace': expected its model to give a vector for each of the 20 steps, .* received \(None, 18, 3\)",
        ),
        (
            "image",
            lambda: keras.Sequential([keras.Input((12, 10, 1)), keras.layers.Reshape((2, 3, 2, 10))]),
            r"'image': expected its model to give .* received \(None, 2, 3, 2, 10\)",
        ),
    ],
)
def test_what_cannot_fit(name, model, message):
    with pytest.raises(InputError, match=message):
        built(model(), name)


def test_misspelt_option():
    with pytest.raises(InputError, match=r"option of tower 'from_model\(eye\)': 'token'; did you mean 'tokens'"):
        tower(FEATURES["image"], {"kind": from_model(pictures()), "token": "all"}, width=8, name="image")


def keras_hub():
    return pytest.importorskip("keras_hub", reason="KerasHub is not installed: pip install mmkeras[keras-hub]")


def sentences(vocabulary=6, longest=10):
    """A small BERT of KerasHub, random."""
    return keras_hub().models.BertBackbone(
        vocabulary_size=vocabulary,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=longest,
    )


@each_way
def test_keras_hub_text(tokens, tmp_path):
    model, feature = sentences(), FEATURES["question"]
    made = built(model, "question", tokens)
    x = contracts.sample(feature)
    values, *mask = contracts.outputs(made, x)
    fed = {"token_ids": x, "padding_mask": (x != 0).astype("int32"), "segment_ids": np.zeros_like(x)}
    states = ops.convert_to_numpy(model(fed)["sequence_output"])
    kernel, bias = made.get_layer("question_dense").get_weights()
    if tokens == "all":
        expected = np.maximum(states @ kernel + bias, 0) * (x != 0)[..., None]
        np.testing.assert_array_equal(mask[0], x != 0)
    else:
        there = (x != 0)[..., None]
        expected = np.maximum((states * there).sum(axis=1) / there.sum(axis=1) @ kernel + bias, 0)[:, None]
    np.testing.assert_allclose(values, expected, atol=1e-5)
    longer = built(model, "question", tokens, feature=replace(feature, length=9))
    longer.set_weights(made.get_weights())
    again = contracts.outputs(longer, np.pad(x, [[0, 0], [0, 3]]))[0]
    np.testing.assert_allclose(again[:, : values.shape[1]], values, atol=1e-5)
    contracts.round_trip_is_equal(made, x, tmp_path / "tower.keras")


def test_keras_hub_text_is_trained():
    keras.utils.set_random_seed(0)
    x = contracts.sample(FEATURES["question"], rows=32)
    made = built(sentences(), "question", trainable=True)
    assert len(made.trainable_weights) > 15
    before, after = one_step(made, x, rows=32)
    assert sum(not np.array_equal(old, new) for old, new in zip(before, after, strict=True)) > 15
    pooled = built(sentences(), "question", layer="pooled_output", tokens="all")
    assert pooled.output_shape == (None, 1, 8)


def test_keras_hub_text_that_does_not_fit():
    with pytest.raises(InputError, match=r"'question': expected at most 5 token ids, as many as .* received 6"):
        built(sentences(vocabulary=5), "question")
    with pytest.raises(InputError, match=r"'question': expected sentences of at most 4 words, .* received 6"):
        built(sentences(longest=4), "question")


def test_keras_hub_pictures(tmp_path):
    models = keras_hub().models
    vit = models.ViTBackbone(image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    resnet = models.ResNetBackbone([64], [3], [64], [1], [1], "basic_block")
    x = contracts.sample(FEATURES["image"])
    for model, count in ((vit, 5), (resnet, 9)):
        made = built(model, tokens="all")
        assert made.output_shape == (None, count, 8)
        contracts.round_trip_is_equal(made, x, tmp_path / "tower.keras")
        before, after = one_step(made, x)
        moved = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
        assert moved == [False] * (len(moved) - 2) + [True] * 2
