import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.distillation import OutputDistance
from mmkeras.errors import InputError
from mmkeras.schema import Category, Image, Labels, Number, Schema, Series
from mmkeras.tasks import TASKS, default_of

PICTURE, TRACE = Image(8, 8, 1), Series(6, 1, means=[0], std=[1])
LABEL = Category(classes=["a", "b"], optional=True)
PAIRS = Schema({"image": PICTURE, "trace": TRACE}, {"label": LABEL})
HEARD = Schema({"trace": TRACE}, {"label": LABEL})
OTHER = Schema({"trace": TRACE}, {"label": Category(classes=["b", "a"])})
SEEN = Schema({"image": PICTURE}, {"label": LABEL})


@pytest.fixture(autouse=True)
def same_weights():
    """The same first weights in every run: of small towers some give zeros for a row."""
    keras.utils.set_random_seed(0)


def distance(targets, temperature):
    tasks = {name: TASKS[default_of(target)] for name, target in targets.items()}
    return OutputDistance(Schema({"trace": TRACE}, targets), tasks, temperature)


def softmax(x):
    x = np.exp(x)
    return x / x.sum(axis=-1, keepdims=True)


def softened(p, temperature):
    return softmax(np.log(p) / temperature)


def test_distances_by_hand():
    random = np.random.default_rng(0)
    p, q = (softmax(random.normal(size=(4, 3))).astype("float32") for _ in range(2))
    tags = [random.uniform(0.1, 0.9, (4, 2)).astype("float32") for _ in range(2)]
    numbers = np.array([1.0, 2, 3, 4], "float32"), np.array([2.0, 2, 5, 4], "float32")
    targets = {
        "n": Number(mean=0, std=2),
        "label": Category(classes=["a", "b", "c"]),
        "tags": Labels(classes=["x", "y"]),
    }
    a, b = softened(p, 2.0), softened(q, 2.0)
    of_label = 4 * (a * np.log(a / b)).sum(axis=1).mean()
    a, b = (softened(np.stack([part, 1 - part], axis=-1), 2.0) for part in tags)
    of_tags = 4 * (a * np.log(a / b)).sum(axis=-1).mean()
    loss = distance(targets, 2.0)
    teacher, student = ({"n": numbers[i], "label": (p, q)[i], "tags": tags[i]} for i in (0, 1))
    received = loss.compute_loss(*({k: tf.constant(v) for k, v in part.items()} for part in (teacher, student)))
    assert float(received) == pytest.approx(1.25 / 4 + of_label + of_tags, rel=1e-5)
    single = distance({"label": targets["label"]}, 2.0).compute_loss(tf.constant(p), tf.constant(q))
    assert float(single) == pytest.approx(of_label, rel=1e-5)


@pytest.fixture(scope="module")
def rows():
    """Pairs of which picture and trace say the same; x, y."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 64)
    pictures = np.where(y[:, None, None, None], 200, 50) + random.integers(-40, 40, (64, 8, 8, 1))
    traces = (np.where(y, 1.0, -1.0)[:, None, None] + random.normal(0, 0.5, (64, 6, 1))).astype("float32")
    return {"image": pictures.astype("uint8"), "trace": traces, "trace_length": np.full(64, 6, "int32")}, y


def test_across_modalities_without_labels(rows):
    x, y = rows
    keras.utils.set_random_seed(0)
    teacher = mk.build(SEEN, width=8)
    teacher.compile(keras.optimizers.Adam(0.01), **mk.compile_args(SEEN))
    teacher.fit(x["image"], y, epochs=20, batch_size=16, verbose=0)
    before = teacher.get_weights()
    student = mk.build(HEARD, width=8)
    distiller = mk.distiller(teacher, student, (SEEN, HEARD), student_loss_weight=0.0)
    assert [tensor.name for tensor in distiller.student.inputs] == ["image", "trace", "trace_length"]
    distiller.compile(keras.optimizers.Adam(0.01), **mk.compile_args(HEARD))
    history = distiller.fit(tf.data.Dataset.from_tensor_slices(x).batch(16), epochs=25, verbose=0, shuffle=False)
    assert history.history["loss"][-1] < history.history["loss"][0] / 2
    answers = student.predict({name: x[name] for name in ("trace", "trace_length")}, verbose=0)
    assert (answers.argmax(axis=1) == y).mean() > 0.9
    for weight, old in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert len(teacher.trainable_weights) == len(before)  # it may go on learning afterwards


def loss_of(distiller, x, y, rows):
    prediction = distiller(x)
    return float(distiller.compute_loss(x, y, prediction, rows))


def test_weights_of_rows_and_of_losses(rows):
    x, y = rows
    other = {"n": Number(mean=0, std=2), "label": LABEL}
    both = Schema({"trace": TRACE}, other)
    tasks = {"n": {"kind": "linear", "weight": 3.0}}
    models = [mk.build(both, width=4) for _ in range(2)]
    distiller = mk.distiller(*models, (both, both), student_loss_weight=0.25, temperature=2.0)
    distiller.compile("sgd", **mk.compile_args(both, tasks))
    weights = {"n": np.ones(64, "float32"), "label": (np.arange(64) < 4).astype("float32")}
    x = {name: x[name] for name in ("trace", "trace_length")}
    truth = {"n": y * 1.0, "label": y}
    received = loss_of(distiller, x, truth, weights)
    teacher, student = (model(x) for model in models)
    labels = -np.log(student["label"].numpy()[np.arange(4), y[:4]]).sum() / 64
    numbers = ((student["n"].numpy() - y) ** 2).mean() / 4
    taught = float(distance(other, 2.0).compute_loss(teacher, student))
    assert received == pytest.approx(0.25 * (labels + 3 * numbers) + 0.75 * taught, rel=1e-4)
    junk = {"n": truth["n"], "label": np.where(weights["label"], y, 1 - y)}
    assert loss_of(distiller, x, junk, weights) == pytest.approx(received, rel=1e-6)


def test_what_the_students_layers_add_counts(rows):
    x, y = rows
    teacher, student = mk.build(SEEN, width=4), mk.build(PAIRS, width=4, align="mse")
    distiller = mk.distiller(teacher, student, (SEEN, PAIRS), student_loss_weight=1.0)
    distiller.compile("sgd", **mk.compile_args(PAIRS))
    answers = student(x)
    term = float(tf.add_n(student.losses))
    own = -np.log(answers.numpy()[np.arange(64), y]).mean()
    assert loss_of(distiller, x, y, None) == pytest.approx(own + term, rel=1e-4)


def test_a_teacher_answers_as_at_inference(rows):
    """Also while the student is trained: neither dropout nor modality dropout in the teacher."""
    x, y = rows
    head = {"label": {"kind": "softmax", "dropout": 0.9}}
    teacher, student = mk.build(SEEN, width=8, tasks=head), mk.build(HEARD, width=4)
    distiller = mk.distiller(teacher, student, (SEEN, HEARD), student_loss_weight=0.0, temperature=2.0)
    distiller.compile("sgd", **mk.compile_args(HEARD))
    expected = distance({"label": LABEL}, 2.0).compute_loss(
        teacher(x["image"]), student([x["trace"], x["trace_length"]])
    )
    received = distiller.compute_loss(x, y, distiller(x, training=True), None, training=True)
    assert float(received) == pytest.approx(float(expected), rel=1e-4)


def test_a_student_of_one_of_several_targets(rows):
    x, y = rows
    both = Schema({"trace": TRACE}, {"n": Number(mean=0, std=2), "label": LABEL})
    distiller = mk.distiller(mk.build(both, width=4), mk.build(HEARD, width=4), (both, HEARD))
    distiller.compile("sgd", **mk.compile_args(HEARD), run_eagerly=True)
    truth, weights = {"n": y * 1.0, "label": y}, {"n": np.ones(64), "label": np.ones(64)}
    data = tf.data.Dataset.from_tensors((x, truth, weights))
    assert 0 < distiller.evaluate(data, return_dict=True, verbose=0)["accuracy"] < 1


def test_a_teacher_keeps_its_frozen_backbone():
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    teacher = mk.build(SEEN, towers={"image": mk.towers.from_model(backbone)}, width=4)
    frozen = [weight.path for weight in teacher.non_trainable_weights]
    distiller = mk.distiller(teacher, mk.build(HEARD, width=4), (SEEN, HEARD))
    assert [weight.path for weight in teacher.non_trainable_weights] == frozen
    assert len(distiller.trainable_weights) == len(distiller.student.trainable_weights)


@pytest.mark.parametrize(
    ("teacher", "student", "schemas", "message"),
    [
        (
            SEEN,
            HEARD,
            (HEARD, SEEN),
            "expected a teacher of the inputs trace, trace_length, as its schema has them, rec",
        ),
        (SEEN, HEARD, (SEEN, Schema(HEARD.inputs, {})), "expected targets in the student's schema, received none"),
        (
            SEEN,
            OTHER,
            (SEEN, OTHER),
            r"'label': expected the same words in the same order, received \['a', 'b'\] of the teacher and \['b'",
        ),
        (None, HEARD, (SEEN, HEARD), "expected teacher to be a keras.Model, received None"),
        (
            SEEN,
            "teacher",
            (SEEN, SEEN),
            "a student with trainable weights of its own, received one that shares weights",
        ),
    ],
)
def test_models_that_do_not_fit(teacher, student, schemas, message):
    teacher = mk.build(teacher, width=4) if teacher else None
    student = teacher if student == "teacher" else mk.build(student, width=4)
    with pytest.raises(InputError, match=message):
        mk.distiller(teacher, student, schemas)
    with pytest.raises(InputError, match=r"student_loss_weight to be a number from 0 to 1, received 1\.5"):
        mk.distiller(mk.build(SEEN, width=4), mk.build(HEARD, width=4), (SEEN, HEARD), student_loss_weight=1.5)


@pytest.mark.parametrize(
    ("schemas", "options", "message"),
    [
        (None, {}, "expected schemas to be the teacher's and the student's Schema, received None"),
        ((SEEN, HEARD), {"temperature": 0}, "expected temperature to be a number above 0, received 0"),
        (
            (SEEN, Schema({"trace": TRACE}, {"digit": LABEL})),
            {},
            "the student's target 'digit': expected one of the teacher's, label",
        ),
        (
            (SEEN, Schema({"trace": TRACE}, {"label": Number(mean=0, std=1)})),
            {},
            "'label': expected targets of one kind, received Category and Number",
        ),
        (
            (SEEN, Schema({"image": Image(9, 9, 1)}, {"label": LABEL})),
            {},
            "'image': expected the same input in both schemas, received",
        ),
    ],
)
def test_refused(schemas, options, message):
    teacher, student = mk.build(SEEN, width=4), mk.build(HEARD, width=4)
    with pytest.raises(InputError, match=message):
        mk.distiller(teacher, student, schemas, **options)
    with pytest.raises(InputError, match="expected the loss of mk"):
        mk.distiller(teacher, student, (SEEN, HEARD)).compile("sgd")
