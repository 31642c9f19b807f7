"""Knowledge distillation: a student with fewer or other modalities learns from a teacher, by Keras' Distiller.

    teacher = ...                                   # a trained model of image and audio
    student = mk.build(audio_schema, towers={"audio": "spectrogram"})
    distiller = mk.distiller(teacher, student, schemas=(both_schema, audio_schema))
    distiller.compile("adam", **mk.compile_args(audio_schema))
    distiller.fit(mk.batches(data["train"], 64, training=True), epochs=10)  # rows with the inputs of both
    student.compile("adam", **mk.compile_args(audio_schema))                # it is trained; use it as any model

Across modalities without labels, an image teacher predicts for pairs of pictures and recordings, and an audio student
learns its predictions: `student_loss_weight=0` and `mk.batches(..., targets=False)`. With an optional target some rows
may have labels: the others count only in the teacher's part of the loss.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops
from keras.distillation import DistillationLoss, Distiller

from mmkeras.checks import check_number, checked_keywords
from mmkeras.errors import InputError, shown
from mmkeras.schema import Schema
from mmkeras.tasks import Task, shape_of, tasks_of


@checked_keywords
def distiller(
    teacher: keras.Model,
    student: keras.Model,
    schemas: Sequence[Schema],
    *,
    temperature: float = 3.0,
    student_loss_weight: float = 0.5,
) -> Distiller:
    """A model that teaches a student what a teacher predicts (Hinton, Vinyals and Dean, 2015).

    The loss is `student_loss_weight` times the student's own loss on the labels, plus the rest times the distance from
    the teacher's outputs, as the student's tasks measure it. For a `Category` it is `T^2 KL(teacher || student)` of the
    probabilities at temperature T; for `Labels` the same for each class by itself, the mean over the classes; for a
    `Number` the squared difference in standard deviations. Several targets are summed. Sample weights count only in the
    student's own loss.

    Args:
        teacher: trained `keras.Model` of `mk.build`; it is not trained further.
        student: `keras.Model` of `mk.build`, which is trained. It may read the teacher's inputs or others; its targets
            must be among the teacher's, with the same classes. Save the student, not the distiller.
        schemas: the teacher's and the student's fitted `Schema`.
        temperature: above 0; a higher one softens the probabilities.
        student_loss_weight: from 0, the teacher's outputs alone, to 1, the labels alone.

    Returns:
        `keras.distillation.Distiller` of the inputs of both, by name, for batches without `group_by`. Compile it with
        `mk.compile_args` of the student's schema.

    Raises:
        InputError: a target that the teacher does not have, of another kind, other words or another shape; an input
            that the two schemas read in different ways; a model that does not belong to its schema; a student without
            trainable weights, or with weights of the teacher; options out of their range.
    """
    teachers, students = _checked(schemas)
    _check_targets(teachers, students)
    given = _inputs(teachers, students)
    check_number(temperature, "temperature", "distiller: ", least=0, above=True)
    check_number(student_loss_weight, "student_loss_weight", "distiller: ", least=0, most=1)
    _check_models(teacher, student, schemas)
    tasks = _tasks(teacher, student, teachers, students)
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in given.items()}
    views = [_view(model, schema, inputs, students) for model, schema in ((teacher, teachers), (student, students))]
    loss = OutputDistance(students, tasks, float(temperature))
    flags = [(layer, layer.trainable) for layer in _layers(teacher)]
    made = OutputDistiller(*views, loss, student_loss_weight=float(student_loss_weight))
    for layer, trainable in flags:  # Keras' Distiller freezes the teacher for good; outer layers come first
        layer.trainable = trainable
    return made


def _layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    """A layer and the layers inside it, outer layers first."""
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)


def _checked(schemas: Any) -> Sequence[Schema]:
    right = isinstance(schemas, (tuple, list)) and len(schemas) == 2
    if not right or not all(isinstance(schema, Schema) for schema in schemas):
        raise InputError(
            f"distiller: expected schemas to be the teacher's and the student's Schema, received {shown(schemas)}"
        )
    for schema, whose in zip(schemas, ("teacher", "student"), strict=True):
        schema.require_fitted("distiller")
        if not schema.targets:
            raise InputError(f"distiller: expected targets in the {whose}'s schema, received none")
    return schemas


def _check_models(teacher: Any, student: Any, schemas: Sequence[Schema]) -> None:
    for model, schema, whose in zip((teacher, student), schemas, ("teacher", "student"), strict=True):
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


def _check_targets(teachers: Schema, students: Schema) -> None:
    """Raise an `InputError` unless the teacher has all of the student's targets, of the same kinds."""
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


def _tasks(teacher: keras.Model, student: keras.Model, teachers: Schema, students: Schema) -> dict[str, Task]:
    """The student's tasks, if the outputs of the teacher's have the same shapes and mean the same."""
    known, tasks = tasks_of(teacher, teachers), tasks_of(student, students)
    for name, task in tasks.items():
        pairs = ((known[name], teachers.targets[name]), (task, students.targets[name]))
        words = [[list(part.words) for part in one.words(target).values()] for one, target in pairs]
        if words[0] != words[1]:
            received = " of the teacher and ".join(shown(next(iter(own), [])) for own in words)
            raise InputError(
                f"distiller: {name!r}: expected the same words in the same order, received {received} of the student"
            )
        shapes = [one.output_shape(target) for one, target in pairs]
        if shapes[0] != shapes[1]:
            received = " of the teacher and ".join(map(shape_of, shapes))
            raise InputError(f"distiller: {name!r}: expected outputs of one shape, received {received} of the student")
    return tasks


def _inputs(teachers: Schema, students: Schema) -> dict[str, tuple[tuple[int, ...], str]]:
    """The inputs of both models: dict of name -> (shape, dtype)."""
    for name in teachers.inputs.keys() & students.inputs.keys():
        if teachers.inputs[name] != students.inputs[name]:
            raise InputError(
                f"distiller: {name!r}: expected the same input in both schemas, received "
                f"{shown(teachers.inputs[name])} of the teacher and {shown(students.inputs[name])} of the student"
            )
    return teachers.model_inputs | students.model_inputs


def _view(model: keras.Model, schema: Schema, inputs: Mapping[str, Any], students: Schema) -> keras.Model:
    """The model over the inputs of both, with the outputs of the student's targets alone."""
    outputs = schema.by_target(model([inputs[name] for name in schema.model_inputs]))
    own = students.fold({name: outputs[name] for name in students.targets})
    return keras.Model(list(inputs.values()), own, name=model.name)


class OutputDistance(DistillationLoss):
    """The distance of a student's outputs from a teacher's, as the tasks measure it.

    Args:
        schema: the student's.
        tasks: the student's, dict of target -> `Task`.
        temperature: as in `distiller`.
    """

    def __init__(self, schema: Schema, tasks: Mapping[str, Task], temperature: float):
        self.schema, self.tasks, self.temperature = schema, tasks, temperature

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """The sum over the targets, each the mean over the rows; a scalar."""
        taught, learned = self.schema.by_target(teacher_outputs), self.schema.by_target(student_outputs)
        targets = self.schema.targets
        distances = [
            task.distance(targets[name], taught[name], learned[name], self.temperature)
            for name, task in self.tasks.items()
        ]
        return sum(distances)


class OutputDistiller(Distiller):
    """Keras' Distiller with a student loss that uses sample weights and loss weights, as `mk.compile_args` gives them.

    Keras' own uses neither: a row whose target is missing would count with its placeholder. Losses that layers of the
    student add belong to its own loss.
    """

    def compile(self, optimizer: Any = "adam", loss: Any = None, loss_weights: Any = None, **kwargs: Any) -> None:
        """As `Model.compile`; the loss is the student's."""
        if loss is None:
            raise InputError("distiller: expected the loss of mk.compile_args(the student's schema), received None")
        super().compile(optimizer, loss, **kwargs)
        self.loss_of_labels = _sum(loss, loss_weights)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
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

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Dict of name -> value; without labels only the losses."""
        if y is None:
            return self.get_metrics_result()
        return super().compute_metrics(x, self._own(y), y_pred, self._own(sample_weight))

    def _own(self, values: Any) -> Any:
        """The value of the student's only target, from a dict by target."""
        targets = self.distillation_losses[0].schema.targets
        return values[next(iter(targets))] if isinstance(values, dict) and len(targets) == 1 else values

    @property
    def trainable_weights(self) -> list:
        """The student's."""
        return self.student.trainable_weights

    @property
    def trainable_variables(self) -> list:
        """The student's."""
        return self.student.trainable_variables

    def get_metrics_result(self) -> dict[str, Any]:
        """Dict of name -> value; with the labels' metrics once there were labels."""
        if all(getattr(metric, "built", True) for metric in self.metrics):
            return super().get_metrics_result()
        trackers = self.total_loss_tracker, self.distillation_loss_tracker
        return {"loss": trackers[0].result(), **{tracker.name: tracker.result() for tracker in trackers}}


def _sum(loss: Any, loss_weights: Any) -> Callable[[Any, Any, Any], Any]:
    """The losses of all targets as one function of truth, outputs and the weights of the rows."""
    if not isinstance(loss, dict):
        return lambda truth, outputs, rows: loss(truth, outputs, sample_weight=rows)

    def total(truth, outputs, rows):
        rows, weights = rows or dict.fromkeys(loss), loss_weights or dict.fromkeys(loss, 1.0)
        return sum(weights[n] * one(truth[n], outputs[n], sample_weight=rows[n]) for n, one in loss.items())

    return total
