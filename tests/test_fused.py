"""What tasks read of a fusion beside its vector: tokens, and the grids of towers of pictures."""

from dataclasses import dataclass, replace

import contracts
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import ops

import mmkeras as mk
from mmkeras.decode import CODECS, FileCodec
from mmkeras.errors import InputError
from mmkeras.fusion import FUSIONS, fuse
from mmkeras.layers import Fused, MissingToken, Tokens, masked_mean
from mmkeras.model import FUSED, halves, with_embedding
from mmkeras.targets import TARGETS, Target
from mmkeras.tasks import TASKS, Task
from mmkeras.tasks.softmax import Softmax

SIZE, ROWS = 16, 48
TOWERS = {
    "image": {"kind": "conv", "depth": 2, "filters": 4},
    "question": {"kind": "conv1d", "filters": 4, "tokens": "all"},
}
SEQUENCES = ("attention", "bottleneck", "cross_attention", "film")  # the fusions that have more than one token


# A task that reads tokens, and one that reads grids, with its kind of target


class Pooled(Softmax):
    """A learned weight of each token (Bahdanau et al., 2015), then the classes."""

    reads = "tokens"

    def output(self, fused, target, *, name):
        values, mask, _ = fused.tokens
        score = keras.layers.Dense(1, name=f"{name}_score")(values)[..., 0]
        if mask is not None:
            score = ops.where(mask, score, -1e9)
        x = ops.sum(ops.softmax(score)[..., None] * values, axis=1)
        return keras.layers.Dense(len(target.classes), activation="softmax", dtype="float32", name=name)(x)


@dataclass(frozen=True)
class Mask(Target):
    """A mask of 16 x 16 in a PNG file; `(batch, 16, 16)` uint8, 0 or 1."""

    optional: bool = False
    column: str | None = None
    reads: str | tuple[str, ...] | None = None
    dtype = "uint8"
    files = True

    @property
    def truth(self):
        return {"": ((SIZE, SIZE), "uint8")}


class MaskCodec(FileCodec):
    format = "a mask (PNG)"

    def decode_bytes(self, feature, raw):
        return (tf.ensure_shape(tf.io.decode_png(raw, channels=1)[:, :, 0], (SIZE, SIZE)),)


class Pixels(Task):
    """The probability of every pixel, from the coarsest grid to the finest with a skip connection to each (U-Net)."""

    serves = (Mask,)
    reads = "grid"

    def output(self, fused, target, *, name):
        *finer, x = next(iter(fused.grids.values()))
        for number, skip in enumerate(reversed(finer)):
            x = keras.layers.UpSampling2D(name=f"{name}_up{number}")(x)
            x = keras.layers.Concatenate(name=f"{name}_skip{number}")([x, skip])
            x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"{name}_conv{number}")(x)
        x = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name=f"{name}_pixels")(x)
        return keras.layers.Reshape((SIZE, SIZE), dtype="float32", name=name)(x)

    def loss(self, target):
        return keras.losses.BinaryCrossentropy()

    def metrics(self, target):
        return [keras.metrics.BinaryAccuracy(name="pixels")]


@pytest.fixture(scope="module", autouse=True)
def registered():
    mk.targets.register("Mask")(Mask)
    mk.decode.register(Mask)(MaskCodec)
    mk.tasks.register("pooled")(Pooled)
    mk.tasks.register("pixels")(Pixels)
    yield
    for table, name in ((TARGETS, "Mask"), (CODECS, Mask), (TASKS, "pooled"), (TASKS, "pixels")):
        del table[name]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Noisy pictures with a bright square at one of eight places, its mask, and a question about its row or column."""
    folder, random, rows = tmp_path_factory.mktemp("squares"), np.random.default_rng(0), []
    for number in range(8):
        top, left = 8 * (number // 4), 4 * (number % 4)
        square = np.zeros((SIZE, SIZE, 1), np.uint8)
        square[top : top + 6, left : left + 4] = 1
        picture = (random.integers(0, 60, square.shape) + 180 * square).astype(np.uint8)
        for name, pixels in (("p", picture), ("m", square)):
            (folder / f"{name}{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        half = ["top", "bottom"][number // 4], ["left", "right"][number % 4 // 2]
        for question, side in zip(("which row", "which column of both"), half, strict=True):
            rows += [(f"p{number}.png", f"m{number}.png", question, side)] * (ROWS // 16)
    table = pd.DataFrame(rows, columns=["image", "mask", "question", "side"])
    for column in ("image", "mask"):
        table[column] = [str(folder / cell) for cell in table[column]]
    return table


def records_of(table, optional=False, **targets):
    """Records of pictures and questions; where pictures are optional every fourth is missing."""
    table = table.copy()
    if optional:
        table.loc[::4, "image"] = ""
    inputs = {"image": mk.Image(SIZE, SIZE, 1, shared=True, optional=optional), "question": mk.Text(5)}
    return mk.read(table, mk.Schema(inputs, targets)).fit()


def every_way():
    """Targets of one input, of several and of all, of tasks that read tokens and grids; and one of a vector."""
    pooled = {
        name: mk.Category(column="side", reads=reads) for name, reads in (("t", None), ("t2", ("image", "question")))
    }
    pixels = {"g1": Mask(column="mask", reads="image"), "g2": Mask(column="mask", reads=("image", "question"))}
    return {"side": mk.Category(), **pooled, "t1": mk.Category(column="side", reads="question"), **pixels} | {
        "g": Mask(column="mask")
    }


TASKS_OF = {"t": "pooled", "t1": "pooled", "t2": "pooled"}


@pytest.fixture(scope="module", params=[False, True], ids=["there", "optional"])
def built(request, table):
    """Records, and a compiled model of every way, trained for one epoch."""
    records = records_of(table, request.param, **every_way())
    keras.utils.set_random_seed(0)
    rate = 0.2 if request.param else 0.0
    model = mk.build(records.schema, towers=TOWERS, fusion="attention", width=8, tasks=TASKS_OF, modality_dropout=rate)
    model.compile("adam", **mk.compile_args(records.schema, TASKS_OF))
    history = model.fit(mk.batches(records, 16, training=True), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    return records, model


def same(found, expected):
    assert found.keys() == expected.keys() == every_way().keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)


def test_outputs_have_their_shapes_and_every_weight_learns(built):
    records, model = built
    shapes = {name: output.shape[1:] for name, output in model.output.items()}
    assert shapes == {name: (SIZE, SIZE) if name[0] == "g" else (4,) for name in records.schema.targets}
    assert {output.dtype for output in model.output.values()} == {"float32"}
    x = next(iter(mk.batches(records, 16, targets=False)))
    contracts.gradients_reach_every_weight(keras.models.clone_model(model), [x[t.name] for t in model.inputs])


def test_saved_and_loaded(built, tmp_path):
    records, model = built
    model.save(tmp_path / "model.keras")
    rows = mk.batches(records, 16, targets=False)
    same(keras.models.load_model(tmp_path / "model.keras").predict(rows, verbose=0), model.predict(rows, verbose=0))


def test_distinct_pictures_once(built):
    records, model = built
    view = mk.deduplicated_model(model, records.schema, "image")
    distinct = next(iter(mk.batches(records, ROWS, targets=False, group_by="image")))
    x = dict(zip(records.schema.deduplicated_inputs("image"), distinct, strict=True))
    assert x["image"].shape[0] < ROWS == x["image_index"].shape[0]
    found = keras.tree.map_structure(ops.convert_to_numpy, view(list(distinct), training=False))
    same(found, model.predict({**x, "image": tf.gather(x["image"], x.pop("image_index"))}, verbose=0))


def test_cut_after_the_towers(built):
    records, model = built
    front, rest = halves(model, records.schema)
    names = [tensor.name for tensor in rest.inputs]
    assert names[:4] == ["image_tokens", "image_grid0", "image_grid1", "image_grid2"]
    rows = mk.batches(records, 16, targets=False)
    made = front.predict(rows, verbose=0)
    assert [grid.shape[1:] for grid in made["image"][1:4]] == [(16, 16, 4), (8, 8, 8), (4, 4, 8)]
    expected = model.predict(rows, verbose=0)
    same(rest.predict([tensor for name in records.schema.inputs for tensor in made[name]], verbose=0), expected)
    x, *_ = mk.extract_features(model, records, ["image"])
    same(mk.features_model(model, records.schema, ["image"]).predict(x, verbose=0), expected)


def test_the_vector_and_the_scores_without_a_modality(built):
    records, model = built
    rows = mk.batches(records, 16, targets=False)
    outputs, vector = with_embedding(model, records.schema).predict(rows, verbose=0)
    same(outputs, model.predict(rows, verbose=0))
    assert vector.shape == (ROWS, 8)
    subsets = mk.evaluate(model, records, permutations=1).subsets
    assert set(subsets["target"]) == set(records.schema.targets)


def test_what_a_missing_picture_holds_reaches_no_output_and_no_weight(table):
    records = records_of(table, True, **every_way())
    model = mk.build(records.schema, towers=TOWERS, width=8, tasks=TASKS_OF)
    x, y = next(iter(mk.batches(records, ROWS)))
    junk = {**x, "image": tf.where(x["image_present"][:, None, None, None], x["image"], np.uint8(255))}
    same(model.predict(junk, verbose=0), model.predict(x, verbose=0))
    nothing = {**x, "image_present": tf.zeros(ROWS, bool)}
    tower = model.get_layer("image_tower")
    before = tower.get_weights()
    model.compile("sgd", **mk.compile_args(records.schema, TASKS_OF))
    model.train_on_batch(nothing, y)
    for old, new in zip(before, tower.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_head_of_every_pixel_learns_from_masks(table):
    records = records_of(table, mask=Mask())
    keras.utils.set_random_seed(0)
    model = mk.build(records.schema, towers=TOWERS, width=8)
    assert FUSED not in [layer.name for layer in model.get_layer("body").layers]  # nothing that it does not read
    assert with_embedding(model, records.schema) is None
    model.compile(keras.optimizers.Adam(0.02), **mk.compile_args(records.schema))
    model.fit(mk.batches(records, 16, training=True), epochs=20, verbose=0)
    assert model.evaluate(mk.batches(records, 16), return_dict=True, verbose=0)["pixels"] > 0.98


def test_a_head_of_tokens_learns(table):
    records = records_of(table, side=mk.Category())
    keras.utils.set_random_seed(1)
    model = mk.build(records.schema, towers=TOWERS, fusion="film", width=16, tasks={"side": "pooled"})
    model.compile(keras.optimizers.Adam(0.01), **mk.compile_args(records.schema, {"side": "pooled"}))
    model.fit(mk.batches(records, 16, training=True), epochs=25, verbose=0)
    assert model.evaluate(mk.batches(records, 16), return_dict=True, verbose=0)["accuracy"] > 0.95


def test_modality_dropout_takes_the_grids_of_the_same_rows():
    values, mask, present = np.ones((64, 2, 3), "float32"), np.ones((64, 2), bool), np.arange(64) % 8 > 0
    grids = [np.ones((64, 4, 4, 2), "float32"), np.ones((64, 2, 2, 5), "float32")]
    layer = MissingToken(0.5, seed=1)
    _, there, *maps = map(ops.convert_to_numpy, layer(values, mask, present, grids, training=True))
    dropped = ~there[:, 1]
    assert 16 < dropped.sum() < 64
    assert dropped[~present].all()
    for grid in maps:
        np.testing.assert_array_equal(grid.any(axis=(1, 2, 3)), ~dropped)
    _, _, *maps = map(ops.convert_to_numpy, layer(values, mask, present, grids))
    for grid in maps:
        np.testing.assert_array_equal(grid.any(axis=(1, 2, 3)), present)


@pytest.mark.parametrize(
    ("choice", "shapes"),
    [
        ({"kind": "conv", "depth": 2, "filters": 4}, [(12, 10, 4), (6, 5, 8), (3, 3, 8)]),
        ({"kind": "residual", "depth": 2, "filters": 4}, [(12, 10, 4), (6, 5, 4), (3, 3, 8)]),
        ({"kind": "mobile"}, [(2, 1, 576)]),
    ],
)
def test_grids_of_towers(choice, shapes):
    """The finest first; the tokens are those of the tower without them, and so are the weights."""
    feature = contracts.FEATURES["image"]
    plain, with_grids = (
        mk.towers.tower(feature, choice, width=8, name="image", grids=grids) for grids in (False, True)
    )
    assert [tuple(output.shape[1:]) for output in with_grids.outputs] == [(1, 8), *shapes]
    assert [weight.path for weight in with_grids.weights] == [weight.path for weight in plain.weights]
    with_grids.set_weights(plain.get_weights())
    x = contracts.sample(feature)
    np.testing.assert_array_equal(contracts.outputs(with_grids, x)[0], contracts.outputs(plain, x)[0])


def test_towers_without_grids_are_refused(table):
    records = records_of(table, mask=Mask())
    with pytest.raises(
        InputError, match=r"'mask': its task reads grids: expected a tower that gives them, .* image, qu"
    ):
        mk.build(records.schema, towers={"image": "vit"}, width=8)

    def flat(x, *, feature, width, name):
        return Tokens(ops.zeros((1, 1, width)), grids=(x[..., 0],))

    with pytest.raises(
        InputError, match=r"to return grids \(batch, rows, columns, channels\), received \[\(None, 16, 16"
    ):
        mk.build(records.schema, towers={"image": flat}, width=8)


# Fusions


@pytest.mark.parametrize("kind", sorted(FUSIONS))
def test_tokens_of_every_fusion(kind):
    """One token of a vector, several of what was pooled, one a modality of decisions; zeros where there is none."""
    given = contracts.some_tokens()
    inputs = {
        name: Tokens(*(None if x is None else keras.Input(x.shape[1:], dtype=x.dtype) for x in part[:2]))
        for name, part in given.items()
    }
    fused = fuse(inputs, kind, width=8)
    outputs = {"tokens": fused.tokens.pair, "vectors": list((fused.decisions or {"": fused.vector}).values())}
    model = keras.Model(contracts.flat(inputs), outputs)
    found = keras.tree.map_structure(ops.convert_to_numpy, model(contracts.flat(given)))
    tokens, vectors = Tokens.of(found["tokens"]), found["vectors"]
    if kind not in SEQUENCES:
        np.testing.assert_array_equal(tokens.values, np.stack(vectors, axis=1))
        assert tokens.mask is None
        assert (fused.decisions is None) == (kind != "late") == (fused.vector is not None)
        return
    rounds = len(given) - 1 if kind == "cross_attention" else 1
    by = next(iter(given))  # without a schema the first modality conditions the others
    names = [name for name in given if kind != "film" or name != by]
    places = [given[name].mask if given[name].mask is not None else np.ones((5, 1), bool) for name in names]
    np.testing.assert_array_equal(tokens.mask, np.concatenate([m for m in places for _ in range(rounds)], axis=1))
    assert tokens.values.shape == (*tokens.mask.shape, 8)
    assert not tokens.values[~tokens.mask].any()
    assert tokens.values[tokens.mask].any(axis=-1).all()
    if kind == "attention":
        np.testing.assert_allclose(masked_mean(tokens), vectors[0], atol=1e-6)


def fused_by(part):
    inputs = {"a": Tokens(keras.Input((3, 8))), "b": Tokens(keras.Input((2, 8)))}
    return fuse(inputs, part, width=8)


def test_fusions_of_ones_own():
    """A vector, tokens, decisions, or all of it by name."""
    fused = fused_by(lambda tokens, *, width: masked_mean(tokens["a"]))
    assert (fused.vector.shape, fused.tokens.values.shape, fused.decisions) == ((None, 8), (None, 1, 8), None)
    fused = fused_by(lambda tokens, *, width: tokens["a"])
    assert (fused.vector.shape, fused.tokens.values.shape) == ((None, 8), (None, 3, 8))
    fused = fused_by(lambda tokens, *, width: {name: masked_mean(part) for name, part in tokens.items()})
    assert (fused.vector, list(fused.decisions), fused.tokens.values.shape) == (None, ["a", "b"], (None, 2, 8))
    fused = fused_by(lambda tokens, *, width: Fused(masked_mean(tokens["a"]), tokens["b"]))
    assert (fused.vector.shape, fused.tokens.values.shape) == ((None, 8), (None, 2, 8))


@pytest.mark.parametrize(
    "made",
    [
        lambda x: x,
        lambda x: Tokens(masked_mean(Tokens(x))),
        lambda x: Fused(x),
        lambda x: Fused(None),
        lambda x: {},
        lambda x: {"a": x},
        lambda x: Fused(masked_mean(Tokens(x)), Tokens(x[..., :4])),
    ],
)
def test_fusions_that_give_something_else(made):
    with pytest.raises(InputError, match=r"expected fusion '<lambda>' to return \(batch, 8\), received"):
        fused_by(lambda tokens, *, width: made(tokens["a"].values))


def test_fusions_are_found_by_name():
    assert mk.fusion.gated is FUSIONS["gated"]
    assert {*FUSIONS} - set(dir(mk.fusion)) == set()
    schema = contracts.small_schema({name: contracts.FEATURES[name] for name in ("question", "table")})
    assert mk.build(schema, fusion=mk.fusion.multiply, width=4).get_layer("body").get_layer(FUSED)


# The arguments of build


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusoin": "x"}, "build: unknown argument 'fusoin'; did you mean 'fusion'"),
        ({"spec": mk.ModelSpec(), "width": 128}, "expected one ModelSpec or options by name, received .* and width"),
        ({"spec": "concat"}, "build: expected spec to be a ModelSpec, received 'concat'"),
    ],
)
def test_arguments_of_build(arguments, message):
    with pytest.raises(InputError, match=message):
        mk.build(contracts.small_schema(), **arguments)


def test_arguments_of_a_spec():
    with pytest.raises(InputError, match="ModelSpec: unknown argument 'widht'; did you mean 'width'"):
        mk.ModelSpec(widht=4)
    with pytest.raises(InputError, match="ModelSpec: unknown argument 'widht'; did you mean 'width'"):
        replace(mk.ModelSpec(), widht=4)
    with pytest.raises(InputError, match="ModelSpec: unknown argument 'widht'; did you mean 'width'"):
        mk.ModelSpec.from_json('{"widht": 4}')
