import re

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.schema import Category, Labels, Number
from mmkeras.tasks import R2, TASKS, AbsoluteError, Crossentropy, StandardizedSquaredError, default_of, direction

TARGETS = contracts.TARGETS
TARGET, LABELS, NUMBER = contracts.EVERY_TARGET
X = np.random.default_rng(0).normal(size=(6, contracts.WIDTH)).astype("float32")
every_head = pytest.mark.parametrize("kind", sorted(TASKS))


@every_head
def test_last_layer_bears_the_targets_name(kind):
    model = contracts.head_model(kind, TARGETS[kind])
    assert model.layers[-1].name == "answer"
    assert model.output.dtype == "float32"
    assert model.output.shape == (None, *TASKS[kind].output_shape(TARGETS[kind]))


@every_head
def test_gradients_and_round_trip(kind, tmp_path):
    contracts.gradients_reach_every_weight(contracts.head_model(kind, TARGETS[kind]), X)
    contracts.round_trip_is_equal(contracts.head_model(kind, TARGETS[kind]), X, tmp_path / "head.keras")


@every_head
def test_order_of_the_batch(kind):
    contracts.order_of_the_batch_changes_nothing(contracts.head_model(kind, TARGETS[kind]), X)


@every_head
def test_the_head_is_float32_under_mixed_precision(kind):
    """And it trains."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = contracts.head_model({"kind": kind, "dropout": 0.1}, TARGETS[kind])
        assert model.output.dtype == "float32"
        contracts.gradients_reach_every_weight(model, X)
    finally:
        keras.config.set_dtype_policy("float32")


@every_head
def test_weights_of_rows_count_in_the_loss_and_every_metric(kind):
    """A row of weight 0 may hold anything, and a row of weight 2 is worth two rows."""
    target = TARGETS[kind]
    model = contracts.head_model(kind, target)
    arguments = mk.compile_args(contracts.small_schema(answer=target))
    cells = {Category: list("abcabc"), Labels: ["a|b", "c", "|", "a", "b|c", "b"], Number: list("123456")}
    y, _ = target.encode(cells[type(target)])
    (answers,) = contracts.outputs(model, X)
    weights = np.array([2, 1, 0, 1, 0, 1], "float32")
    twice = [0, 0, 1, 3, 5]
    loss = arguments["loss"]
    assert float(loss(y, answers, weights)) * 6 == pytest.approx(float(loss(y[twice], answers[twice])) * 5, rel=1e-5)
    for metric in arguments["weighted_metrics"]:
        metric.update_state(y, answers, sample_weight=weights)
        weighted = float(metric.result())
        metric.reset_state()
        metric.update_state(y[twice], answers[twice])
        assert weighted == pytest.approx(float(metric.result()), rel=1e-4), metric.name
        assert np.isfinite(weighted)


def test_softmax_adds_up_to_one():
    (probabilities,) = contracts.outputs(contracts.head_model("softmax", TARGET), X)
    assert probabilities.shape == (6, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_loss_and_accuracy_by_hand():
    truth, probabilities = np.array([0, 2]), np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], "float32")
    assert contracts.loss_of(TARGET, truth, probabilities) == pytest.approx((np.log(2) + np.log(4)) / 2, abs=1e-6)
    (accuracy,) = mk.compile_args(contracts.small_schema(answer=TARGET))["weighted_metrics"]
    accuracy.update_state(truth, probabilities, sample_weight=[3, 1])
    assert float(accuracy.result()) == pytest.approx(0.75)


def test_sigmoid_by_hand():
    truth = np.array([[1, 0, 1], [0, 0, 1]], "float32")
    probabilities = np.array([[0.5, 0.5, 0.75], [0.75, 0.25, 0.75]], "float32")
    rows = [(2 * np.log(2) - np.log(0.75)) / 3, (np.log(4) - 2 * np.log(0.75)) / 3]
    assert contracts.loss_of(LABELS, truth, probabilities) == pytest.approx(np.mean(rows), abs=1e-5)
    f1, auc = mk.compile_args(contracts.small_schema(answer=LABELS))["weighted_metrics"]
    assert (f1.name, auc.name) == ("f1", "auc")
    f1.update_state(truth, probabilities)  # 0.5 is not above 0.5: a 0, b 0 (never there), c 1
    assert float(f1.result()) == pytest.approx(1 / 3, abs=1e-5)


def test_auc_by_hand():
    target = Labels(classes=["a", "b"])
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], "float32")
    probabilities = np.array([[0.9, 0.6], [0.3, 0.7], [0.4, 0.1], [0.1, 0.8]], "float32")
    _, auc = mk.compile_args(contracts.small_schema(answer=target))["weighted_metrics"]
    auc.update_state(truth, probabilities)  # of the 4 pairs of a row with the label and one without: a 3, b 4 in order
    assert float(auc.result()) == pytest.approx((0.75 + 1) / 2, abs=1e-3)


def test_number_by_hand():
    truth, answers = np.array([1000, 1020, 960], "float32"), np.array([1010, 1020, 1000], "float32")
    assert contracts.loss_of(NUMBER, truth, answers) == pytest.approx((0.25 + 0 + 4) / 3)
    arguments = mk.compile_args(contracts.small_schema(answer=NUMBER))
    mae, r2 = arguments["weighted_metrics"]
    for metric in (mae, r2):
        metric.update_state(truth[:1], answers[:1], sample_weight=np.array([1.0]))
        metric.update_state(truth[1:], answers[1:], sample_weight=np.array([1.0, 3.0]))
    assert (mae.name, float(mae.result())) == ("mae", pytest.approx((10 + 0 + 3 * 40) / 5))
    mean = (1000 + 1020 + 3 * 960) / 5
    spread = (1000 - mean) ** 2 + (1020 - mean) ** 2 + 3 * (960 - mean) ** 2
    assert (r2.name, float(r2.result())) == ("r2", pytest.approx(1 - (100 + 3 * 1600) / spread, rel=1e-4))
    assert float(arguments["loss"](truth[:, None], answers)) == pytest.approx(4.25 / 3)  # a column is no matrix


def test_r2_where_numbers_are_large_or_there_is_nothing_to_explain():
    truth = np.array([1e6, 1e6 + 1, 1e6 + 2], "float32")
    r2 = R2(mean=1e6 + 1, std=0.8)
    r2.update_state(truth, truth[::-1].copy())
    assert float(r2.result()) == pytest.approx(-3, abs=1e-3)  # 1 - 8 / 2
    for rows, weights in ((truth[:2], [0.0, 0.0]), (truth[:1], None)):
        r2.reset_state()
        r2.update_state(rows, rows, sample_weight=weights)
        assert float(r2.result()) == 0


def test_an_untrained_number_is_about_the_mean():
    (answers,) = contracts.outputs(contracts.head_model("linear", NUMBER), X)
    assert answers.shape == (6,)
    assert np.abs(answers - 1000).max() < 200
    dense = contracts.head_model("linear", NUMBER)
    standard = keras.Model(dense.inputs[0], dense.get_layer("answer_standardized").output)
    (deviations,), (answers,) = contracts.outputs(standard, X), contracts.outputs(dense, X)
    np.testing.assert_allclose(answers, deviations[:, 0] * 20 + 1000, rtol=1e-6)


def test_a_compiled_number_model_comes_back_whole(tmp_path):
    model = contracts.head_model("linear", NUMBER)
    model.compile("sgd", **mk.compile_args(contracts.small_schema(answer=NUMBER)))
    y = np.linspace(950, 1050, 6).astype("float32")
    before = model.evaluate(X, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, y, verbose=0, return_dict=True) == pytest.approx(before)
    assert set(before) == {"loss", "mae", "r2"}


@pytest.mark.parametrize("part", [StandardizedSquaredError(3.0), Crossentropy(0.1, 2.0), AbsoluteError(), R2(1.0, 2.0)])
def test_configs_come_back(part):
    again = type(part).from_config(part.get_config())
    assert again.get_config() == part.get_config()


def smoothed(classes, truth, share):
    return np.eye(classes)[truth] * (1 - share) + share / classes


def test_label_smoothing_and_focal_loss_by_hand():
    truth = np.array([0, 2])
    probabilities = np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1]], "float32")
    q = smoothed(3, truth, 0.1)
    expected = -(q * np.log(probabilities)).sum(axis=1).mean()
    assert loss_of({"kind": "softmax", "label_smoothing": 0.1}, truth, probabilities) == pytest.approx(
        expected, rel=1e-5
    )
    right = probabilities[[0, 1], truth]
    expected = (-((1 - right) ** 2) * np.log(right)).mean()
    assert loss_of({"kind": "softmax", "focal": 2.0}, truth, probabilities) == pytest.approx(expected, rel=1e-5)
    expected = -(q * (1 - probabilities) ** 2 * np.log(probabilities)).sum(axis=1).mean()
    both = {"kind": "softmax", "focal": 2.0, "label_smoothing": 0.1}
    assert loss_of(both, truth, probabilities) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("truth", [[0, 3], [0, -1], [0.0, np.nan]])
def test_an_unknown_class_counts_as_no_other_would(truth):
    probabilities = np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1]], "float32")
    assert np.isnan(loss_of({"kind": "softmax", "focal": 2.0}, np.array(truth), probabilities))


def test_one_hot_truths_are_refused():
    with pytest.raises(InputError, match=r"Crossentropy: expected class numbers \(batch,\), received \(2, 3\)"):
        loss_of({"kind": "softmax", "focal": 2.0}, np.eye(3)[:2], np.full((2, 3), 1 / 3, "float32"))


def test_label_smoothing_and_focal_loss_of_labels_by_hand():
    truth, p = np.array([[1, 0, 1]], "float32"), np.array([[0.5, 0.25, 0.9]], "float32")
    right = np.where(truth == 1, p, 1 - p)
    focal = loss_of({"kind": "sigmoid", "focal": 2.0}, truth, p, LABELS)
    assert focal == pytest.approx((-((1 - right) ** 2) * np.log(right)).mean(), rel=1e-4)
    q = truth * 0.8 + 0.1
    plain = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    smooth = loss_of({"kind": "sigmoid", "label_smoothing": 0.2}, truth, p, LABELS)
    assert smooth == pytest.approx(plain.mean(), rel=1e-4)
    both = loss_of({"kind": "sigmoid", "label_smoothing": 0.2, "focal": 2.0}, truth, p, LABELS)
    assert both == pytest.approx(((1 - q * p - (1 - q) * (1 - p)) ** 2 * plain).mean(), rel=1e-4)


def loss_of(choice, truth, prediction, target=TARGET):
    arguments = mk.compile_args(contracts.small_schema(answer=target), {"answer": choice})
    return float(arguments["loss"](truth, prediction))


def test_weights_of_losses():
    schema = contracts.small_schema(answer=TARGET, colour=Category(classes=["red", "blue"]), size=NUMBER)
    tasks = {"colour": {"kind": "softmax", "weight": 0.5}}
    weights = mk.compile_args(schema, tasks)["loss_weights"]
    assert weights == {"answer": 1, "colour": 0.5, "size": 1}
    assert "loss_weights" not in mk.compile_args(schema)
    model = mk.build(schema, tasks=tasks, width=8)
    model.compile("sgd", **mk.compile_args(schema, tasks))
    truth = {"answer": np.zeros(5), "colour": np.ones(5), "size": np.full(5, 1010.0)}
    found = model.evaluate(contracts.samples(schema), truth, return_dict=True, verbose=0)
    expected = found["answer_loss"] + 0.5 * found["colour_loss"] + found["size_loss"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    one = mk.compile_args(contracts.small_schema(answer=TARGET), {"answer": {"kind": "softmax", "weight": 3}})
    model = contracts.head_model("softmax", TARGET)
    found = []
    for arguments in (one, {**one, "loss_weights": None}):
        model.compile("sgd", **arguments)
        found.append(model.evaluate(X, np.zeros(6), return_dict=True, verbose=0)["loss"])
    assert found[0] == pytest.approx(3 * found[1])


def test_weights_learned_by_uncertainty(tmp_path):
    """Kendall et al.: the sum of exp(-s) L + s / 2, half of L for a number; s falls where a task is certain."""
    schema = contracts.small_schema({"question": contracts.FEATURES["question"]}, answer=TARGET, size=NUMBER)
    tasks = {"answer": {"kind": "softmax", "weight": "learned"}, "size": {"kind": "linear", "weight": "learned"}}
    model = mk.build(schema, tasks=tasks, width=8)
    assert [layer.name for layer in model.get_layer("body").layers if "loss_weight" in layer.name] == [
        "answer_loss_weight",
        "size_loss_weight",
    ]
    plain = mk.compile_args(schema)
    arguments = mk.compile_args(schema, tasks, model)
    assert "loss_weights" not in arguments
    model.compile(keras.optimizers.SGD(0.5), **arguments)
    x = contracts.samples(schema)
    answers = model.predict(x, verbose=0)
    truth = {"answer": np.arange(5) % 3, "size": np.full(5, 1060.0, "float32")}
    body = model.get_layer("body")
    layers = {name: body.get_layer(f"{name}_loss_weight") for name in schema.targets}
    layers["answer"].log_variance.assign(0.4)
    losses = {name: float(plain["loss"][name](truth[name], answers[name])) for name in truth}
    s = {"answer": 0.4, "size": 0.0}
    expected = np.exp(-0.4) * losses["answer"] + losses["size"] / 2 + sum(s.values()) / 2
    assert model.evaluate(x, truth, return_dict=True, verbose=0)["loss"] == pytest.approx(expected, rel=1e-5)
    gradient = {"answer": 0.5 - np.exp(-0.4) * losses["answer"], "size": 0.5 - losses["size"] / 2}
    model.train_on_batch(x, truth)
    for name, layer in layers.items():
        assert float(layer.log_variance) == pytest.approx(s[name] - 0.5 * gradient[name], rel=1e-4)
    model.save(tmp_path / "model.keras")
    before = model.evaluate(x, truth, return_dict=True, verbose=0)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, truth, return_dict=True, verbose=0) == pytest.approx(before, rel=1e-5)


def test_a_weight_to_be_learned_needs_its_model():
    schema = contracts.small_schema({"question": contracts.FEATURES["question"]})
    tasks = {"answer": {"kind": "softmax", "weight": "learned"}}
    with pytest.raises(InputError, match=r"'answer' has weight='learned', so expected model= .*, received none"):
        mk.compile_args(schema, tasks)
    with pytest.raises(InputError, match="received one without the layer 'answer_loss_weight'"):
        mk.compile_args(schema, tasks, mk.build(schema, width=8))
    with pytest.raises(InputError, match="compile_args: unknown target 'anwser'; did you mean 'answer'"):
        mk.compile_args(schema, {"anwser": "softmax"})
    with pytest.raises(InputError, match="compile_args: unknown argument 'task'; did you mean 'tasks'"):
        mk.compile_args(schema, task=tasks)
    with pytest.raises(InputError, match=r"compile_args needs a fitted schema, but .* 'answer' are not known yet"):
        mk.compile_args(contracts.small_schema(answer=Number()))


def test_a_head_itself():
    """Not only by its name; a function is none."""
    model = contracts.head_model({"kind": TASKS["softmax"], "dropout": 0.5}, TARGET)
    assert model.get_layer("answer_dropout").rate == 0.5
    with pytest.raises(InputError, match="'answer': unknown task <function"):
        contracts.head_model(contracts.head_model, TARGET)


def test_a_task_of_ones_own_with_an_output_of_another_shape():
    class Seven(mk.tasks.Softmax):
        def output(self, fused, target, *, name):
            return keras.layers.Dense(7, name=name)(fused.vector)

    with pytest.raises(InputError, match=r"'answer': expected its task to give \(batch, 3\), received \(None, 7\)"):
        contracts.head_model(Seven(), TARGET)


def test_a_task_that_reads_what_the_fusion_does_not_give():
    class OfTokens(mk.tasks.Softmax):
        reads = "tokens"

    with pytest.raises(InputError, match=r"'answer': task 'OfTokens\(\)' reads tokens of the fusion, which gives none"):
        contracts.head_model(OfTokens(), TARGET)


def test_softmax_decodes_the_most_probable():
    target = Category(["10", "2", "x"])  # given classes keep their order
    decoded = TASKS["softmax"].decoded([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], target)
    assert decoded["label"].tolist() == ["x", "10", "2"]
    np.testing.assert_allclose(decoded["score"], [0.7, 0.6, 0.8])
    assert decoded["top_labels"].tolist() == [["x", "2", "10"], ["10", "2", "x"], ["2", "10", "x"]]
    assert TASKS["softmax"].decoded(np.zeros((0, 3)), target)["label"].tolist() == []


def test_sigmoid_decodes_what_is_above_one_half():
    target = Labels(["x", "y", "z"])
    decoded = TASKS["sigmoid"].decoded([[0.9, 0.5, 0.51], [0.1, 0.2, 0.3], [0.1, 0.7, 0.2]], target)
    assert decoded["label"].tolist() == [("x", "z"), (), ("y",)]
    assert decoded["top_labels"][:, 0].tolist() == ["x", "z", "y"]
    assert TASKS["sigmoid"].decoded(np.zeros((0, 3)), target)["label"].tolist() == []
    assert TASKS["linear"].decoded([1.5, 2], NUMBER)["value"].tolist() == [1.5, 2]


@pytest.mark.parametrize(("shape", "shown"), [((2,), "(2,)"), ((3, 3), "(3, 3)"), ((1, 2, 1), "(1, 2, 1)"), ((), "()")])
def test_outputs_of_another_shape(shape, shown):
    with pytest.raises(InputError, match=re.escape(f"Softmax(): expected outputs (batch, 2), received {shown}")):
        TASKS["softmax"].decoded(np.zeros(shape), Category(["a", "b"]))
    with pytest.raises(InputError, match=re.escape("Linear(): expected outputs (batch), received (2, 1)")):
        TASKS["linear"].decoded([[1.0], [2.0]], NUMBER)


def test_outputs_of_an_unfitted_target():
    with pytest.raises(InputError, match=r"expected a fitted target, received Category\(classes=None"):
        TASKS["softmax"].decoded([[0.5, 0.5]], Category())


def test_the_default_task_is_the_first_that_serves_the_kind():
    class Odd(mk.targets.Target):
        pass

    class Colour(Category):
        pass

    assert default_of(Colour(["a", "b"])) == "softmax"
    with pytest.raises(InputError, match="unknown kind 'Odd': no task is known for it; expected one of Category, Lab"):
        default_of(Odd())


def test_directions():
    assert [direction(metric) for metric in (AbsoluteError(), R2(), keras.metrics.F1Score())] == ["min", "max", "max"]
    odd = keras.metrics.Mean(name="odd")
    with pytest.raises(InputError, match="metric 'odd': expected its attribute direction to be 'max' or 'min'"):
        direction(odd)
    odd.direction = "min"
    assert direction(odd) == "min"


def test_compile_args_of_several_targets():
    schema = contracts.small_schema(answer=TARGET, colour=Category(classes=["red", "blue"]))
    arguments = mk.compile_args(schema)
    assert list(arguments["loss"]) == list(arguments["weighted_metrics"]) == ["answer", "colour"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("sofmax", "'answer': unknown task 'sofmax'; did you mean 'softmax'"),
        ("linear", r"'answer': expected a task for Category \(softmax\), received 'linear', which is for Number"),
        ({"kind": "softmax", "dropot": 0.1}, "unknown option of task 'softmax': 'dropot'; did you mean 'dropout'"),
        ({"kind": "softmax", "wieght": 1}, "unknown option of task 'softmax': 'wieght'; did you mean 'weight'"),
        ({"kind": "softmax", "weight": 0}, "'answer': expected weight to be a number above 0 or 'learned', received 0"),
        ({"kind": "softmax", "focal": -1}, "'answer': expected focal to be a number from 0, received -1"),
        ({"kind": "softmax", "label_smoothing": 1}, "expected label_smoothing to be from 0 to below 1, received 1"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        contracts.head_model(choice, TARGET)
