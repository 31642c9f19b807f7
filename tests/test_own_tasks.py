"""A task of one's own, of a kind of target of one's own, goes through all that acts by task."""

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import ops

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.targets import TARGETS, Target
from mmkeras.tasks import TASKS, Served, Task, Words, tasks_of

GRADES = ("poor", "fair", "good", "best")


@dataclass(frozen=True)
class Mark(Target):
    """An ordered grade; truth `(batch,)` int32."""

    grades: tuple[str, ...] = GRADES
    column: str | None = None
    optional: bool = False
    reads: str | tuple[str, ...] | None = None
    dtype = "int32"

    def encode(self, cells):
        """Places of the grades."""
        found = np.array([self.grades.index(cell) if cell in self.grades else -1 for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0


@keras.saving.register_keras_serializable("test_own_tasks")
class Off(keras.metrics.MeanMetricWrapper):
    """Grades off."""

    direction = "min"

    def __init__(self, name="off", dtype=None):
        super().__init__(off, name, dtype)

    def get_config(self):
        """The metric's arguments."""
        return {"name": self.name, "dtype": self.dtype}


def off(y_true, y_pred):
    """`(batch,)`: grades off."""
    place = ops.sum(ops.cast(y_pred > 0.5, "float32"), axis=-1)
    return ops.abs(ops.cast(ops.reshape(y_true, (-1,)), "float32") - place)


class MarkTask(Task):
    """The probability of being above each grade but the last."""

    serves = (Mark,)

    def output(self, fused, target, *, name):
        """`(batch, grades - 1)`."""
        return keras.layers.Dense(len(target.grades) - 1, "sigmoid", dtype="float32", name=name)(fused.vector)

    def output_shape(self, target):
        """`(grades - 1,)`."""
        return (len(target.grades) - 1,)

    def loss(self, target):
        """Crossentropy of each step."""
        return Above()

    def metrics(self, target):
        """Grades off."""
        return [Off()]

    def answer(self, outputs, target):
        """The grade; of each whether it is above, and how sure."""
        steps = outputs > 0.5
        return {"grade": ops.sum(ops.cast(steps, "int32"), axis=-1), "steps": steps, "sure": ops.max(outputs, axis=-1)}

    def words(self, target):
        """The grades."""
        return {"grade": Words(target.grades), "steps": Words(target.grades[1:], separator="/")}

    def scores(self, truth, answers, target):
        """The share of the rows whose grade is right."""
        return {"right": float(np.mean(np.asarray(target.grades)[truth] == answers["grade"]))}

    def served(self, target):
        """As a number."""
        return Served("regress", {"outputs": "sure"})

    def limits(self, target):
        """One."""
        return ["grades between two grades do not exist."]


@keras.saving.register_keras_serializable("test_own_tasks")
class Above(keras.losses.Loss):
    """Binary crossentropy of "above this grade"."""

    def call(self, y_true, y_pred):
        """`(batch,)`."""
        grades = ops.arange(y_pred.shape[-1], dtype="int32")
        truth = ops.cast(ops.cast(ops.reshape(y_true, (-1, 1)), "int32") > grades, y_pred.dtype)
        return keras.losses.binary_crossentropy(truth, y_pred)


@pytest.fixture(scope="module", autouse=True)
def registered():
    mk.targets.register("Mark")(Mark)
    mk.tasks.register("mark")(MarkTask)
    yield
    del TARGETS["Mark"], TASKS["mark"]


@pytest.fixture(scope="module")
def data(registered):
    """The word says the mark, every tenth of which is missing, and the price."""
    random = np.random.default_rng(0)
    place = random.integers(0, 4, 200)
    frame = pd.DataFrame({"word": np.array(["a", "b", "c", "d"])[place], "noise": random.choice(["up", "down"], 200)})
    frame["mark"] = np.where(np.arange(200) % 10, np.array(GRADES)[place], "")
    frame["price"] = (place * 2.0).astype(str)
    schema = mk.Schema({"word": mk.Text(1), "noise": mk.Text(1)}, {"mark": Mark(optional=True), "price": mk.Number()})
    return mk.read(frame, schema).fit()


@pytest.fixture(scope="module")
def model(data):
    keras.utils.set_random_seed(0)
    made = mk.build(data.schema, width=16)
    made.compile(keras.optimizers.Adam(0.02), **mk.compile_args(data.schema))
    made.fit(mk.batches(data, 50, training=True), epochs=20, shuffle=False, verbose=0)
    return made


def test_evaluate_judges_by_the_task(model, data):
    found = mk.evaluate(model, data, permutations=2, batch_size=64)
    assert found.metrics["mark_off"] == pytest.approx(0, abs=0.05)
    assert found.metrics["mark_right"] > 0.95
    table = mk.predict(model, data)
    has = data.frame["mark"] != ""
    assert found.metrics["mark_right"] == pytest.approx((table["mark"] == data.frame["mark"])[has].mean())
    whole = found.subsets[found.subsets["target"] == "mark"].set_index("modalities")
    assert set(whole["metric"]) == {"off"}
    assert whole["score"]["word", "noise"] == pytest.approx(found.metrics["mark_off"], abs=1e-6)
    assert whole["score"]["noise",] > 0.5


@pytest.mark.parametrize("batch_size", [7, 200, 1000])
def test_batches_of_any_size_score_the_same(model, data, batch_size):
    """Also of targets whose rows are missing, and where the last batch is smaller."""
    one, other = (mk.evaluate(model, data, permutations=1, batch_size=size).subsets for size in (64, batch_size))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=1e-5)
    pd.testing.assert_frame_equal(mk.predict(model, data, batch_size=batch_size), mk.predict(model, data), rtol=1e-5)


def test_predict(model, data):
    table = mk.predict(model, data)
    assert list(table.columns) == ["mark", "mark_steps", "mark_sure", "price"]
    steps = [tuple(GRADES[1 : GRADES.index(mark) + 1]) for mark in table["mark"]]
    assert (table["mark_steps"] == pd.Series(steps)).mean() > 0.95
    empty = mk.predict(model, data.take(np.arange(0)))
    assert (list(empty.columns), len(empty)) == (list(table.columns), 0)


def test_export(model, data, tmp_path):
    bundle = mk.export(model, data.schema, tmp_path / "marks")
    loaded = tf.saved_model.load(str(bundle))
    some = data.take(np.arange(12))
    values = {name: tf.constant(list(some.values(name))) for name in data.schema.inputs}
    answers = {name: value.numpy() for name, value in loaded.signatures["serving_default"](**values).items()}
    table = mk.predict(model, some)
    assert [mark.decode() for mark in answers["mark_grade"]] == list(table["mark"])
    assert [steps.decode() for steps in answers["mark_steps"]] == ["/".join(s) or "/" for s in table["mark_steps"]]
    np.testing.assert_allclose(answers["mark_sure"], table["mark_sure"], rtol=1e-5)
    assert {"regress_mark", "regress_price"} <= set(loaded.signatures)
    card = (bundle / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "| `mark` | `mark_grade`, `mark_steps`, `mark_sure` |" in card
    assert "- `mark`: grades between two grades do not exist." in card


def test_distillation(model, data):
    student = mk.build(data.schema, width=4)
    distiller = mk.distiller(model, student, (data.schema, data.schema), student_loss_weight=0.0)
    distiller.compile("sgd", **mk.compile_args(data.schema))
    x = next(iter(mk.batches(data, 8, targets=False)))
    taught, learned = model(x), student(x)
    apart = np.mean((taught["mark"].numpy() - learned["mark"].numpy()) ** 2)
    apart += np.mean((taught["price"].numpy() - learned["price"].numpy()) ** 2) / data.schema.targets["price"].std ** 2
    assert float(distiller.compute_loss(x, None, distiller(x), None)) == pytest.approx(apart, rel=1e-4)


def test_an_auxiliary_target_joins_the_fusion(data):
    schema = mk.Schema(data.schema.inputs, {**data.schema.targets, "mark": Mark(reads="word")})
    assert mk.build(schema, width=4).get_layer("body").get_layer("mark_token").kernel.shape == (3, 4)


def test_a_target_that_is_drawn(model, data):
    plt = pytest.importorskip("matplotlib.pyplot")
    axes = plt.figure().add_subplot()
    task = TASKS["mark"]
    task.draw(axes, "good", {"grade": "fair"})
    assert (axes.get_title(), axes.title.get_color()) == ("fair (true: good)", "tab:red")
    task.draw(axes, None, {"grade": "fair"})
    assert (axes.get_title(), axes.title.get_color()) == ("fair", "black")
    plt.close("all")


class TopTwo(mk.tasks.Softmax):
    """Another task than the default for a kind that is known."""

    def metrics(self, target):
        """The share of the rows whose class is among the two most probable."""
        return [keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]

    def answer(self, outputs, target):
        """The least probable class."""
        return {"least": ops.argmin(outputs, axis=-1)}

    def words(self, target):
        """The classes."""
        return {"least": Words(target.classes)}

    def columns(self, answers, target):
        """One."""
        return {"": answers["least"]}


@pytest.fixture
def words():
    frame = pd.DataFrame({"word": ["a", "b", "c", "a"] * 5, "answer": ["x", "y", "z", "x"] * 5})
    return mk.read(frame, mk.Schema({"word": mk.Text(1)}, {"answer": mk.Category()})).fit()


@pytest.fixture
def top_two():
    mk.tasks.register("top_two")(TopTwo)
    yield
    TASKS.pop("top_two", None)


def test_a_model_keeps_its_task(words, top_two, tmp_path):
    """Through the model's file, a view of it and a model around it; evaluate and predict ask the same task."""
    model = mk.build(words.schema, tasks={"answer": "top_two"}, width=4)
    model.compile("adam", **mk.compile_args(words.schema, model=model))
    expected = mk.evaluate(model, words)
    assert set(expected.metrics) == {"loss", "top2"}
    assert set(expected.subsets["metric"]) == {"top2"}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    around = keras.Model(loaded.inputs, loaded(loaded.inputs))
    classes = np.array(words.schema.targets["answer"].classes)
    probabilities = model.predict(mk.batches(words, 8, targets=False), verbose=0)
    for one in (loaded, around):
        assert isinstance(tasks_of(one, words.schema)["answer"], TopTwo)
        found = mk.predict(one, words)
        assert list(found.columns) == ["answer"]
        assert list(found["answer"]) == list(classes[probabilities.argmin(axis=1)])
    pd.testing.assert_frame_equal(mk.evaluate(loaded, words).subsets, expected.subsets)
    del TASKS["top_two"]
    with pytest.raises(InputError, match="'answer': the model was built with the task 'top_two', which is not registe"):
        mk.predict(loaded, words)


def test_a_default_task_leaves_no_trace(words):
    model = mk.build(words.schema, width=4)
    assert {type(layer).__module__.partition(".")[0] for layer in model.get_layer("body").layers} == {"keras"}
    given = mk.build(words.schema, tasks={"answer": TopTwo()}, width=4)  # not by a name
    assert isinstance(tasks_of(given, words.schema)["answer"], TopTwo)


def test_a_task_that_reads_nothing_known_is_refused():
    with pytest.raises(InputError, match="task 'pixels': expected a Task that reads one of vector, tokens, grid"):
        mk.tasks.register("pixels")(type("Pixels", (mk.tasks.Softmax,), {"reads": "pixels"}))


def test_columns_of_two_targets_with_one_name_are_refused():
    table = pd.DataFrame({"word": ["a", "b"] * 3, "kind": ["x", "y"] * 3, "kind_score": [1.0, 2.0] * 3})
    targets = {"kind": mk.Category(), "kind_score": mk.Number()}
    records = mk.read(table, mk.Schema({"word": mk.Text(1)}, targets)).fit()
    with pytest.raises(InputError, match="predict: expected columns of different names, received 'kind_score'"):
        mk.predict(mk.build(records.schema, width=4), records)


def test_another_task_than_the_models_is_refused():
    schema = mk.Schema({"word": mk.Text(1, vocabulary=["a"])}, {"y": mk.Category(["n", "y"]), "z": mk.Number(0, 1)})
    tasks = {"y": {"kind": "softmax", "weight": "learned"}}
    model = mk.build(schema, tasks=tasks, width=4)
    with pytest.raises(InputError, match="'y': the model learns the weight of its loss"):
        mk.compile_args(schema, {"y": "softmax"}, model)
    assert mk.compile_args(schema, tasks, model)["loss"]["y"].log_variance is not None


def test_a_model_keeps_the_options_of_its_losses(tmp_path):
    """Compiled from the model alone, before and after it was saved, it is what the tasks say."""
    schema = mk.Schema({"word": mk.Text(1, vocabulary=["a"])}, {"y": mk.Category(["n", "y"]), "z": mk.Number(0, 1)})
    tasks = {"y": {"kind": "softmax", "focal": 2, "weight": "learned"}, "z": {"kind": "linear", "weight": 0.5}}
    model = mk.build(schema, tasks=tasks, width=4)
    mk.save(tmp_path / "model.mmkeras", model, schema)
    expected = mk.compile_args(schema, tasks, model)
    truth, outputs = np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]], "float32")
    for one in (model, mk.load(tmp_path / "model.mmkeras")[0]):
        found = mk.compile_args(schema, model=one)
        assert found["loss_weights"] == expected["loss_weights"] == {"y": 1.0, "z": 0.5}
        assert float(found["loss"]["y"](truth, outputs)) == pytest.approx(float(expected["loss"]["y"](truth, outputs)))
        assert found["loss"]["y"].log_variance is one.get_layer("body").get_layer("y_loss_weight").log_variance


@pytest.mark.parametrize("second", ["digit_token", "digit_dropout", "digit_loss_weight"])
def test_targets_whose_layers_would_have_one_name(second):
    targets = {"digit": mk.Category(["0", "1"], reads="word"), second: mk.Category(["0", "1"])}
    schema = mk.Schema({"word": mk.Text(1, vocabulary=["a"]), "other": mk.Text(1, vocabulary=["b"])}, targets)
    with pytest.raises(InputError, match=f"build: two layers would have the name '{second}': give the input or target"):
        mk.build(schema, tasks={"digit": {"kind": "softmax", "dropout": 0.1, "weight": "learned"}}, width=4)
