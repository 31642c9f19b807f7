import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.heads import HEADS, R2, AbsoluteError, SquaredDeviations
from mmkeras.schema import Category, Labels, Number

TARGET = Category(classes=["a", "b", "c"])
LABELS = Labels(classes=["a", "b", "c"])
NUMBER = Number(mean=1000, deviation=20, unit="g")
TARGETS = {kind: next(t for t in (TARGET, LABELS, NUMBER) if isinstance(t, HEADS[kind].kinds)) for kind in HEADS}
X = np.random.default_rng(0).normal(size=(6, contracts.WIDTH)).astype("float32")
every_head = pytest.mark.parametrize("kind", sorted(HEADS))


@every_head
def test_last_layer_bears_the_targets_name(kind):
    model = contracts.head_model(kind, TARGETS[kind])
    assert model.layers[-1].name == "answer"
    assert model.output.dtype == "float32"
    assert model.output.shape == (None, *TARGETS[kind].answer_shape)


@every_head
def test_gradients_and_round_trip(kind, tmp_path):
    contracts.gradients_reach_every_weight(contracts.head_model(kind, TARGETS[kind]), X)
    contracts.round_trip_is_equal(contracts.head_model(kind, TARGETS[kind]), X, tmp_path / "head.keras")


@every_head
def test_order_of_the_batch(kind):
    contracts.order_of_the_batch_changes_nothing(contracts.head_model(kind, TARGETS[kind]), X)


@every_head
def test_the_head_is_float32_under_mixed_precision(kind):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert contracts.head_model({"kind": kind, "dropout": 0.1}, TARGETS[kind]).output.dtype == "float32"
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
    r2 = R2(mean=1e6 + 1, deviation=0.8)
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
    standard = keras.Model(dense.inputs[0], dense.get_layer("answer_deviations").output)
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


@pytest.mark.parametrize("part", [SquaredDeviations(3.0), AbsoluteError(), R2(1.0, 2.0)])
def test_configs_come_back(part):
    again = type(part).from_config(part.get_config())
    assert again.get_config() == part.get_config()


def test_compile_args_of_several_targets():
    schema = contracts.small_schema(answer=TARGET, colour=Category(classes=["red", "blue"]))
    arguments = mk.compile_args(schema)
    assert list(arguments["loss"]) == list(arguments["weighted_metrics"]) == ["answer", "colour"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("sofmax", "'answer': unknown head 'sofmax'; did you mean 'softmax'"),
        ("linear", r"'answer': expected a head for Category \(softmax\), received 'linear', which is for Number"),
        ({"kind": "softmax", "dropot": 0.1}, "unknown option of head 'softmax': 'dropot'; did you mean 'dropout'"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        contracts.head_model(choice, TARGET)
