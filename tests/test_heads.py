import contracts
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.heads import HEADS
from mmkeras.schema import Category

TARGET = Category(classes=["a", "b", "c"])
X = np.random.default_rng(0).normal(size=(6, contracts.WIDTH)).astype("float32")
every_head = pytest.mark.parametrize("kind", sorted(HEADS))


@every_head
def test_last_layer_bears_the_targets_name(kind):
    model = contracts.head_model(kind, TARGET)
    assert model.layers[-1].name == "answer"
    assert model.output.dtype == "float32"


@every_head
def test_gradients_and_round_trip(kind, tmp_path):
    contracts.gradients_reach_every_weight(contracts.head_model(kind, TARGET), X)
    contracts.round_trip_is_equal(contracts.head_model(kind, TARGET), X, tmp_path / "head.keras")


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


def test_compile_args_of_several_targets():
    schema = contracts.small_schema(answer=TARGET, colour=Category(classes=["red", "blue"]))
    arguments = mk.compile_args(schema)
    assert list(arguments["loss"]) == list(arguments["weighted_metrics"]) == ["answer", "colour"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("sofmax", "'answer': unknown head 'sofmax'; did you mean 'softmax'"),
        ({"kind": "softmax", "dropot": 0.1}, "unknown option of head 'softmax': 'dropot'; did you mean 'dropout'"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        contracts.head_model(choice, TARGET)
