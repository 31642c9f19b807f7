import contracts
import keras
import numpy as np
import pytest
from keras import ops

from mmkeras.errors import InputError
from mmkeras.fusion import FUSIONS
from mmkeras.layers import Tokens, attend, masked_mean

every_fusion = pytest.mark.parametrize("kind", sorted(FUSIONS))


@every_fusion
def test_shape_and_dtype(kind):
    tokens = contracts.some_tokens()
    (fused,) = contracts.outputs(contracts.fusion_model(kind, tokens), contracts.flat(tokens))
    assert fused.shape == (5, contracts.WIDTH)
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()


@every_fusion
def test_one_modality_is_enough(kind):
    tokens = {"text": contracts.some_tokens()["text"]}
    (fused,) = contracts.outputs(contracts.fusion_model(kind, tokens), contracts.flat(tokens))
    assert fused.shape == (5, contracts.WIDTH)


@every_fusion
def test_gradients_reach_every_weight(kind):
    keras.utils.set_random_seed(0)
    tokens = contracts.some_tokens()
    contracts.gradients_reach_every_weight(contracts.fusion_model(kind, tokens), contracts.flat(tokens))


@every_fusion
def test_round_trip(kind, tmp_path):
    tokens = contracts.some_tokens()
    model = contracts.fusion_model(kind, tokens)
    contracts.round_trip_is_equal(model, contracts.flat(tokens), tmp_path / "fusion.keras")


@every_fusion
def test_order_of_the_batch(kind):
    tokens = contracts.some_tokens()
    contracts.order_of_the_batch_changes_nothing(contracts.fusion_model(kind, tokens), contracts.flat(tokens))


@every_fusion
def test_padding_changes_nothing(kind):
    tokens = contracts.some_tokens()
    longer = dict(tokens)
    values, mask = tokens["text"]
    longer["text"] = Tokens(np.pad(values, [[0, 0], [0, 3], [0, 0]]), np.pad(mask, [[0, 0], [0, 3]]))
    small, large = contracts.fusion_model(kind, tokens), contracts.fusion_model(kind, longer)
    large.set_weights(small.get_weights())
    (old,), (new,) = contracts.outputs(small, contracts.flat(tokens)), contracts.outputs(large, contracts.flat(longer))
    np.testing.assert_allclose(new, old, atol=1e-6)


@every_fusion
def test_every_modality_counts(kind):
    tokens = contracts.some_tokens()
    model = contracts.fusion_model(kind, tokens)
    (old,) = contracts.outputs(model, contracts.flat(tokens))
    for name, (values, mask) in tokens.items():
        changed = {**tokens, name: Tokens(values + (1 if mask is None else mask[..., None]), mask)}
        (new,) = contracts.outputs(model, contracts.flat(changed))
        assert np.abs(new - old)[:4].max(axis=1).min() > 1e-4, name


def test_masked_mean_by_hand():
    values = np.array([[[1.0, 2.0], [3.0, 6.0], [7.0, 7.0]], [[5.0, 5.0], [0.0, 0.0], [0.0, 0.0]]], "float32")
    mask = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_allclose(masked_mean(Tokens(values, mask)), [[2, 4], [0, 0]])
    np.testing.assert_allclose(masked_mean(Tokens(values)), values.mean(axis=1), rtol=1e-6)


def test_concat_by_hand():
    tokens = {
        "a": Tokens(np.array([[[1.0, 2.0]]], "float32")),
        "b": Tokens(np.array([[[3.0, 0.0], [5.0, 2.0]]], "float32"), np.array([[True, True]])),
    }
    model = contracts.fusion_model("concat", tokens, width=2)
    kernel = np.array([[1, 0], [0, 1], [1, -9], [0, 0]], "float32")
    model.set_weights([kernel, np.array([0.5, 0.0], "float32")])
    # [1, 2, 4, 1] W + b = [1 + 4 + .5, 2 - 36], then relu
    np.testing.assert_allclose(contracts.outputs(model, contracts.flat(tokens))[0], [[5.5, 0.0]])


def test_attention_has_the_numbers_of_keras_multi_head_attention():
    tokens, width, heads = 5, 8, 2
    random = np.random.default_rng(0)
    x = random.normal(size=(3, tokens, width)).astype("float32")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 1, 0]], bool)
    inputs = keras.Input((tokens, width)), keras.Input((tokens,), dtype="bool")
    ours = keras.Model(inputs, attend(inputs[0], *inputs, heads=heads, name="a"))
    theirs = keras.layers.MultiHeadAttention(heads, width // heads)
    theirs(x, x, attention_mask=mask[:, None])
    for part, layer in (("query", theirs._query_dense), ("key", theirs._key_dense), ("value", theirs._value_dense)):
        kernel, bias = ours.get_layer(f"a_{part}").get_weights()
        bias = random.normal(size=bias.shape).astype("float32")
        ours.get_layer(f"a_{part}").set_weights([kernel, bias])
        layer.set_weights([kernel.reshape(width, heads, -1), bias.reshape(heads, -1)])
    kernel, bias = ours.get_layer("a_output").get_weights()
    theirs._output_dense.set_weights([kernel.reshape(heads, -1, width), bias])
    expected = ops.convert_to_numpy(theirs(x, x, attention_mask=mask[:, None]))
    np.testing.assert_allclose(contracts.outputs(ours, [x, mask])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("atention", "unknown fusion 'atention'; did you mean 'attention'"),
        ({"kind": "concat", "droput": 0.1}, "unknown option of fusion 'concat': 'droput'; did you mean 'dropout'"),
        ({"kind": "attention", "heads": 3}, "expected width to be a multiple of heads, received width=8, heads=3"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        contracts.fusion_model(choice, contracts.some_tokens())
