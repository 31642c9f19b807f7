"""Tasks: one task for each target of a model. It turns the output of the fusion into one named output.

A task defines output, loss, metrics, decoding, serving, drawing and description of its targets: see `Task`. One task a
file; `TASKS` is the catalogue, and your own task joins it by `register`:

    @mk.tasks.register("top2")
    class TopTwo(mk.tasks.Softmax):
        def metrics(self, target):
            return [keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]

Every metric uses the same sample weights as the loss, so a missing target counts in neither.
"""

from mmkeras.tasks.base import Served, Task, Words, in_words, shape_of
from mmkeras.tasks.choosing import (
    TASKS,
    choose_task,
    default_of,
    options_of,
    output,
    register,
    tasks_of,
    token,
)
from mmkeras.tasks.compiling import compile_args, learn_loss_weights
from mmkeras.tasks.linear import Linear
from mmkeras.tasks.losses import Crossentropy, StandardizedSquaredError, WeightedLoss
from mmkeras.tasks.metrics import R2, AbsoluteError, direction
from mmkeras.tasks.sigmoid import Sigmoid
from mmkeras.tasks.softmax import Softmax

__all__ = [
    "R2",
    "TASKS",
    "AbsoluteError",
    "Crossentropy",
    "Linear",
    "Served",
    "Sigmoid",
    "Softmax",
    "StandardizedSquaredError",
    "Task",
    "WeightedLoss",
    "Words",
    "choose_task",
    "compile_args",
    "default_of",
    "direction",
    "in_words",
    "learn_loss_weights",
    "options_of",
    "output",
    "register",
    "shape_of",
    "tasks_of",
    "token",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
