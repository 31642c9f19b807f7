"""The numbers of each fusion, reckoned again in plain numpy from the weights of the model."""

import math

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.fusion import fuse
from mmkeras.layers import LearnedTokens, Tokens, WeightedMean

WIDTH, HEADS = 8, 2
erf = np.vectorize(math.erf)


def some_tokens():
    """Three modalities of three widths; the last row of "text" is all padding, with zeros behind every mask."""
    tokens = contracts.some_tokens()
    image, text = tokens["image"].values[..., :4], tokens["text"]
    return {**tokens, "image": Tokens(image), "text": Tokens(text.values[..., :5], text.mask)}


class Case:
    """A fusion with random weights, biases too, and numpy's way to its layers."""

    def __init__(self, choice, tokens, width=WIDTH):
        self.tokens = tokens
        self.model = contracts.fusion_model(choice, tokens, width)
        random = np.random.default_rng(3)
        self.model.set_weights([random.normal(0, 0.5, weight.shape) for weight in self.model.get_weights()])

    def answers(self):
        return contracts.outputs(self.model, contracts.flat(self.tokens))

    def weights(self, layer):
        return self.model.get_layer(layer).get_weights()

    def dense(self, layer, x):
        kernel, *bias = self.weights(layer)
        return x @ kernel + (bias[0] if bias else 0)

    def norm(self, layer, x):
        weights = self.weights(layer)
        gamma, beta = weights or (1, 0)
        return standard(x) * gamma + beta

    def attend(self, layer, x, context, mask):
        """Head by head, row by row, without the tokens that are not there."""
        query, key, value = (
            self.dense(f"{layer}_{part}", given) for part, given in (("query", x), ("key", context), ("value", context))
        )
        result, size = np.zeros_like(query), WIDTH // HEADS
        for row in range(len(x)):
            there = mask[row]
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = query[row, :, part] @ key[row, there, part].T / np.sqrt(size)
                shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
                result[row, :, part] = shares @ value[row, there, part]
        return self.dense(f"{layer}_output", result)

    def transformer(self, layer, x, mask, context=None):
        normed = self.norm(f"{layer}_norm", x)
        x = x + self.attend(
            layer, normed, normed if context is None else self.norm(f"{layer}_context_norm", context), mask
        )
        inner = self.dense(f"{layer}_dense1", self.norm(f"{layer}_dense_norm", x))
        return x + self.dense(f"{layer}_dense2", inner * (1 + erf(inner / np.sqrt(2))) / 2)


def standard(x):
    """Mean 0, deviation 1 over the features; with the small number that Keras adds to the variance."""
    return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)


def masks(tokens):
    return {
        name: np.ones(values.shape[:2], bool) if mask is None else mask for name, (values, mask, _) in tokens.items()
    }


def means(values, mask):
    """Mean of the tokens that are there, row by row; zeros where there are none."""
    zeros = np.zeros(values.shape[-1])
    return np.stack(
        [row[there].mean(axis=0) if there.any() else zeros for row, there in zip(values, mask, strict=True)]
    )


def vectors(tokens):
    there = masks(tokens)
    return {name: means(part.values, there[name]) for name, part in tokens.items()}


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def joined(*parts):
    return np.concatenate(parts, axis=1)


def test_weighted():
    case = Case("weighted", some_tokens())
    shares = softmax(case.weights("weighted_mean")[0])
    total = sum(
        share * standard(case.dense(f"weighted_{name}_project", vector))
        for share, (name, vector) in zip(shares, vectors(case.tokens).items(), strict=True)
    )
    np.testing.assert_allclose(case.answers()[0], relu(case.dense("weighted_dense0", total)), atol=1e-5)


def test_weighted_by_hand():
    """Two modalities of one token, shares 3/4 and 1/4, no dense layer behind."""
    tokens = {"a": Tokens(np.array([[[1.0]]], "float32")), "b": Tokens(np.array([[[2.0]]], "float32"))}
    model = contracts.fusion_model({"kind": "weighted", "depth": 0}, tokens, width=2)
    model.get_layer("weighted_a_project").set_weights([np.array([[30.0, 0.0]]), np.array([0.0, 10.0])])
    model.get_layer("weighted_b_project").set_weights([np.array([[0.0, 50.0]]), np.array([40.0, 0.0])])
    model.get_layer("weighted_mean").set_weights([np.log([3.0, 1.0])])
    # [30, 10] is [1, -1] in deviations, [40, 100] is [-1, 1]
    np.testing.assert_allclose(contracts.outputs(model, contracts.flat(tokens))[0], [[0.5, -0.5]], atol=1e-4)
    shares = mk.fusion_shares(model)
    assert list(shares) == ["a", "b"]
    np.testing.assert_allclose(list(shares.values()), [0.75, 0.25], atol=1e-6)


def test_shares_begin_equal_and_learn_whom_to_trust():
    """Of two signs, in two features each, one is the answer."""
    keras.utils.set_random_seed(0)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(2, 256, 1, 1)).astype("float32")
    x = {"told": Tokens(signs[0]), "noise": Tokens(signs[1])}
    model = contracts.fusion_model({"kind": "weighted", "depth": 0}, x, width=2)
    assert mk.fusion_shares(model) == {"told": 0.5, "noise": 0.5}
    whole = keras.Model(model.inputs, keras.layers.Dense(1)(model(model.inputs)))
    whole.compile(keras.optimizers.Adam(0.05), "mse")
    whole.fit(contracts.flat(x), signs[0, :, 0], batch_size=64, epochs=10, verbose=0)
    shares = mk.fusion_shares(whole)
    assert shares["told"] > 0.6
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_of_several_layers_by_name():
    x, y = keras.Input((3,)), keras.Input((3,))
    colour, shape = (WeightedMean(["x", "y"], name=name) for name in ("colour", "shape"))
    colour_of, shape_of = colour([x, y]), shape([x, y])
    shape.set_weights([np.log([1.0, 4.0])])
    shares = mk.fusion_shares(keras.Model([x, y], [colour_of, shape_of]))
    assert shares["colour"] == {"x": 0.5, "y": 0.5}
    assert shares["shape"] == pytest.approx({"x": 0.2, "y": 0.8})


def test_no_shares():
    with pytest.raises(InputError, match="expected a model with the fusion 'weighted' or 'late', received one without"):
        mk.fusion_shares(contracts.fusion_model("concat", some_tokens()))


def test_share_of_one_modality():
    tokens = {"text": some_tokens()["text"]}
    model = contracts.fusion_model("weighted", tokens)
    assert mk.fusion_shares(model) == {"text": 1.0}
    assert not model.get_layer("weighted_mean").weights


def test_gated():
    case = Case("gated", some_tokens())
    given = vectors(case.tokens)
    gates = np.split(sigmoid(case.dense("gated_gates", joined(*given.values()))), 3, axis=1)
    total = sum(
        gate * np.tanh(case.dense(f"gated_{name}_project", vector))
        for gate, (name, vector) in zip(gates, given.items(), strict=True)
    )
    np.testing.assert_allclose(case.answers()[0], relu(case.dense("gated_dense0", total)), atol=1e-5)


def test_gated_exp():
    case = Case({"kind": "gated", "variant": "exp"}, some_tokens())
    given = vectors(case.tokens)
    t = np.stack(np.split(np.tanh(case.dense("gated_gates", joined(*given.values()))), 3, axis=1))
    s = t - t.mean(axis=0)
    total = sum(
        np.exp(gate) * case.dense(f"gated_{name}_project", vector)
        for gate, (name, vector) in zip(s, given.items(), strict=True)
    )
    np.testing.assert_allclose(case.answers()[0], relu(case.dense("gated_dense0", total)), atol=1e-5)


def test_gated_exp_of_two_is_s_and_minus_s():
    tokens = {"image": Tokens(np.array([[[3.0]]], "float32")), "text": Tokens(np.array([[[5.0]]], "float32"))}
    model = contracts.fusion_model({"kind": "gated", "variant": "exp", "depth": 0}, tokens, width=1)
    for name in tokens:
        model.get_layer(f"gated_{name}_project").set_weights([np.ones((1, 1)), np.zeros(1)])
    model.get_layer("gated_gates").set_weights([np.zeros((2, 2)), np.arctanh([0.9, 0.1])])
    expected = 3 * math.exp(0.4) + 5 * math.exp(-0.4)
    np.testing.assert_allclose(contracts.outputs(model, contracts.flat(tokens))[0], [[expected]], rtol=1e-5)


def test_gated_exp_of_one_has_no_gate():
    tokens = {"text": some_tokens()["text"]}
    case = Case({"kind": "gated", "variant": "exp", "depth": 0}, tokens)
    expected = case.dense("gated_text_project", vectors(tokens)["text"])
    np.testing.assert_allclose(case.answers()[0], expected, atol=1e-5)


@pytest.mark.parametrize("by", ["image", "text"])
def test_film(by):
    case = Case({"kind": "film", "by": by}, some_tokens())
    there, condition, others = masks(case.tokens), vectors(case.tokens)[by], []
    for name, part in case.tokens.items():
        if name != by:
            x = case.dense(f"film_{name}_project", part.values)
            for block in range(2):
                layer = f"film_{name}_{block}"
                gamma, beta = np.split(case.dense(f"{layer}_condition", condition), 2, axis=1)
                x = x + relu((1 + gamma[:, None]) * standard(case.dense(f"{layer}_dense", x)) + beta[:, None])
            others.append(means(x, there[name]))
    np.testing.assert_allclose(case.answers()[0], relu(case.dense("film_dense0", joined(*others))), atol=1e-4)


@pytest.mark.parametrize(
    ("features", "by"),
    [({"image": mk.Image(8, 8, 1), "text": mk.Text(4), "sound": mk.Text(2)}, "text"), ({}, "image")],
)
def test_film_is_conditioned_by_the_first_text(features, by):
    tokens = {name: Tokens(keras.Input((2, 3))) for name in ("image", "text", "sound")}
    model = keras.Model(contracts.flat(tokens), fuse(tokens, "film", width=4, features=features).vector)
    conditioned = {layer.name for layer in model.layers if layer.name.endswith("_project")}
    assert conditioned == {f"film_{name}_project" for name in tokens if name != by}


def test_late():
    case = Case("late", some_tokens())
    expected = [relu(case.dense(f"late_{name}_dense0", vector)) for name, vector in vectors(case.tokens).items()]
    for answer, vector in zip(case.answers(), expected, strict=True):
        np.testing.assert_allclose(answer, vector, atol=1e-5)
    inputs = {name: Tokens(keras.Input((2, 3))) for name in ("a", "b")}
    assert list(fuse(inputs, "late", width=4).decisions) == ["a", "b"]


def test_multiply():
    case = Case({"kind": "multiply", "activation": "tanh"}, some_tokens())
    parts = [np.tanh(case.dense(f"multiply_{name}_project", vector)) for name, vector in vectors(case.tokens).items()]
    expected = relu(case.dense("multiply_dense0", np.prod(parts, axis=0)))
    np.testing.assert_allclose(case.answers()[0], expected, atol=1e-5)


def test_multiply_by_hand():
    tokens = {"a": Tokens(np.array([[[2.0]]], "float32")), "b": Tokens(np.array([[[1.0], [5.0]]], "float32"))}
    model = contracts.fusion_model({"kind": "multiply", "depth": 0}, tokens, width=2)
    model.get_layer("multiply_a_project").set_weights([np.array([[1.0, -1.0]]), np.array([1.0, 1.0])])
    model.get_layer("multiply_b_project").set_weights([np.array([[2.0, 0.0]]), np.array([-1.0, 4.0])])
    # [2 + 1, -2 + 1] * [6 - 1, 4]
    np.testing.assert_allclose(contracts.outputs(model, contracts.flat(tokens))[0], [[15, -4]])


def features(case, kind):
    return [relu(case.dense(f"{kind}_{name}_features", vector)) for name, vector in vectors(case.tokens).items()]


def with_one(x):
    return np.concatenate([np.ones((len(x), 1)), x], axis=1)


def test_tensor():
    case = Case({"kind": "tensor", "size": 3}, some_tokens())
    product = np.einsum("ba,bc,bd->bacd", *map(with_one, features(case, "tensor"))).reshape(5, 64)
    np.testing.assert_allclose(case.answers()[0], relu(product @ case.weights("tensor_dense")[0]), atol=1e-4)


def test_low_rank():
    case = Case({"kind": "low_rank", "size": 3, "rank": 2}, some_tokens())
    factors = [
        case.dense(f"low_rank_{name}_factors", x).reshape(5, 2, WIDTH)
        for name, x in zip(case.tokens, features(case, "low_rank"), strict=True)
    ]
    expected = relu((factors[0] * factors[1] * factors[2]).mean(axis=1))
    np.testing.assert_allclose(case.answers()[0], expected, atol=1e-5)


def test_low_rank_equals_tensor_with_a_decomposed_weight():
    low = Case({"kind": "low_rank", "size": 3, "rank": 2}, some_tokens())
    full = Case({"kind": "tensor", "size": 3}, some_tokens())
    factors = []
    for name in low.tokens:
        full.model.get_layer(f"tensor_{name}_features").set_weights(low.weights(f"low_rank_{name}_features"))
        kernel, bias = low.weights(f"low_rank_{name}_factors")
        factors.append(np.concatenate([bias[None], kernel]).reshape(4, 2, WIDTH))
    weight = np.einsum("arw,brw,crw->abcw", *factors).reshape(64, WIDTH) / 2
    full.model.get_layer("tensor_dense").set_weights([weight])
    np.testing.assert_allclose(low.answers()[0], full.answers()[0], atol=1e-4)
    assert low.answers()[0].max() > 0.1


def test_attention():
    case = Case({"kind": "attention", "heads": HEADS, "depth": 1}, some_tokens())
    x = joined(*(case.dense(f"attention_{name}_project", part.values) for name, part in case.tokens.items()))
    mask = joined(*masks(case.tokens).values())
    x = case.norm("attention_norm", case.transformer("attention0", x, mask))
    np.testing.assert_allclose(case.answers()[0], means(x, mask), atol=1e-4)


def test_cross_attention():
    case = Case({"kind": "cross_attention", "heads": HEADS}, some_tokens())
    values = {name: case.dense(f"cross_attention_{name}_project", part.values) for name, part in case.tokens.items()}
    there, result = masks(case.tokens), []
    for name, x in values.items():
        for other, y in values.items():
            if other != name:
                (nothing,) = case.weights(f"cross_attention_{other}_nothing")
                context = joined(np.broadcast_to(nothing, (5, 1, WIDTH)), y)
                mask = joined(np.ones((5, 1), bool), there[other])
                asked = case.transformer(f"cross_attention_{name}_from_{other}_0", x, mask, context)
                result.append(means(asked, there[name]))
    expected = relu(case.dense("cross_attention_dense0", joined(*result)))
    np.testing.assert_allclose(case.answers()[0], expected, atol=1e-4)


def test_bottleneck():
    case = Case({"kind": "bottleneck", "heads": HEADS, "bottlenecks": 3}, some_tokens())
    values = {name: case.dense(f"bottleneck_{name}_project", part.values) for name, part in case.tokens.items()}
    there = masks(case.tokens)
    shared = np.broadcast_to(case.weights("bottleneck_tokens")[0], (5, 3, WIDTH))
    for layer in range(2):
        seen = []
        for name, x in values.items():
            mask = joined(np.ones((5, 3), bool), there[name])
            both = case.transformer(f"bottleneck_{name}_{layer}", joined(shared, x), mask)
            seen.append(both[:, :3])
            values[name] = both[:, 3:]
        shared = np.mean(seen, axis=0)
    expected = np.mean([means(x, there[name]) for name, x in values.items()], axis=0)
    np.testing.assert_allclose(case.answers()[0], case.norm("bottleneck_norm", expected), atol=1e-4)


def test_bottleneck_modalities_meet():
    """What one modality says reaches the tokens of another: the difference is not the sum of two differences."""
    tokens = some_tokens()
    model = contracts.fusion_model("bottleneck", tokens)
    norm = model.get_layer("bottleneck_norm")
    before = keras.Model(model.inputs, norm.input)

    def answer(*louder):
        given = {
            name: Tokens(values + (name in louder) * (1 if mask is None else mask[..., None]), mask)
            for name, (values, mask, _) in tokens.items()
        }
        return contracts.outputs(before, contracts.flat(given))[0]

    together = answer("image", "sound") - answer()
    apart = answer("image") + answer("sound") - 2 * answer()
    assert np.abs(together - apart).max() > 1e-6


def test_weighted_mean_by_hand():
    layer = WeightedMean(["image", "text"])
    x, y = np.array([[1.0, 0.0]], "float32"), np.array([[0.2, 0.8]], "float32")
    np.testing.assert_allclose(layer([x, y]), [[0.6, 0.4]], atol=1e-6)
    layer.set_weights([np.log([1.0, 3.0])])
    np.testing.assert_allclose(layer([x, y]), [[0.4, 0.6]], atol=1e-6)
    assert layer.shares() == pytest.approx({"image": 0.25, "text": 0.75})
    np.testing.assert_allclose(layer([x[:, :1], y[:, :1]]), [[0.4]], atol=1e-6)  # common to tensors of another shape


def test_learned_tokens_are_the_same_for_every_row():
    layer = LearnedTokens(2)
    values = np.ones((3, 5, 4), "float32")
    np.testing.assert_array_equal(layer(values), np.broadcast_to(layer.tokens, (3, 2, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedMean([]), r"WeightedMean: expected names to be a list of distinct strings, received \[\]"),
        (lambda: WeightedMean("image"), "WeightedMean: expected names .* received 'image'"),
        (lambda: WeightedMean(["a", "a"]), "WeightedMean: expected names .* distinct"),
        (lambda: WeightedMean([1, 2]), "WeightedMean: expected names"),
        (lambda: WeightedMean(["a", "b"])([np.ones((1, 2))]), r"expected 2 tensors \(\['a', 'b'\]\), received 1"),
        (lambda: LearnedTokens(0), "LearnedTokens: expected count to be a whole number above 0, received 0"),
    ],
)
def test_layers_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
