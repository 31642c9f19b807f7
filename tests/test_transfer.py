import contracts
import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.schema import Category, Image, Labels, Number, Schema, Tabular, Text

ANSWER = {"answer": Category(classes=["x", "y"])}
PICTURE = Image(8, 8, 1)
NUMBER = Number(mean=0.0, std=1.0)


def values(part):
    return {weight.path: weight.numpy() for weight in part.weights}


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.fixture
def pair():
    """A model of a picture alone, and one of a picture and a sentence."""
    keras.utils.set_random_seed(0)
    both = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    single = Schema({"image": PICTURE}, {"digit": Category(classes=list("0123"))})
    return mk.build(single, width=8), mk.build(both, width=8)


def test_a_tower_moves_and_nothing_else(pair):
    source, target = pair
    before = {name: target.get_layer(name).get_weights() for name in ("words_tower", "body")}
    table = mk.transfer_weights(source, target, towers=["image"])
    assert same(source.get_layer("image_tower"), target.get_layer("image_tower"))
    for name, weights in before.items():
        assert all(map(np.array_equal, weights, target.get_layer(name).get_weights()))
    assert table["moved"].all()
    assert set(table["part"]) == {"image_tower"}
    assert list(table["weight"]) == ["conv0/kernel", "conv0/bias", "dense/kernel", "dense/bias"]
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(source.get_layer("image_tower")(pictures), target.get_layer("image_tower")(pictures))


def test_into_an_input_of_another_name(pair):
    source, _ = pair
    target = mk.build(Schema({"left": PICTURE, "right": PICTURE}, ANSWER), width=8)
    for name in ("left", "right"):
        assert mk.transfer_weights(source, target, towers={"image": name})["moved"].all()
        assert same(source.get_layer("image_tower"), target.get_layer(f"{name}_tower"))


def test_what_does_not_fit_stays_and_is_told(pair):
    source, _ = pair
    wide = {"kind": "conv", "filters": 32, "depth": 2}
    target = mk.build(Schema({"image": PICTURE}, ANSWER), towers={"image": wide}, width=8)
    before = values(target.get_layer("image_tower"))
    table = mk.transfer_weights(source, target).set_index("weight")
    assert table.loc["conv0/kernel", "moved"]
    assert table.loc["conv1/kernel", "reason"] == "no such weight in the source"
    assert table.loc["dense/kernel", "reason"] == "of the shape (512, 8) in the source"
    after = values(target.get_layer("image_tower"))
    for name in table.index[~table["moved"]]:
        np.testing.assert_array_equal(before[f"image_{name}"], after[f"image_{name}"])


def test_words_move_to_their_own_rows():
    schemas = [
        Schema({name: Text(3, vocabulary=list(words))}, ANSWER) for name, words in (("q", "abc"), ("text", "cxa"))
    ]
    models = [mk.build(schema, towers={name: "bag"}, width=4) for schema in schemas for name in schema.inputs]
    old = models[0].get_layer("q_tower").get_layer("q_embedding").embeddings.numpy()
    fresh = models[1].get_layer("text_tower").get_layer("text_embedding").embeddings.numpy()
    table = mk.transfer_weights(*models, towers={"q": "text"}, schemas=schemas)
    new = models[1].get_layer("text_tower").get_layer("text_embedding").embeddings.numpy()
    np.testing.assert_array_equal(new, [old[0], old[1], old[4], fresh[3], old[2]])  # padding, unknown, c, x, a
    assert table.set_index("weight").loc["embedding/embeddings", "reason"] == "4 of 5 rows"
    with pytest.raises(InputError, match=r"text: embedding/embeddings has a row for each word .* schemas="):
        mk.transfer_weights(*models, towers={"q": "text"})


def test_the_body_moves_too():
    schema = Schema({"image": PICTURE}, ANSWER)
    source, target = mk.build(schema, width=8), mk.build(schema, width=8)
    table = mk.transfer_weights(source, target, body=True, schemas=(schema, schema))
    assert table["moved"].all()
    assert {"image_tower", "body"} == set(table["part"])
    assert same(source, target)


def test_heads_of_other_classes_stay():
    given, taken = (
        Schema(
            {"image": PICTURE},
            {"is_frozen": Category(classes=kinds), "kind": Category(classes=kinds, reads="image"), "n": NUMBER},
        )
        for kinds in (["a", "b"], ["b", "a"])
    )
    source, target = (mk.build(schema, width=4, fusion="late") for schema in (given, taken))
    before = values(target.get_layer("body"))
    table = mk.transfer_weights(source, target, body=True, schemas=(given, taken)).set_index("weight")
    tasks = ("kind", "kind_token", "is_frozen_decision_of_image", "is_frozen_decision_of_kind", "is_frozen")
    stayed = list(table.index[~table["moved"]])
    assert {name.split("/")[0] for name in stayed} == set(tasks)
    assert set(table.loc[stayed, "reason"]) == {"of other classes in the source"}
    after, old = values(target.get_layer("body")), values(source.get_layer("body"))
    for name in after:
        np.testing.assert_array_equal(after[name], (before if name in stayed else old)[name])


@pytest.mark.parametrize("fusion", ["gated", "late", "cross_attention"])
def test_a_body_that_has_moved_answers_the_same(fusion):
    targets = {**ANSWER, "is_frozen": Category(["x", "y"], reads="a")}
    schemas = [Schema({"a": PICTURE, "b": PICTURE}, {**targets, "more": more}) for more in (NUMBER, Number(2.0, 3.0))]
    models = [mk.build(schema, fusion=fusion, width=4, align={"kind": "mse", "dim": 3}) for schema in schemas]
    assert mk.transfer_weights(*models, body=True, schemas=schemas)["moved"].all()
    x = contracts.samples(schemas[0])
    source, target = (model.predict(x, verbose=0) for model in models)
    for name in targets:
        np.testing.assert_array_equal(source[name], target[name])


def test_a_body_takes_its_inputs_by_their_places(pair):
    schemas = [Schema(dict.fromkeys(names, PICTURE), ANSWER) for names in (("a", "b"), ("b", "a"))]
    models = [mk.build(schema, width=4) for schema in schemas]
    for towers in (None, {"a": "b", "b": "a"}):
        with pytest.raises(InputError, match=r"the same order, .* the source has a, b, the target b, a"):
            mk.transfer_weights(*models, towers, body=True, schemas=schemas)
    reading = [Schema(schemas[0].inputs, {**ANSWER, "d": Category(["x", "y"], reads=name)}) for name in "ab"]
    with pytest.raises(InputError, match=r"the source has a, b, d \(of a\), the target a, b, d \(of b\)"):
        mk.transfer_weights(*(mk.build(schema, width=4) for schema in reading), body=True, schemas=reading)
    with pytest.raises(InputError, match=r"expected schemas to be .* received None"):
        mk.transfer_weights(*models, body=True)
    with pytest.raises(InputError, match=r"expected each input of the target once, received \{'a': 'a', 'b': 'a'\}"):
        mk.transfer_weights(*models, {"a": "a", "b": "a"})
    raw = Schema(schemas[0].inputs, {"answer": Category()})
    with pytest.raises(InputError, match=r"transfer_weights needs a fitted schema, but .* of 'answer'"):
        mk.transfer_weights(*models, body=True, schemas=(raw, raw))


def test_schemas_of_other_models():
    schemas = [Schema({"q": Text(3, vocabulary=list(words))}, ANSWER) for words in ("abcd", "d")]
    models = [mk.build(schema, width=4) for schema in schemas]
    message = r"q_tower: embedding/embeddings: expected the schemas .* have 6 and 3 rows, received some of 3 and 6"
    with pytest.raises(InputError, match=message):
        mk.transfer_weights(*models, schemas=schemas[::-1])


def test_nothing_is_changed_by_a_transplant_that_fails():
    schemas = [Schema({"image": PICTURE, "q": Text(3, vocabulary=list(words))}, ANSWER) for words in ("ab", "ba")]
    source, target = (mk.build(schema, width=4) for schema in schemas)
    before = values(target)
    with pytest.raises(InputError, match="q: embedding/embeddings has a row for each word"):
        mk.transfer_weights(source, target)
    assert all(np.array_equal(before[name], after) for name, after in values(target).items())


def test_an_absent_token_moves_and_stands_still_with_its_tower():
    schema = Schema({"image": Image(8, 8, 1, optional=True), "other": PICTURE}, ANSWER)
    source, target = (mk.build(schema, width=4) for _ in range(2))
    table = mk.transfer_weights(source, target, ["image"])
    assert list(table["part"]) == 4 * ["image_tower"] + ["image_missing"]
    assert table["moved"].all()
    assert same(source.get_layer("image_missing"), target.get_layer("image_missing"))
    mk.freeze(target, ["image"])
    assert not target.get_layer("image_missing").trainable_weights
    mk.freeze(target, ["image"], frozen=False)
    assert len(target.get_layer("image_missing").trainable_weights) == 1
    factors = mk.learning_rate_multipliers(keras.optimizers.SGD(), target, {"image": 0.1}).factors
    assert factors["image_missing/token"] == 0.1
    always = mk.build(Schema({"image": PICTURE}, ANSWER), width=4)
    row = mk.transfer_weights(always, target, ["image"]).iloc[-1]
    assert (row["part"], row["moved"], row["reason"]) == ("image_missing", False, "no such weight in the source")


@pytest.mark.parametrize("kind", ["mlp", "feature_tokens"])
def test_words_of_a_table_move_to_their_own_rows(kind):
    def schema(*vocabularies, columns=("colour", "form")):
        numbers = {"numeric": ["n"], "means": [0.0], "std": [1.0]}
        return Schema({"table": Tabular(categorical=columns, vocabularies=vocabularies, **numbers)}, ANSWER)

    schemas = schema(["red", "blue"], ["round", "red"]), schema(["blue", "green"], ["red"])
    models = [mk.build(one, towers={"table": kind}, width=8) for one in schemas]
    old, fresh = map(tables, models)
    report = mk.transfer_weights(*models, schemas=schemas)
    expected = [*old[[0, 1, 3]], fresh[3], *old[[4, 5, 7]]]  # hole, unknown, blue, green; hole, unknown, red
    np.testing.assert_array_equal(tables(models[1]), expected)
    assert report["moved"].all()
    other = schema(["red"], ["round"], columns=("form", "colour"))
    with pytest.raises(InputError, match=r"expected the columns of the source in their order, .*'colour', 'form'"):
        mk.transfer_weights(models[0], mk.build(other, towers={"table": kind}, width=8), schemas=(schemas[0], other))


def tables(model):
    """All rows of word vectors of a tower that reads a table."""
    layers = model.get_layer("table_tower").layers
    return np.concatenate([layer.embeddings for layer in layers if isinstance(layer, keras.layers.Embedding)])


def test_a_text_model_of_another_vocabulary():
    ids = keras.Input((3,), dtype="int32", name="ids")
    place = keras.ops.cumsum(keras.ops.ones_like(ids), axis=1)
    x = keras.layers.Embedding(9, 4, name="lookup")(ids) + keras.layers.Embedding(9, 4, name="embedding")(place)
    backbone = keras.Model(ids, x)
    schemas = [Schema({"q": Text(3, vocabulary=list(words))}, ANSWER) for words in ("ab", "ab", "ba")]
    models = [mk.build(one, towers={"q": mk.towers.from_model(backbone)}, width=4) for one in schemas]
    assert mk.transfer_weights(models[0], models[1], schemas=schemas[:2])["moved"].all()
    with pytest.raises(InputError, match="q: expected the source's vocabulary"):
        mk.transfer_weights(models[0], models[2], schemas=schemas[::2])
    with pytest.raises(InputError, match="q: its model has a row for each word of a vocabulary"):
        mk.transfer_weights(models[0], models[1])


def test_word_vectors_that_are_held_still_stay_so(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("a 1 2\nb 3 4\n")
    schema = Schema({"q": Text(3, vocabulary=["a", "b"])}, ANSWER)
    held, free = (
        mk.build(schema, towers={"q": {"kind": "bag", "vectors": str(path), "train_vectors": train}}, width=4)
        for train in (False, True)
    )
    mk.freeze(held, ["q"])
    mk.freeze(held, ["q"], frozen=False)
    held.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    mk.freeze(again, ["q"], frozen=False)
    for model in (held, again):
        [still] = model.get_layer("q_tower").non_trainable_weights
        np.testing.assert_array_equal(still[2:], [[1, 2], [3, 4]])
        assert mk.transfer_weights(model, free, schemas=(schema, schema))["moved"].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"towers": ["imag"]}, "the source: unknown part 'imag'; did you mean 'image'"),
        ({"towers": {"image": "word"}}, "the target: unknown part 'word'; did you mean 'words'"),
        ({"towers": "image"}, "expected towers to be a list of inputs, received 'image'"),
        ({"schemas": 3}, "expected schemas to be the source's and the target's Schema, received 3"),
        ({"towers": []}, "none of 0 weights could be moved"),
    ],
)
def test_what_cannot_be_moved(pair, options, message):
    with pytest.raises(InputError, match=message):
        mk.transfer_weights(*pair, **options)


def batch():
    random = np.random.default_rng(0)
    x = {"image": random.integers(0, 256, (8, 8, 8, 1), np.uint8), "words": random.integers(0, 4, (8, 3), np.int32)}
    return tf.data.Dataset.from_tensors((x, random.integers(0, 2, 8)))


def test_frozen_parts_are_not_trained(pair):
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    model.compile(keras.optimizers.Adam(0.1), **mk.compile_args(schema))
    counts = mk.freeze(model, ["image", "body"])
    parts = {name: model.get_layer(name).get_weights() for name in ("image_tower", "words_tower", "body")}
    assert counts["frozen"] == sum(w.size for name in ("image_tower", "body") for w in parts[name])
    assert counts["trainable"] == sum(w.size for w in parts["words_tower"])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    model.fit(batch(), shuffle=False, verbose=0)
    changed = {
        name: not all(map(np.array_equal, weights, model.get_layer(name).get_weights()))
        for name, weights in parts.items()
    }
    assert changed == {"image_tower": False, "words_tower": True, "body": False}

    assert mk.freeze(model, ["image"], frozen=False)["frozen"] == sum(w.size for w in parts["body"])
    model.fit(batch(), shuffle=False, verbose=0)
    assert not same_as(model.get_layer("image_tower"), parts["image_tower"])
    assert same_as(model.get_layer("body"), parts["body"])


def same_as(part, weights):
    return all(map(np.array_equal, weights, part.get_weights()))


def test_batch_normalisation_stands_still_while_frozen():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.BatchNormalization()])
    schema = Schema({"image": PICTURE}, ANSWER)
    model = mk.build(schema, towers={"image": mk.towers.from_model(backbone, trainable=True)}, width=4)
    model.compile("adam", **mk.compile_args(schema))
    mk.freeze(model, ["image"])
    before = model.get_layer("image_tower").get_weights()
    pictures = np.full((8, 8, 8, 1), 200, np.uint8)
    model.fit(pictures, np.zeros(8), verbose=0)
    assert same_as(model.get_layer("image_tower"), before)
    mk.freeze(model, ["image"], frozen=False)
    model.fit(pictures, np.zeros(8), verbose=0)
    assert not same_as(model.get_layer("image_tower"), before)


def test_a_backbone_that_is_used_as_it_is_stays_frozen():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    model = mk.build(Schema({"image": PICTURE}, ANSWER), towers={"image": mk.towers.from_model(backbone)}, width=4)
    frozen = [w.path for w in model.non_trainable_weights]
    mk.freeze(model, ["image"])
    mk.freeze(model, ["image"], frozen=False)
    assert [w.path for w in model.non_trainable_weights] == frozen


def test_a_loss_that_keras_cannot_make_again(pair):
    _, model = pair
    model.compile("adam", loss=lambda truth, answer: keras.ops.mean(answer))
    optimizer = model.optimizer
    with pytest.raises(InputError, match=r"cannot compile the model again .*: freeze before compile"):
        mk.freeze(model, ["image"])
    assert model.optimizer is optimizer
    assert model.get_layer("image_tower").trainable


def test_heads_with_options_can_be_compiled_again(pair):
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    tasks = {"answer": {"kind": "softmax", "focal": 2.0, "label_smoothing": 0.1}}
    model.compile("adam", **mk.compile_args(schema, tasks))
    mk.freeze(model, ["image"])
    model.fit(batch(), shuffle=False, verbose=0)


@pytest.mark.parametrize(
    ("parts", "message"),
    [("image", "expected parts to be a list"), (["imag"], "unknown part 'imag'; did you mean 'image'")],
)
def test_parts_that_cannot_be_frozen(pair, parts, message):
    with pytest.raises(InputError, match=message):
        mk.freeze(pair[1], parts)


def test_a_rate_for_each_part(pair):
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    optimizer = mk.learning_rate_multipliers(keras.optimizers.SGD(0.5), model, {"image": 0.1, "body": 2})
    model.compile(optimizer, **mk.compile_args(schema))
    before = model.get_weights()
    model.fit(batch(), shuffle=False, verbose=0)
    steps = [new - old for new, old in zip(model.get_weights(), before, strict=True)]

    model.set_weights(before)
    model.compile(keras.optimizers.SGD(0.5), **mk.compile_args(schema))
    model.fit(batch(), shuffle=False, verbose=0)
    factors = {
        id(w): factor for part, factor in (("image_tower", 0.1), ("body", 2)) for w in model.get_layer(part).weights
    }
    for weight, old, step in zip(model.weights, before, steps, strict=True):
        expected = (weight.numpy() - old) * factors.get(id(weight), 1)
        np.testing.assert_allclose(step, expected, rtol=1e-3, atol=1e-7, err_msg=weight.path)


def test_rates_stay_with_a_saved_and_a_frozen_model(pair, tmp_path):
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 10)
    model.compile(
        mk.learning_rate_multipliers(keras.optimizers.AdamW(schedule), model, {"image": 0.1}), **mk.compile_args(schema)
    )
    factors = model.optimizer.factors
    assert set(factors.values()) == {0.1}
    assert len(factors) == 4
    mk.freeze(model, ["image"])
    assert model.optimizer.factors == factors
    model.fit(batch(), shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert again.factors == factors
    assert isinstance(again, keras.optimizers.AdamW)


@pytest.mark.parametrize(
    ("optimizer", "rates", "message"),
    [
        ("adam", {"image": 1}, "expected an optimizer of keras.optimizers, received 'adam'"),
        (keras.optimizers.Adam(), {"imag": 1}, "unknown part 'imag'; did you mean 'image'"),
        (keras.optimizers.Adam(), {"image": 0}, "the factor of 'image' to be a number above 0, received 0"),
    ],
)
def test_rates_that_cannot_be(pair, optimizer, rates, message):
    with pytest.raises(InputError, match=message):
        mk.learning_rate_multipliers(optimizer, pair[1], rates)


def test_two_towers_over_one_backbone_have_one_rate():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="stem")])
    both = Schema({"left": PICTURE, "right": PICTURE}, ANSWER)
    towers = {name: mk.towers.from_model(keras.models.clone_model(backbone), trainable=True) for name in both.inputs}
    model = mk.build(both, towers=towers, width=4)
    with pytest.raises(InputError, match=r"'stem/kernel' is the path of weights with the factors 0\.1 and 1\.0"):
        mk.learning_rate_multipliers(keras.optimizers.SGD(), model, {"left": 0.1})
    assert (
        mk.learning_rate_multipliers(keras.optimizers.SGD(), model, {"left": 0.1, "right": 0.1}).factors["stem/kernel"]
        == 0.1
    )


def test_freezing_under_a_scaled_loss(pair):
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), **mk.compile_args(schema))
    mk.freeze(model, ["image"])
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not model.get_layer("image_tower").trainable_weights


def test_what_does_not_decay_stays_so(pair):
    """`exclude_from_weight_decay` is in no optimizer's config."""
    _, model = pair
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    kernel, bias = model.get_layer("image_tower").get_layer("image_dense").weights
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(mk.learning_rate_multipliers(optimizer, model, {"image": 0.1}), **mk.compile_args(schema))
    for _ in range(2):
        assert [model.optimizer._use_weight_decay(weight) for weight in (kernel, bias)] == [True, False]
        mk.freeze(model, ["words"])


def test_loss_weights_are_learned_on_after_freezing():
    targets = {**ANSWER, "digit": Category(classes=list("0123"))}
    schema, tasks = (
        Schema({"image": PICTURE}, targets),
        {name: {"kind": "softmax", "weight": "learned"} for name in targets},
    )
    model = mk.build(schema, width=4, tasks=tasks)
    model.compile(keras.optimizers.SGD(0.1), **mk.compile_args(schema, tasks, model))
    mk.freeze(model, ["image"])
    learned = [model.get_layer("body").get_layer(f"{name}_loss_weight").log_variance for name in targets]
    x, y = {"image": np.zeros((4, 8, 8, 1), np.uint8)}, {name: np.zeros(4, "int32") for name in targets}
    for frozen in (False, True):
        before = [float(s) for s in learned]
        model.fit(x, y, epochs=3, verbose=0)
        assert all((float(s) == old) == frozen for s, old in zip(learned, before, strict=True))
        mk.freeze(model, ["body"])
    mk.freeze(model, ["body"], frozen=False)
    model.fit(x, y, verbose=0)
    assert all(float(s) != old for s, old in zip(learned, before, strict=True))


def test_where_weights_came_from(pair, tmp_path):
    source, target = pair
    first = mk.build(Schema({"image": PICTURE}, ANSWER), width=8)
    mk.transfer_weights(first, source, origin="drawings")
    mk.transfer_weights(source, target, towers=["image"], origin="digits, 100 rows")
    [entry] = mk.weight_history(target)
    assert entry["from"] == "digits, 100 rows"
    assert entry["weights"] == {"image_tower": "4 of 4"}
    assert [earlier["from"] for earlier in entry["before"]] == ["drawings"]
    assert mk.weight_history(first) == []
    schema = Schema({"image": PICTURE, "words": Text(3, vocabulary=["a", "b"])}, ANSWER)
    version = mk.export(target, schema, tmp_path / "model")
    card = (version / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "- from digits, 100 rows: image_tower (4 of 4 weights)\n  - from drawings: image_tower (4 of 4" in card


def test_a_shared_space_moves_to_where_there_are_heads_and_back():
    inputs, align = {"left": PICTURE, "right": PICTURE}, {"kind": "contrastive", "dim": 3}
    alone, headed = Schema(inputs, {}), Schema(inputs, ANSWER)
    models = [mk.build(schema, width=4, align=align) for schema in (alone, headed)]
    for source, target, schemas in ((*models, (alone, headed)), (*models[::-1], (headed, alone))):
        models[0].get_layer("alignment").set_weights([w + 1 for w in models[0].get_layer("alignment").get_weights()])
        assert not same(*(model.get_layer("alignment") for model in models))
        table = mk.transfer_weights(source, target, body=True, schemas=schemas)
        assert same(*(model.get_layer("alignment") for model in models))
        stayed = table[~table["moved"]]
        assert set(stayed["part"]) == ({"body"} if target is models[1] else set())
        assert set(stayed["reason"]) <= {"no such weight in the source"}
    plain = mk.build(headed, width=4)
    with pytest.raises(
        InputError, match=r"a body, or two with a shared space .*; the source has the parts left; right;"
    ):
        mk.transfer_weights(models[0], plain, body=True, schemas=(alone, headed))


def test_classes_alone_do_not_make_a_head_the_same():
    """Probabilities that exclude each other, and those that do not."""
    one, several = (Schema({"image": PICTURE}, {"y": kind(classes=["a", "b"])}) for kind in (Category, Labels))
    table = mk.transfer_weights(mk.build(one), mk.build(several), body=True, schemas=(one, several))
    assert set(table[table["weight"].str.startswith("y/")]["reason"]) == {"of other classes in the source"}


def test_parts_that_are_no_towers(pair):
    for towers in (["body"], {"image": "body"}, ["alignment"]):
        with pytest.raises(
            InputError, match=r"expected towers to be inputs, received '.*', which moves with body=True"
        ):
            mk.transfer_weights(*pair, towers=towers)
    with pytest.raises(InputError, match=r"transfer_weights: expected source to be a keras.Model, received 'x.keras'"):
        mk.transfer_weights("x.keras", pair[1])


def test_the_shared_space_moves_with_the_body():
    both = Schema({"left": PICTURE, "right": PICTURE}, ANSWER)
    source, target = (mk.build(both, width=4, align={"kind": "contrastive", "dim": 3}) for _ in range(2))
    assert not mk.transfer_weights(source, target)["part"].eq("alignment").any()
    assert mk.transfer_weights(source, target, body=True, schemas=(both, both))["moved"].all()
    assert same(source, target)
    mk.freeze(target, ["alignment"])
    assert not target.get_layer("alignment").trainable_weights
