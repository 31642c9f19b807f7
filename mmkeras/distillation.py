"""What a teacher knows, learned by a student that sees less, or other modalities: Keras' Distiller for our models.

    teacher = ...                                   # a trained model of image and audio
    student = mk.build(audio_schema, towers={"audio": "spectrogram"})
    distiller = mk.distiller(teacher, student, schemas=(both_schema, audio_schema))
    distiller.compile("adam", **mk.compile_args(audio_schema))
    distiller.fit(mk.batches(data["train"], 64, training=True), epochs=10)  # rows with the inputs of both
    student.compile("adam", **mk.compile_args(audio_schema))                # it has learned; use it as any model

Across modalities without labels, an image teacher answers for pairs of pictures and recordings, and an audio student
learns what it says: `student_loss_weight=0` and `mk.batches(..., targets=False)`. With an optional target some rows
may have labels: those without count in what the teacher says alone.
"""

from numbers import Real

import keras
from keras import ops
from keras.distillation import DistillationLoss, Distiller

from mmkeras.errors import InputError
from mmkeras.schema import Category, Labels, Number, Schema

TINY = 1e-7  # beside a probability, as Keras' crossentropy has it


def distiller(teacher, student, schemas, *, temperature=3.0, student_loss_weight=0.5):
    """A model that teaches a student what a teacher answers (Hinton, Vinyals and Dean, 2015).

    The loss is `student_loss_weight` times the student's own, of the labels, plus the rest times that of the teacher's
    answers: of a `Category` `T^2 KL(teacher || student)` of the probabilities at temperature T; of `Labels` the same of
    each class by itself, the mean over the classes; of a `Number` the squared difference in deviations. Several targets
    are summed. The weights of the rows count in the student's own loss alone.

    Args:
        teacher: trained `keras.Model` of `mk.build`; it is not trained further.
        student: `keras.Model` of `mk.build`, which is trained. It may read any of the inputs, and others than the
            teacher; its targets must be among the teacher's, of the same classes. Save the student, not the distiller.
        schemas: the teacher's and the student's fitted `Schema`.
        temperature: above 0; higher ones soften the answers.
        student_loss_weight: from 0, the teacher's answers alone, to 1, the labels alone.

    Returns:
        `keras.distillation.Distiller` of the inputs of both, by name, for batches without `group_by`. Compile it with
        `mk.compile_args` of the student's schema.

    Raises:
        InputError: a target that the teacher does not have, of another kind or of other classes; an input that the two
            schemas read in different ways; a model that is not of its schema; a student that has nothing to train, or
            weights of the teacher's; options out of their range.
    """
    teachers, students = _checked(schemas)
    shared = _targets(teachers, students)
    given, loss = _inputs(teachers, students), Answers(shared, temperature)
    _check_models(teacher, student, schemas)
    if (
        isinstance(student_loss_weight, bool)
        or not isinstance(student_loss_weight, Real)
        or not 0 <= student_loss_weight <= 1
    ):
        raise InputError(f"distiller: expected student_loss_weight to be from 0 to 1, received {student_loss_weight!r}")
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in given.items()}
    views = [_view(model, schema, inputs, shared) for model, schema in ((teacher, teachers), (student, students))]
    flags = [(layer, layer.trainable) for layer in _layers(teacher)]
    made = AnswerDistiller(*views, loss, student_loss_weight=float(student_loss_weight))
    for layer, trainable in flags:  # Keras' Distiller holds the teacher still for good; outer layers come first
        layer.trainable = trainable
    return made


def _layers(layer):
    """A layer and those inside, each before its own."""
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)


def _checked(schemas):
    right = isinstance(schemas, (tuple, list)) and len(schemas) == 2
    if not right or not all(isinstance(schema, Schema) for schema in schemas):
        raise InputError(
            f"distiller: expected schemas to be the teacher's and the student's Schema, received {schemas!r}"
        )
    for schema, whose in zip(schemas, ("teacher", "student"), strict=True):
        schema.require_fitted("distiller")
        if not schema.targets:
            raise InputError(f"distiller: expected targets in the {whose}'s schema, received none")
    return schemas


def _check_models(teacher, student, schemas):
    for model, schema, whose in zip((teacher, student), schemas, ("teacher", "student"), strict=True):
        if not isinstance(model, keras.Model):
            raise InputError(f"distiller: expected the {whose} to be a keras.Model, received {model!r}")
        names = [tensor.name for tensor in model.inputs]
        if names != list(schema.model_inputs):
            raise InputError(
                f"distiller: expected a {whose} of the inputs {', '.join(schema.model_inputs)}, as its schema has "
                f"them, received {', '.join(names)}"
            )
    taught = {id(weight) for weight in student.trainable_weights}
    if not taught or taught & {id(weight) for weight in teacher.weights}:
        received = "one that shares weights with the teacher" if taught else "one without"
        raise InputError(f"distiller: expected a student with trainable weights of its own, received {received}")


def _targets(teachers, students):
    """Dict of the student's targets, all of which the teacher answers too."""
    for name, target in students.targets.items():
        known = teachers.targets.get(name)
        if known is None:
            raise InputError(
                f"distiller: the student's target {name!r}: expected one of the teacher's, "
                + ", ".join(teachers.targets)
            )
        if type(known) is not type(target):
            received = f"{type(known).__name__} and {type(target).__name__}"
            raise InputError(f"distiller: {name!r}: expected targets of one kind, received {received}")
        if isinstance(target, (Category, Labels)) and known.classes != target.classes:
            raise InputError(
                f"distiller: {name!r}: expected the same classes in the same order, received {list(known.classes)} "
                f"of the teacher and {list(target.classes)} of the student"
            )
    return students.targets


def _inputs(teachers, students):
    """What both models receive: dict of name -> (shape, dtype)."""
    for name in teachers.inputs.keys() & students.inputs.keys():
        if teachers.inputs[name] != students.inputs[name]:
            raise InputError(
                f"distiller: {name!r}: expected the same input in both schemas, received {teachers.inputs[name]!r} of "
                f"the teacher and {students.inputs[name]!r} of the student"
            )
    return teachers.model_inputs | students.model_inputs


def _view(model, schema, inputs, targets):
    """The model over the inputs of both, with the answers to these targets alone."""
    answers = model([inputs[name] for name in schema.model_inputs])
    if isinstance(answers, dict):
        answers = {name: answers[name] for name in targets}
        answers = answers if len(targets) > 1 else next(iter(answers.values()))
    return keras.Model(list(inputs.values()), answers, name=model.name)


class Answers(DistillationLoss):
    """The distance of a student's answers from a teacher's, in the form in which the heads give them.

    Args:
        targets: dict of name -> the schema's target.
        temperature: as in `distiller`.
    """

    def __init__(self, targets, temperature):
        if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not temperature > 0:
            raise InputError(f"distiller: expected temperature to be a number above 0, received {temperature!r}")
        self.targets, self.temperature = targets, float(temperature)

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """The sum over the targets, each the mean over the rows; a scalar."""
        if not isinstance(teacher_outputs, dict):
            return self._distance(next(iter(self.targets.values())), teacher_outputs, student_outputs)
        pairs = {name: (target, teacher_outputs[name], student_outputs[name]) for name, target in self.targets.items()}
        return sum(self._distance(*pair) for pair in pairs.values())

    def _distance(self, target, teacher, student):
        if isinstance(target, Number):
            return ops.mean(ops.square((teacher - student) / target.std))
        several = isinstance(target, Labels)
        p, q = (self._logarithms(answers, several) for answers in (teacher, student))
        divergence = ops.sum(ops.exp(p) * (p - q), axis=-1)
        return self.temperature**2 * ops.mean(divergence)

    def _logarithms(self, answers, several):
        """Logarithms of the probabilities at the temperature; of each class by itself `(batch, classes, 2)`."""
        if several:
            answers = ops.stack([answers, 1 - answers], axis=-1)
        return ops.log_softmax(ops.log(answers + TINY) / self.temperature, axis=-1)


class AnswerDistiller(Distiller):
    """Keras' Distiller, whose student loss honours the weights of rows and of losses, as `mk.compile_args` gives them.

    Keras' own takes neither: a row whose target is missing would count with its placeholder. Losses that layers of the
    student add belong to its own loss.
    """

    def compile(self, optimizer="adam", loss=None, loss_weights=None, **kwargs):
        """As `Model.compile`; the loss is the student's."""
        if loss is None:
            raise InputError("distiller: expected the loss of mk.compile_args(the student's schema), received None")
        super().compile(optimizer, loss, **kwargs)
        self.loss_of_labels = _sum(loss, loss_weights)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Scalar."""
        y_pred = self(x, training=training) if y_pred is None else y_pred
        student = sum(self.student.losses, ops.zeros(()))
        student += 0.0 if y is None else self.loss_of_labels(self._own(y), y_pred, self._own(sample_weight))
        taught = self.distillation_losses[0].compute_loss(self.teacher(x, training=False), y_pred)
        total = self.student_loss_weight * student + (1 - self.student_loss_weight) * taught
        self.student_loss_tracker.update_state(student)
        self.distillation_loss_tracker.update_state(taught)
        self.total_loss_tracker.update_state(total)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Dict of name -> value; without labels of the losses alone."""
        if y is None:
            return self.get_metrics_result()
        return super().compute_metrics(x, self._own(y), y_pred, self._own(sample_weight))

    def _own(self, values):
        """Of a dict by target, where the student has only one: that one's."""
        targets = self.distillation_losses[0].targets
        return values[next(iter(targets))] if isinstance(values, dict) and len(targets) == 1 else values

    @property
    def trainable_weights(self):
        """The student's."""
        return self.student.trainable_weights

    @property
    def trainable_variables(self):
        """The student's."""
        return self.student.trainable_variables

    def get_metrics_result(self):
        """Dict of name -> value; the metrics of labels once there were any."""
        if all(getattr(metric, "built", True) for metric in self.metrics):
            return super().get_metrics_result()
        trackers = self.total_loss_tracker, self.distillation_loss_tracker
        return {"loss": trackers[0].result(), **{tracker.name: tracker.result() for tracker in trackers}}


def _sum(loss, loss_weights):
    """The losses of all heads as one function of truth, answers and the weights of the rows."""
    if not isinstance(loss, dict):
        return lambda truth, answers, rows: loss(truth, answers, sample_weight=rows)

    def total(truth, answers, rows):
        rows, weights = rows or dict.fromkeys(loss), loss_weights or dict.fromkeys(loss, 1.0)
        return sum(weights[n] * one(truth[n], answers[n], sample_weight=rows[n]) for n, one in loss.items())

    return total
