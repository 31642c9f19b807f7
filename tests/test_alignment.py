import keras
import numpy as np
import pytest
import tensorflow as tf
from contracts import sample
from keras import ops

import mmkeras as mk
from mmkeras.alignment import ALIGNMENTS, encoder
from mmkeras.errors import InputError
from mmkeras.layers.alignment import (
    Adversarial,
    Contrastive,
    Divergence,
    MeanSquared,
    SharedPrivate,
    SigLIP,
    reverse_gradient,
)
from mmkeras.schema import Category, Image, Schema, Series, Text

LABEL = {"label": Category(classes=["a", "b"])}
every_kind = pytest.mark.parametrize("kind", sorted(ALIGNMENTS))


@pytest.fixture(autouse=True)
def same_weights():
    """The same first weights in every run: of small towers some give zeros for a row."""
    keras.utils.set_random_seed(0)


def unit(rows, space=3, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, space)).astype("float32")
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def loss_of(layer, vectors, present=None):
    """The loss of a call, and what the call gives."""
    rows = len(vectors[0])
    present = [np.ones(rows, bool)] * 2 if present is None else present
    given = layer([ops.convert_to_tensor(x) for x in vectors], [ops.convert_to_tensor(there) for there in present])
    return float(layer.losses[0]), given


# by hand ------------------------------------------------------------------------------------------------------------


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def clip(a, b, scale):
    rows, columns = log_softmax(scale * a @ b.T), log_softmax(scale * b @ a.T)
    return -(np.diag(rows).mean() + np.diag(columns).mean()) / 2


def siglip(a, b):
    z = 2 * np.eye(len(a)) - 1
    return -np.log(1 / (1 + np.exp(-z * (10 * a @ b.T - 10)))).sum() / len(a)


def divergence(a, b, temperature):
    p, q = log_softmax(a / temperature), log_softmax(b / temperature)
    return ((np.exp(p) * (p - q)).sum(axis=1) + (np.exp(q) * (q - p)).sum(axis=1)).mean() / 2


BY_HAND = {
    "contrastive": (lambda: Contrastive(temperature=0.5), lambda a, b: clip(a, b, 2.0)),
    "siglip": (SigLIP, siglip),
    "mse": (MeanSquared, lambda a, b: ((a - b) ** 2).sum(axis=1).mean()),
    "kl": (lambda: Divergence(temperature=0.5), lambda a, b: divergence(a, b, 0.5)),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_losses_of_pairs_by_hand(kind):
    make, expected = BY_HAND[kind]
    a, b, c = unit(4), unit(4, seed=1), unit(4, seed=2)
    loss, given = loss_of(make(), [a, b])
    assert loss == pytest.approx(expected(a, b), rel=1e-5)
    np.testing.assert_array_equal(given[1], b)
    three = [np.ones(4, bool)] * 3
    pairs = [expected(a, b), expected(a, c), expected(b, c)]
    assert loss_of(make(), [a, b, c], three)[0] == pytest.approx(np.mean(pairs), rel=1e-5)


def test_a_scale_beyond_100_is_held():
    layer, x = Contrastive(temperature=0.01), tf.eye(4)  # perfect pairs: a larger scale were better still
    optimizer = keras.optimizers.SGD(1e6)
    with tf.GradientTape() as tape:
        layer([x, x + 0.1], [tf.ones(4, tf.bool)] * 2)
        loss = layer.losses[0]
    optimizer.apply([tape.gradient(loss, layer.log_scale.value) - 1.0], [layer.log_scale])
    assert float(layer.log_scale) == pytest.approx(np.log(100.0))


@pytest.mark.parametrize("kind", [*BY_HAND, "adversarial"])
def test_absent_rows_change_nothing(kind):
    a, b = unit(5), unit(5, seed=1)
    there = [np.array([1, 1, 0, 1, 1], bool), np.array([1, 1, 1, 1, 0], bool)]
    make = BY_HAND[kind][0] if kind in BY_HAND else Adversarial
    keras.utils.set_random_seed(0)
    loss = loss_of(make(), [a, b], there)[0]
    junk = [a.copy(), b.copy()]
    junk[0][2], junk[1][4] = 7, -7
    keras.utils.set_random_seed(0)
    assert loss_of(make(), junk, there)[0] == pytest.approx(loss, rel=1e-6)
    if kind in BY_HAND:
        assert loss == pytest.approx(BY_HAND[kind][1](a[[0, 1, 3]], b[[0, 1, 3]]), rel=1e-5)
    nobody = [np.zeros(5, bool)] * 2
    assert loss_of(make(), [a, b], nobody)[0] == 0


def test_a_reversed_gradient():
    x = tf.Variable([1.0, -2.0])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(reverse_gradient(x, 3.0) * [5.0, 7.0])
    assert float(y) == pytest.approx(5 - 14)
    np.testing.assert_allclose(tape.gradient(y, x), [-15, -21])


def guess(x, right, weights):
    kernel0, bias0, kernel1, bias1 = weights
    return -(right * log_softmax(np.maximum(x @ kernel0 + bias0, 0) @ kernel1 + bias1)).sum(axis=1).mean()


@pytest.mark.parametrize("form", ["reversal", "generator"])
def test_adversarial_by_hand(form):
    layer = Adversarial(form=form, hidden=4, strength=0.5)
    a, b = tf.Variable(unit(3)), tf.Variable(unit(3, seed=1))
    with tf.GradientTape(persistent=True) as tape:
        layer([a, b], [tf.ones(3, tf.bool)] * 2)
        loss = layer.losses[0]
    weights, x = layer.get_weights(), np.concatenate([a.numpy(), b.numpy()])
    right = np.repeat(np.eye(2), 3, axis=0)
    judged = guess(x, right, weights)
    expected = judged if form == "reversal" else judged + 0.5 * guess(x, 1 - right, weights)
    assert float(loss) == pytest.approx(expected, rel=1e-5)

    # the discriminator goes down its own loss alone; the towers go against it
    own = tf.Variable(x)
    with tf.GradientTape(persistent=True) as plain:
        hidden = tf.nn.relu(own @ layer.discriminator[0] + layer.discriminator[1])
        logits = tf.nn.log_softmax(hidden @ layer.discriminator[2] + layer.discriminator[3])
        judged = -tf.reduce_mean(tf.reduce_sum(right * logits, axis=1))
        deceived = -tf.reduce_mean(tf.reduce_sum((1 - right) * logits, axis=1))
    for weight in layer.trainable_weights:
        np.testing.assert_allclose(
            tape.gradient(loss, weight.value), plain.gradient(judged, weight.value), rtol=1e-4, atol=1e-7
        )
    towers = -0.5 * plain.gradient(judged, own) if form == "reversal" else 0.5 * plain.gradient(deceived, own)
    received = np.concatenate([tape.gradient(loss, a), tape.gradient(loss, b)])
    np.testing.assert_allclose(received, towers, rtol=1e-4, atol=1e-7)


def test_a_generator_among_three_deceives_for_each_other_alike():
    layer, vectors = Adversarial(form="generator", hidden=4), [unit(3, seed=seed) for seed in range(3)]
    loss, _ = loss_of(layer, vectors, [np.ones(3, bool)] * 3)
    right, x, weights = np.repeat(np.eye(3), 3, axis=0), np.concatenate(vectors), layer.get_weights()
    assert loss == pytest.approx(guess(x, right, weights) + guess(x, (1 - right) / 2, weights), rel=1e-5)


def moments(a, b):
    total = np.linalg.norm(a.mean(0) - b.mean(0))
    for k in range(2, 6):
        total += np.linalg.norm(((a - a.mean(0)) ** k).mean(0) - ((b - b.mean(0)) ** k).mean(0))
    return total


def overlap(a, b):
    a, b = (x - x.mean(0) for x in (a, b))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return ((a.T @ b) ** 2).mean()


def test_shared_and_private_by_hand():
    s1, s2, p1, p2, h1, h2, r1, r2 = vectors = [np.abs(unit(5, seed=seed)) for seed in range(8)]
    layer = SharedPrivate(similarity=2.0, difference=3.0, reconstruction=5.0, weight=0.5)
    loss, given = loss_of(layer, vectors)
    expected = 2 * moments(s1, s2) + 3 * (overlap(s1, p1) + overlap(s2, p2) + overlap(p1, p2))
    expected += 5 * (((h1 - r1) ** 2).mean() + ((h2 - r2) ** 2).mean()) / 2
    assert loss == pytest.approx(0.5 * expected, rel=1e-4)
    assert len(given) == 2
    np.testing.assert_array_equal(given[0], s1)

    there = [np.array([1, 1, 1, 1, 0], bool)] * 2
    junk = [x.copy() for x in vectors]
    for x in junk:
        x[4] = 9
    assert loss_of(layer, junk, there)[0] == pytest.approx(loss_of(layer, [x[:4] for x in vectors])[0], rel=1e-4)


def test_shared_and_private_of_three_by_hand():
    shared, private, hidden, rebuilt = ([np.abs(unit(5, seed=4 * i + j)) for i in range(3)] for j in range(4))
    loss, _ = loss_of(SharedPrivate(), [*shared, *private, *hidden, *rebuilt], [np.ones(5, bool)] * 3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([moments(shared[i], shared[j]) for i, j in pairs])
    expected += 0.3 * sum(overlap(s, p) for s, p in zip(shared, private, strict=True))
    expected += 0.3 * sum(overlap(private[i], private[j]) for i, j in pairs)
    expected += np.mean([((h - r) ** 2).mean() for h, r in zip(hidden, rebuilt, strict=True)])
    assert loss == pytest.approx(expected, rel=1e-4)


# models -------------------------------------------------------------------------------------------------------------

TOWERS = {"words": {"kind": "conv1d", "tokens": "all"}}  # tokens with a mask


def schema(optional=False, targets=LABEL):
    trace = Series(10, 2, means=[0, 0], std=[1, 1], optional=optional)
    inputs = {"image": Image(8, 8, 1, shared=True, optional=optional), "trace": trace}
    return Schema({**inputs, "words": Text(4, vocabulary=["a", "b"])}, targets)


def rows_of(given, rows=6):
    x = {}
    for name, feature in given.inputs.items():
        values = sample(feature, rows)
        x |= {name: values[0], f"{name}_length": values[1]} if feature.padded else {name: values}
        if feature.optional:
            x[f"{name}_present"] = np.arange(rows) != 2
    return x


@every_kind
def test_a_term_beside_a_head(kind):
    given = schema(optional=True)
    keras.utils.set_random_seed(0)
    model = mk.build(given, width=8, align={"kind": kind, "dim": 5, "weight": 0.5})
    x = rows_of(given)
    with tf.GradientTape() as tape:
        answers = model(x)
        term = tf.add_n(model.losses)
        loss = term - tf.reduce_mean(tf.math.log(answers[:, 0]))
    assert float(term) > 1e-3
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path
    junk = {**x, "image": np.where(np.arange(6)[:, None, None, None] == 2, 200, x["image"])}
    model(junk)
    assert float(tf.add_n(model.losses)) == pytest.approx(float(term), rel=1e-5)


@every_kind
def test_a_space_alone(kind, tmp_path):
    given = schema(targets={})
    model = mk.build(given, width=8, towers=TOWERS, align={"kind": kind, "dim": 5})
    x = rows_of(given)
    vectors = model(x)
    assert list(vectors) == ["image", "trace", "words"]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for name, rows in vectors.items():
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        for part in (encoder(model, given, name), encoder(again, given, name)):
            assert [tensor.name for tensor in part.inputs] == [
                key for key in given.model_inputs if key.startswith(name)
            ]
            np.testing.assert_allclose(part({key.name: x[key.name] for key in part.inputs}), rows, atol=1e-5)


def test_through_the_space():
    given = schema()
    model = mk.build(given, width=8, towers=TOWERS, align={"kind": "mse", "dim": 5, "through": True})
    tokens = model.get_layer("alignment").output["tokens"]
    assert [part.shape[1:] for [part] in tokens.values()] == [(1, 5)] * 3
    x = rows_of(given)
    [received] = [layer for layer in model.get_layer("body").inputs if layer.name == "image_tokens"]
    assert received.shape[1:] == (1, 5)
    before = model(x)
    model.get_layer("alignment").get_layer("image_projection").set_weights([np.zeros((8, 5)), np.ones(5)])
    other = {**x, "image": 255 - x["image"]}
    np.testing.assert_array_equal(model(x), model(other))  # the picture reaches the heads through its vector alone
    assert not np.array_equal(model(x), before)


def test_training_brings_pairs_together():
    given = schema(targets={})
    given = Schema({name: given.inputs[name] for name in ("image", "trace")}, {})
    keras.utils.set_random_seed(0)
    model = mk.build(given, width=16, align={"kind": "contrastive", "dim": 8})
    model.compile(keras.optimizers.Adam(0.01))
    random, rows = np.random.default_rng(0), 12  # each row's picture has a brightness, its trace a level, of its own
    level = np.linspace(0, 1, rows)
    images = (255 * level[:, None, None, None] * random.uniform(size=(1, 8, 8, 1))).astype("uint8")
    traces = np.tile((2 * level - 1)[:, None, None], (1, 10, 2)).astype("float32")
    x = {"image": images, "trace": traces, "trace_length": np.full(rows, 10, "int32")}
    losses = model.fit(x, epochs=60, verbose=0, batch_size=rows).history["loss"]
    assert losses[-1] < losses[0] / 2
    vectors = model.predict(x, verbose=0)
    found = (vectors["image"] @ vectors["trace"].T).argmax(axis=1)
    assert (found == np.arange(rows)).mean() > 0.5


def test_pictures_that_rows_share():
    given = schema()
    model = mk.build(given, width=8, align="contrastive")
    view = mk.deduplicated_model(model, given, "image")
    x = rows_of(given)
    both = {**x, "image_index": np.array([0, 1, 1, 0, 0, 1], "int32"), "image": x["image"][:2]}
    whole = {**x, "image": both["image"][both["image_index"]]}
    answers = [model(whole), view([both[key] for key in given.deduplicated_inputs("image")])]
    np.testing.assert_allclose(*answers, atol=1e-6)
    assert float(view.losses[0]) == pytest.approx(float(model.losses[0]), rel=1e-5)


def test_evaluation_and_export(tmp_path):
    import pandas as pd

    given = Schema({"words": Text(3, vocabulary=["a", "b"]), "more": Text(3, vocabulary=["c"])}, LABEL)
    table = pd.DataFrame(
        {"words": ["a", "b", "a b", "b"], "more": ["c", "c c", "", "c"], "label": ["a", "b", "a", "b"]}
    )
    table["more"] = ["c", "c c", "c c c", "c"]
    records = mk.read(table, given)
    model = mk.build(given, width=4, align="misa", fusion="attention", towers={"words": "bag", "more": "bag"})
    model.compile("adam", **mk.compile_args(given))
    found = mk.evaluate(model, records)
    assert len(found.subsets) == 4
    mk.export(model, given, tmp_path / "model", records=records)
    served = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures["serving_default"]
    answers = served(words=tf.constant(["a", "b"]), more=tf.constant(["c", "c c"]))["probabilities"]
    np.testing.assert_allclose(answers, model.predict(mk.batches(records, 4), verbose=0)[:2], atol=1e-5)


def test_bfloat16():
    given = schema(optional=True)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for kind in ALIGNMENTS:
            model = mk.build(given, width=8, align={"kind": kind, "dim": 4})
            model(rows_of(given))
            assert np.isfinite(float(model.losses[0]))
            assert model.losses[0].dtype == tf.float32
            assert encoder(model, given, "image").output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("align", "message"),
    [
        ("contrastiv", "unknown alignment 'contrastiv'; did you mean 'contrastive'"),
        ({"kind": "mse", "temperature": 1}, "unknown option of alignment 'mse': 'temperature'"),
        (
            {"dim": 3},
            "alignment: expected a 'kind', one of contrastive, siglip, mse, kl, adversarial, misa, received",
        ),
        ({"kind": "contrastive", "temperature": 0.005}, "Contrastive: expected temperature to be a number from 0.01"),
        ({"kind": "kl", "temperature": 0}, "Divergence: expected temperature to be a number above 0, received 0"),
        ({"kind": "siglip", "weight": -1}, "SigLIP: expected weight to be a number above 0, received -1"),
        ({"kind": "contrastive", "dim": 0}, "'contrastive': expected dim to be a whole number above 0, received 0"),
        (
            {"kind": "adversarial", "form": "gan"},
            "Adversarial: unknown value of form 'gan'; Known: generator, reversal",
        ),
        ({"kind": "adversarial", "hidden": 0}, "expected hidden to be a whole number above 0, received 0"),
        ({"kind": "kl", "through": 1}, "alignment 'kl': expected through to be True or False, received 1"),
        ({"kind": "misa", "through": False}, "alignment 'misa': expected through to be True, received False"),
        ({"kind": "misa", "difference": "x"}, "expected difference to be a number above 0, received 'x'"),
        ({"kind": keras.layers.Dense}, "unknown alignment <class .*Dense'>; Known: adversarial, "),
    ],
)
def test_refused(align, message):
    with pytest.raises(InputError, match=message):
        mk.build(schema(), width=4, align=align)


def test_what_has_no_space():
    given = schema()
    with pytest.raises(InputError, match="at least two inputs, received words"):
        mk.build(Schema({"words": given.inputs["words"]}, LABEL), align="mse")
    with pytest.raises(InputError, match=r"expected targets in the schema, or align=\.\.\."):
        mk.build(schema(targets={}))
    alone = schema(targets={})
    for options in ({"fusion": "gated"}, {"modality_dropout": 0.5}, {"align": {"kind": "mse", "through": True}}):
        (option,) = options
        with pytest.raises(InputError, match=f"expected no {option} that acts after the shared space"):
            mk.build(alone, width=4, **{"align": "mse", **options})
    with pytest.raises(InputError, match="compile_args: expected targets in the schema, received none"):
        mk.compile_args(alone)
    with pytest.raises(InputError, match="export: expected a schema with targets, received one without"):
        mk.export(mk.build(alone, width=4, align="mse"), alone, "nowhere")
    model = mk.build(given, width=4)
    with pytest.raises(InputError, match="received one without a shared space"):
        encoder(model, given, "image")
    with pytest.raises(InputError, match="encoder: unknown input 'imag'"):
        encoder(model, given, "imag")


def test_a_layer_of_ones_own():
    @mk.alignment.register("cosine")
    class Cosine(mk.alignment.Alignment):
        def pair(self, a, b, there):
            return ops.sum(there * (1 - ops.sum(a * b, axis=-1))) / ops.sum(there)

    try:
        model = mk.build(schema(targets={}), width=4, align="cosine")
        model(rows_of(schema()))
        assert 0 < float(model.losses[0]) < 2
        spec = mk.ModelSpec(align={"kind": "cosine", "dim": 3})
        assert mk.ModelSpec.from_json(spec.to_json()) == spec
    finally:
        del ALIGNMENTS["cosine"]
