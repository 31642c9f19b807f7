"""The missing token: what stands in the place of a modality that is not there."""

import contracts
import keras
import numpy as np
import pytest
from keras import ops

import mmkeras as mk
from mmkeras.layers import MissingToken, SinePositions

PRESENT = np.array([True, False, True, False, True])


def missing_model(tokens, masked):
    """MissingToken behind a dense layer: as in a model, a tower's weights lie in front of it."""
    values = keras.Input((tokens, 3), name="values")
    there = keras.Input((tokens,), dtype="bool", name="there") if masked else None
    present = keras.Input((), dtype="bool", name="present")
    x = keras.layers.Identity(name="tower")(values)
    found = MissingToken(name="image_missing")(x, there, present)
    return keras.Model([x for x in (values, there, present) if x is not None], found)


def given(tokens, masked, junk=0.0):
    values = np.random.default_rng(0).normal(size=(5, tokens, 3)).astype("float32")
    values[~PRESENT] = junk
    there = np.arange(tokens) < np.array([1, tokens, tokens, 0, 1])[:, None]
    return [values, there, PRESENT] if masked else [values, PRESENT]


every_form = pytest.mark.parametrize(("tokens", "masked"), [(1, False), (4, False), (4, True)])


@every_form
def test_the_token_stands_where_nothing_is_present(tokens, masked):
    model, x = missing_model(tokens, masked), given(tokens, masked)
    values, *mask = contracts.outputs(model, x)
    (token,) = model.get_layer("image_missing").get_weights()
    assert token.shape == (3,)
    assert token.any()
    np.testing.assert_array_equal(values[PRESENT], x[0][PRESENT])
    np.testing.assert_array_equal(values[~PRESENT, 0], [token, token])
    assert not values[~PRESENT, 1:].any()
    assert len(mask) == (tokens > 1), "expected a mask for several tokens, none for one"
    if mask:
        expected = x[1] if masked else np.ones((5, tokens), bool)
        np.testing.assert_array_equal(mask[0][PRESENT], expected[PRESENT])
        np.testing.assert_array_equal(mask[0][~PRESENT], np.array([[True] + [False] * (tokens - 1)] * 2))


@every_form
def test_shapes_and_dtypes_are_known_beforehand(tokens, masked):
    symbolic = keras.tree.flatten(missing_model(tokens, masked).outputs)
    found = contracts.outputs(missing_model(tokens, masked), given(tokens, masked))
    assert [(tuple(x.shape[1:]), x.dtype) for x in symbolic] == [(x.shape[1:], x.dtype.name) for x in found]
    there = (None, tokens) if masked else None
    shapes = MissingToken().compute_output_shape((None, tokens, 3), there, (None,))
    shapes = [shapes] if isinstance(shapes, tuple) else shapes
    assert shapes == [tuple(x.shape) for x in symbolic]


@every_form
@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_junk_in_absent_rows_reaches_nothing(tokens, masked, junk):
    tf = pytest.importorskip("tensorflow")
    model = missing_model(tokens, masked)

    def run(junk):
        values, *rest = map(tf.constant, given(tokens, masked, junk))
        token = model.get_layer("image_missing").token.value
        with tf.GradientTape() as tape:
            tape.watch(values)
            found = keras.tree.flatten(model([values, *rest]))[0]
            loss = ops.sum(ops.square(found - 1))
        return [found, *tape.gradient(loss, [values, token])]

    for dirty, clean in zip(run(junk), run(0.0), strict=True):
        np.testing.assert_array_equal(dirty, clean)
    assert not run(junk)[1].numpy()[~PRESENT].any(), "expected no gradient for what is missing"


@every_form
def test_round_trip_and_gradients(tokens, masked, tmp_path):
    model, x = missing_model(tokens, masked), given(tokens, masked)
    contracts.round_trip_is_equal(model, x, tmp_path / "missing.keras")
    contracts.order_of_the_batch_changes_nothing(model, x)
    contracts.gradients_reach_every_weight(model, x)
    layer = MissingToken(name="a")
    assert MissingToken.from_config(layer.get_config()).name == "a"
    assert keras.saving.get_registered_object("mmkeras>MissingToken") is MissingToken


OPTIONAL = contracts.small_schema(
    contracts.optional({name: contracts.FEATURES[name] for name in ("image", "audio", "trace", "table")})
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = mk.build(OPTIONAL, width=8)
    model.compile("sgd", **mk.compile_args(OPTIONAL))
    return model


def test_a_model_of_optional_inputs(model, tmp_path):
    x = contracts.samples(OPTIONAL, rows=16)
    assert [tensor.name for tensor in model.inputs] == list(OPTIONAL.model_inputs)
    assert all(model.get_layer(f"{name}_missing").count_params() == 8 for name in OPTIONAL.inputs)
    contracts.order_of_the_batch_changes_nothing(model, x)
    contracts.round_trip_is_equal(model, x, tmp_path / "model.keras")


def test_nan_in_absent_rows_reaches_no_weight(model):
    """Not even those of the towers in front of the missing tokens."""
    clean, dirty = (contracts.samples(OPTIONAL, rows=16) for _ in range(2))
    for name, feature in OPTIONAL.inputs.items():
        dirty[name][~dirty[f"{name}_present"]] = 255 if feature.dtype == "uint8" else np.nan
    y, start = np.arange(16) % 3, model.get_weights()
    ends = []
    for x in (clean, dirty):
        model.set_weights(start)
        history = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        ends.append([*model.get_weights(), history["loss"], model.predict(x, verbose=0)])
    for old, new in zip(*ends, strict=True):
        np.testing.assert_array_equal(new, old)


def test_absent_is_the_same_in_fit_evaluate_and_predict(model):
    """A step of no length tells the loss in training, before its update."""
    x, y = contracts.samples(OPTIONAL, rows=16), np.arange(16) % 3
    still = mk.build(OPTIONAL, width=8)
    still.set_weights(model.get_weights())
    still.compile(keras.optimizers.SGD(0.0), **mk.compile_args(OPTIONAL))
    trained = still.fit(x, y, batch_size=16, verbose=0).history["loss"][0]
    evaluated = still.evaluate(x, y, batch_size=4, return_dict=True, verbose=0)["loss"]
    chances = still.predict(x, batch_size=5, verbose=0)[np.arange(16), y]
    assert trained == pytest.approx(evaluated, abs=1e-5)
    assert trained == pytest.approx(-np.log(chances).mean(), abs=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_several_tokens_without_a_mask_get_one(fusion):
    schema = contracts.small_schema(contracts.optional({"image": contracts.FEATURES["image"]}))
    model = mk.build(schema, towers=contracts.every_token(schema), fusion=fusion, width=8)
    assert [tensor.name for tensor in model.get_layer("body").inputs] == ["image_tokens", "image_tokens_mask"]
    x = contracts.samples(schema)
    here, gone = ({**x, "image_present": np.full(5, there)} for there in (True, False))
    answers = contracts.outputs(model, gone)[0]
    np.testing.assert_allclose(answers, answers[:1].repeat(5, axis=0), atol=1e-6)
    assert np.ptp(contracts.outputs(model, here)[0], axis=0).any()


def test_mixed_bfloat16_trains():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        schema = contracts.small_schema(contracts.optional())
        model = mk.build(schema, towers=contracts.every_token(schema), width=8)
        model.compile("sgd", **mk.compile_args(schema))
        history = model.fit(contracts.samples(schema, rows=8), np.arange(8) % 3, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()


def test_modality_dropout_by_its_effect():
    """In training a share of the rows gets the token, others than those in which nothing is present; else none does."""
    layer = MissingToken(rate=0.3, seed=1)
    values, present = np.ones((2000, 1, 3), "float32"), np.arange(2000) % 2 == 0
    trained = ops.convert_to_numpy(layer(values, None, present, training=True))
    kept = (trained[:, 0] == 1).all(axis=1)
    assert not kept[~present].any()
    assert kept[present].mean() == pytest.approx(0.7, abs=0.05)
    (token,) = layer.get_weights()[:1]
    np.testing.assert_array_equal(trained[~kept][:, 0], np.broadcast_to(token, (2000 - kept.sum(), 3)))
    again = ops.convert_to_numpy(layer(values, None, present, training=True))
    assert not np.array_equal(again, trained), "expected other rows in another batch"
    for training in (False, None):
        found = ops.convert_to_numpy(layer(values, None, present, training=training))
        np.testing.assert_array_equal((found[:, 0] == 1).all(axis=1), present)
    assert MissingToken.from_config(layer.get_config()).rate == 0.3


def test_sine_positions_by_hand():
    x = np.zeros((1, 3, 4), "float32")
    found = ops.convert_to_numpy(SinePositions()(x))[0]
    places = np.arange(3)
    expected = np.stack([np.sin(places), np.sin(places / 100), np.cos(places), np.cos(places / 100)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    grid = ops.convert_to_numpy(SinePositions(grid=(2, 3))(np.zeros((1, 6, 8), "float32")))[0]
    np.testing.assert_allclose(grid[:3, 4:], expected, atol=1e-6)  # the columns of the first row
    np.testing.assert_allclose(grid[3:, 4:], expected, atol=1e-6)
    np.testing.assert_allclose(grid[::3, :4], expected[:2], atol=1e-6)
    assert SinePositions.from_config(SinePositions(grid=(2, 3)).get_config()).grid == (2, 3)
