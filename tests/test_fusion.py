import contracts
import keras
import numpy as np
import pytest
from keras import ops

from mmkeras.errors import InputError
from mmkeras.fusion import FUSIONS
from mmkeras.layers import Tokens, attend, masked_mean

every_fusion = pytest.mark.parametrize("kind", sorted(FUSIONS))


def answers(model, tokens):
    """The fused vector; of a fusion of decisions all vectors side by side."""
    return np.concatenate(contracts.outputs(model, contracts.flat(tokens)), axis=-1)


def single_tokens():
    """One token a modality, without masks, of three widths."""
    random = np.random.default_rng(1)
    widths = {"image": 3, "text": 7, "sound": contracts.WIDTH}
    return {name: Tokens(random.normal(size=(5, 1, width)).astype("float32")) for name, width in widths.items()}


@every_fusion
@pytest.mark.parametrize("make", [contracts.some_tokens, single_tokens])
def test_shape_and_dtype(kind, make):
    tokens = make()
    fused = contracts.outputs(contracts.fusion_model(kind, tokens), contracts.flat(tokens))
    assert len(fused) in (1, len(tokens))  # of decisions one a modality
    for vector in fused:
        assert vector.shape == (5, contracts.WIDTH)
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()


@every_fusion
def test_one_modality_is_enough_or_refused(kind):
    tokens, refused = {"text": contracts.some_tokens()["text"]}, ""
    try:
        model = contracts.fusion_model(kind, tokens)
    except InputError as error:
        refused = str(error)
    else:
        assert answers(model, tokens).shape == (5, contracts.WIDTH)
        assert np.isfinite(answers(model, tokens)).all()
    assert refused in ("", f"fusion {kind!r}: expected at least two modalities, received text")


@every_fusion
@pytest.mark.parametrize("make", [contracts.some_tokens, single_tokens])
def test_gradients_reach_every_weight(kind, make):
    keras.utils.set_random_seed(0)
    tokens = make()
    contracts.gradients_reach_every_weight(contracts.fusion_model(kind, tokens), contracts.flat(tokens))


@every_fusion
def test_round_trip(kind, tmp_path):
    tokens = contracts.some_tokens()
    model = contracts.fusion_model(kind, tokens)
    contracts.round_trip_is_equal(model, contracts.flat(tokens), tmp_path / "fusion.keras")


@every_fusion
def test_rows_do_not_see_each_other(kind):
    tokens = contracts.some_tokens()
    model = contracts.fusion_model(kind, tokens)
    contracts.order_of_the_batch_changes_nothing(model, contracts.flat(tokens))
    alone = {name: part.map(lambda value: value[:1]) for name, part in tokens.items()}
    np.testing.assert_allclose(answers(model, alone), answers(model, tokens)[:1], atol=1e-5)


@every_fusion
def test_padding_changes_nothing(kind):
    tokens = contracts.some_tokens()
    longer = dict(tokens)
    values, mask, _ = tokens["text"]
    longer["text"] = Tokens(np.pad(values, [[0, 0], [0, 3], [0, 0]]), np.pad(mask, [[0, 0], [0, 3]]))
    small, large = contracts.fusion_model(kind, tokens), contracts.fusion_model(kind, longer)
    large.set_weights(small.get_weights())
    np.testing.assert_allclose(answers(large, longer), answers(small, tokens), atol=1e-6)


@every_fusion
def test_a_row_without_any_token_is_finite(kind):
    """Forward and backward: every weight stays a number."""
    tokens = contracts.some_tokens()
    nothing = {
        name: Tokens(values * (np.arange(5) != 1)[:, None, None], np.ones(values.shape[:2], bool))
        for name, (values, *_) in tokens.items()
    }
    for part in nothing.values():
        part.mask[1] = False
    model = contracts.fusion_model(kind, nothing)
    contracts.gradients_reach_every_weight(model, contracts.flat(nothing))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.isfinite(answers(model, nothing)).all()


@every_fusion
def test_every_modality_counts(kind):
    tokens = contracts.some_tokens()
    model = contracts.fusion_model(kind, tokens)
    old = answers(model, tokens)
    for name, (values, mask, _) in tokens.items():
        changed = {**tokens, name: Tokens(values + (1 if mask is None else mask[..., None]), mask)}
        assert np.abs(answers(model, changed) - old)[:4].max(axis=1).min() > 1e-4, name


@every_fusion
def test_mixed_bfloat16(kind):
    tokens = contracts.some_tokens()
    plain = contracts.fusion_model(kind, tokens)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = contracts.fusion_model(kind, tokens)
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(plain.get_weights())
    assert {output.dtype for output in model.outputs} == {"bfloat16"}
    fused = np.concatenate([x.astype("float32") for x in contracts.outputs(model, contracts.flat(tokens))], axis=-1)
    np.testing.assert_allclose(fused, answers(plain, tokens), atol=0.1)
    contracts.gradients_reach_every_weight(model, contracts.flat(tokens))


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
    model = contracts.fusion_model({"kind": "concat", "depth": 1}, tokens, width=2)
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
        kernel, *ours_has_bias = ours.get_layer(f"a_{part}").get_weights()
        bias = random.normal(size=width).astype("float32")  # of the keys it changes nothing
        ours.get_layer(f"a_{part}").set_weights([kernel, bias] if ours_has_bias else [kernel])
        layer.set_weights([kernel.reshape(width, heads, -1), bias.reshape(heads, -1)])
    kernel, bias = ours.get_layer("a_output").get_weights()
    theirs._output_dense.set_weights([kernel.reshape(heads, -1, width), bias])
    expected = ops.convert_to_numpy(theirs(x, x, attention_mask=mask[:, None]))
    np.testing.assert_allclose(contracts.outputs(ours, [x, mask])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("atention", "unknown fusion 'atention'; did you mean 'attention'"),
        ({"kind": "concat", "dropout": 1}, "expected dropout to be from 0 to below 1, received 1"),
        ({"kind": "attention", "dropout": "0.1"}, "expected dropout to be from 0 to below 1, received '0.1'"),
        ({"kind": "concat", "droput": 0.1}, "unknown option of fusion 'concat': 'droput'; did you mean 'dropout'"),
        ({"kind": "attention", "heads": 3}, "expected width to be a multiple of heads, received width=8, heads=3"),
        ({"kind": "concat", "depth": 0}, "fusion 'concat': expected depth to be a whole number above 0, received 0"),
        (
            {"kind": "weighted", "depth": -1},
            "fusion 'weighted': expected depth to be a whole number from 0, received -1",
        ),
        ({"kind": "late", "depth": True}, "fusion 'late': expected depth to be a whole number above 0, received True"),
        ({"kind": "gated", "variant": "exq"}, "fusion 'gated': unknown value of variant 'exq'; did you mean 'exp'"),
        ({"kind": "multiply", "activation": "tan"}, "unknown value of activation 'tan'; did you mean 'tanh'"),
        ({"kind": "film", "by": "txt"}, "fusion 'film': unknown modality in by: 'txt'; did you mean 'text'"),
        ({"kind": "film", "depth": 0}, "fusion 'film': expected depth to be a whole number above 0, received 0"),
        ({"kind": "attention", "depth": 0}, "fusion 'attention': expected depth .* above 0, received 0"),
        ({"kind": "cross_attention", "heads": 0}, "fusion 'cross_attention': expected width to be a multiple of heads"),
        ({"kind": "bottleneck", "depth": 1}, "fusion 'bottleneck': expected depth .* from 2, received 1"),
        ({"kind": "bottleneck", "bottlenecks": 0}, "fusion 'bottleneck': expected bottlenecks .* above 0, received 0"),
        (
            {"kind": "tensor", "size": 21},
            r"at most 10000 entries .*, received .* = 22\^3 = 10648; choose a smaller",
        ),
        ({"kind": "tensor", "size": 1.5}, "fusion 'tensor': expected size to be a whole number above 0, received 1.5"),
        ({"kind": "low_rank", "rank": 0}, "fusion 'low_rank': expected rank to be a whole number above 0, received 0"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        contracts.fusion_model(choice, contracts.some_tokens())


@pytest.mark.parametrize("result", [None, Tokens(None)])
def test_a_fusion_of_ones_own_that_gives_no_vector(result, monkeypatch):
    monkeypatch.setitem(FUSIONS, "own", lambda tokens, *, width: result)
    with pytest.raises(InputError, match=r"expected fusion 'own' to return \(batch, 8\), received"):
        contracts.fusion_model("own", contracts.some_tokens())


@pytest.mark.parametrize("kind", ["cross_attention", "film"])
def test_at_least_two_modalities(kind):
    with pytest.raises(InputError, match=f"fusion '{kind}': expected at least two modalities, received text"):
        contracts.fusion_model(kind, {"text": contracts.some_tokens()["text"]})
