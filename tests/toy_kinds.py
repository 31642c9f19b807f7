"""A kind of input and a kind of target that mmkeras does not have: all that a user writes to add them.

A point cloud is a `.npy` file of `(points, 3)`, padded. A grade is one of several ordered ones; its output is the
probability of being above each of them but the last (McCullagh, Regression models for ordinal data, 1980). Nothing else
knows of the two: tests/test_kinds.py takes them through everything.
"""

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops

import mmkeras as mk
from mmkeras.augment.base import Augmentation
from mmkeras.decode.numbers import NumbersCodec
from mmkeras.inputs import Input
from mmkeras.layers import Tokens, hide_padding, masked_mean, one_token
from mmkeras.records import description
from mmkeras.retrieval import figures
from mmkeras.targets import Target
from mmkeras.tasks import Task, Words
from mmkeras.tuning import space

# The input ----------------------------------------------------------------------------------------------------------


@mk.inputs.register("PointCloud")
@dataclass(frozen=True)
class PointCloud(Input):
    """Points in space, of which the first are kept: `(batch, points, 3)` float32 and `<name>_length` `(batch,)`."""

    points: int
    _: KW_ONLY
    optional: bool = False
    column: str | None = None
    files = True
    padded = True
    wire = "numbers"

    @property
    def shape(self):
        """`(points, 3)`."""
        return (self.points, 3)


mk.decode.register(PointCloud)(NumbersCodec)


@mk.towers.register("points", default_for=(PointCloud,))
def points(x, *, mask, feature: PointCloud, width, name, tokens="one"):
    """Dense layers on every point, then the mean over the points (Zaheer et al., Deep sets, 2017)."""
    x = hide_padding(Tokens(x, mask)).values
    x = keras.layers.Dense(width, activation="relu", name=f"{name}_hidden")(x)
    made = Tokens(keras.layers.Dense(width, activation="relu", name=f"{name}_dense")(x), mask)
    return made if tokens == "all" else one_token(masked_mean(made))


@mk.augment.register(PointCloud)
class PointCloudAugmentation(Augmentation):
    """Every point is moved at random."""

    limits: ClassVar = {"jitter": (0, 10, "units")}

    def apply(self, x, draws, options, feature):
        """`(batch, points, 3)`; what stands behind the last point stays 0."""
        moved = x + options["jitter"] * draws.normal("jitter", feature.shape)
        return tf.where(tf.reduce_any(x != 0, axis=-1, keepdims=True), moved, 0)


@description.register(PointCloud)
class PointCloudDescriber(description.FileDescriber):
    """The number of points of each file."""

    measure, whole, title, columns = "points", True, "points of clouds", ("kind", "points")

    def header(self, path):
        """The format and the number of points."""
        return "NPY", len(np.load(path, mmap_mode="r"))

    def limit(self, part):
        """The points that are kept."""
        return part.points, f"points={part.points}"


space.register(PointCloud)(["points"])


@figures.register(PointCloud)
class PointCloudDrawer(figures.Drawer):
    """The points from above."""

    def draw(self, axes, value, feature):
        """`(points, 3)`."""
        axes.scatter(value[:, 0], value[:, 1], s=2)


# The target ---------------------------------------------------------------------------------------------------------


@mk.targets.register("Grade")
@dataclass(frozen=True)
class Grade(Target):
    """One of several ordered grades: the truth `(batch,)` int32 is its place among them."""

    grades: tuple[str, ...]
    _: KW_ONLY
    optional: bool = False
    column: str | None = None
    reads: str | tuple[str, ...] | None = None
    dtype = "int32"

    def __post_init__(self):
        self.check_options()
        object.__setattr__(self, "grades", tuple(self.grades))

    @property
    def expected(self):
        """What a cell has to hold."""
        return f"one of {', '.join(self.grades)}"

    def encode(self, cells):
        """Places of the grades `(rows,)`, and whether each cell holds one."""
        place = {grade: number for number, grade in enumerate(self.grades)}
        found = np.array([place.get(cell, -1) for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0


@keras.saving.register_keras_serializable("toy_kinds")
class GradeCrossentropy(keras.losses.Loss):
    """Binary crossentropy of "above this grade", the mean over all grades but the last."""

    def call(self, y_true, y_pred):
        """`(batch,)` and `(batch, grades - 1)` -> `(batch,)`."""
        grades = ops.arange(y_pred.shape[-1], dtype="int32")
        above = ops.cast(ops.reshape(ops.cast(y_true, "int32"), (-1, 1)) > grades, y_pred.dtype)
        return keras.losses.binary_crossentropy(above, y_pred)


@keras.saving.register_keras_serializable("toy_kinds")
class GradesOff(keras.metrics.Mean):
    """How many grades the prediction is off, the mean."""

    direction = "min"

    def __init__(self, name="off", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """`(batch,)` and `(batch, grades - 1)`; weights `(batch,)`."""
        predicted = ops.sum(ops.cast(y_pred > 0.5, "float32"), axis=-1)
        return super().update_state(ops.abs(ops.cast(ops.reshape(y_true, (-1,)), "float32") - predicted), sample_weight)


@mk.tasks.register("grade")
class GradeTask(Task):
    """The probability of being above each grade but the last."""

    serves = (Grade,)

    def output(self, fused, target, *, name, dropout=0.0):
        """`(batch, grades - 1)` float32."""
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(fused.vector) if dropout else fused.vector
        return keras.layers.Dense(len(target.grades) - 1, activation="sigmoid", dtype="float32", name=name)(x)

    def output_shape(self, target):
        """`(grades - 1,)`."""
        return (len(target.grades) - 1,)

    def loss(self, target):
        """Crossentropy of "above this grade"."""
        return GradeCrossentropy()

    def metrics(self, target):
        """Grades off."""
        return [GradesOff()]

    def answer(self, outputs, target):
        """The grade, and the probability of being above each."""
        return {"grade": ops.sum(ops.cast(outputs > 0.5, "int32"), axis=-1), "above": outputs}

    def words(self, target):
        """The grades."""
        return {"grade": Words(target.grades)}


@description.register(Grade)
class GradeDescriber(description.Describer):
    """The rows of each grade."""

    measure, title = "place", "places of grades"

    def table(self, part, distinct, number):
        """The place of each row's grade."""
        return pd.DataFrame({"place": part.encode(list(distinct))[0][number]})
