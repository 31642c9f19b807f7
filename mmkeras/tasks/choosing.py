"""The catalogue of tasks, which task a target has, and its output in a model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from mmkeras.checks import check_number, is_number
from mmkeras.errors import InputError, unknown
from mmkeras.layers import Fused, LossWeight, TaskName, Tokens, WeightedMean
from mmkeras.registry import Catalogue, check_option, choose, own_options
from mmkeras.schema import Schema
from mmkeras.targets import Target
from mmkeras.tasks.base import Task, shape_of
from mmkeras.tasks.linear import Linear
from mmkeras.tasks.sigmoid import Sigmoid
from mmkeras.tasks.softmax import Softmax

READS = {"vector": "vector", "tokens": "tokens", "grid": "grids"}  # `Task.reads`: the field of Fused
TASKS = Catalogue(
    "task",
    {"softmax": Softmax(), "sigmoid": Sigmoid(), "linear": Linear()},
    "mmkeras.tasks",
    lambda part: isinstance(part, Task) and part.reads in READS,
    f"a Task that reads one of {', '.join(READS)}",
    Task,
)
register = TASKS.register


def default_of(target: Target) -> str:
    """Name of the default task of a target: the first that serves its kind, or the nearest base class of it."""
    kind = type(target)
    for base in kind.__mro__:
        for name, task in TASKS.items():
            if base in task.serves:
                return name
    known = ", ".join(sorted({one.__name__ for task in TASKS.values() for one in task.serves}))
    raise InputError(
        f"unknown kind {kind.__name__!r}: no task is known for it; expected one of {known}, or your own: "
        '@mmkeras.tasks.register("name")'
    )


@dataclass(frozen=True)
class Choice:
    """The task that was chosen for one target.

    Attributes:
        name: of the task.
        part: the `Task`.
        output: options of its output.
        loss: options of its loss.
        weight: of its loss, relative to other targets: a number above 0, or "learned".
    """

    name: str
    part: Task
    output: dict[str, Any]
    loss: dict[str, Any]
    weight: float | str


def options_of(task: Task) -> tuple[list[str], list[str]]:
    """Names of the options of a task's output and of its loss."""
    return own_options(task.output, ("target", "name")), own_options(task.loss, ())


def choose_task(target: Target, choice: Any, name: str) -> Choice:
    """The task that `choice` (a name, a dict of "kind" and options, or None) names for a target.

    Raises:
        InputError: an unknown task or option, a task of another kind of target, an option out of its range.
    """
    where = f"{name!r}: "
    kind, part, options = choose(TASKS, choice or default_of(target), where)
    if not isinstance(target, part.serves):
        serves = ", ".join(serving.__name__ for serving in part.serves)
        fitting = ", ".join(sorted(other for other, task in TASKS.items() if isinstance(target, task.serves)))
        raise InputError(
            f"{where}expected a task for {type(target).__name__} ({fitting}), received {kind!r}, which is for {serves}"
        )
    weight = options.pop("weight", 1.0)
    if weight != "learned" and not is_number(weight, least=0, above=True):
        raise InputError(f"{where}expected weight to be a number above 0 or 'learned', received {weight!r}")
    own, of_loss = options_of(part)
    for option, value in options.items():
        if option not in (*own, *of_loss):
            raise unknown(f"option of task {kind!r}:", option, [*own, *of_loss, "weight"], where)
        if option == "focal":
            check_number(value, option, where, least=0)
        check_option(option, value, where)
    taken = [{option: options[option] for option in known if option in options} for known in (own, of_loss)]
    return Choice(kind, part, taken[0], taken[1], weight if weight == "learned" else float(weight))


def output(fused: Fused, target: Target, choice: Any, *, name: str) -> Any:
    """The output of one target, named after it.

    Args:
        fused: the output of the fusion. With a fusion of decisions, a task that reads vectors gives an output for each
            modality, and these are averaged with learned weights.
        target: the schema's entry, fitted.
        choice: of the task: a name, a dict of "kind" and options, or None for the default.
        name: of the target.

    Returns:
        `(batch, ...)` float32, with the task's output shape.
    """
    chosen = choose_task(target, choice, name)
    if chosen.part.reads == "vector" and fused.decisions is not None:
        names = {modality: f"{name}_decision_of_{modality}" for modality in fused.decisions}
        outputs = [_checked(chosen, Fused(fused.decisions[one]), target, own) for one, own in names.items()]
        y = WeightedMean(list(names), dtype="float32", name=name)(outputs)
    else:
        y = _checked(chosen, fused, target, name)
    # a weight that is learned has a layer of its own
    options = chosen.loss if chosen.weight in (1, "learned") else {**chosen.loss, "weight": chosen.weight}
    if options or chosen.part is not TASKS[default_of(target)] or chosen.name in TASKS.own:
        y = TaskName(chosen.name, chosen.part, options, dtype="float32", name=task_name(name))(y)
    if chosen.weight == "learned":
        y = LossWeight(dtype="float32", name=loss_weight_name(name))(y)
    return y


def _checked(chosen, fused, target, name):
    """The task's output, if the fusion has what it reads and the output has the right shape."""
    if getattr(fused, READS[chosen.part.reads]) is None:
        raise InputError(
            f"{name!r}: task {chosen.name!r} reads {chosen.part.reads} of the fusion, which gives none: choose another "
            "fusion"
        )
    y = chosen.part.output(fused, target, name=name, **chosen.output)
    if tuple(y.shape[1:]) != chosen.part.output_shape(target):
        shape = shape_of(chosen.part.output_shape(target))
        raise InputError(f"{name!r}: expected its task to give {shape}, received {tuple(y.shape)}")
    return y


def token(outputs: Any, target: Target, choice: Any, *, width: int, name: str) -> Tokens | None:
    """How the output of a target that reads one input joins the fusion of all; None: not at all."""
    return choose_task(target, choice, name).part.token(outputs, target, width, name=name)


def loss_weight_name(target: str) -> str:
    """Name of the layer in "body" that learns the weight of the target's loss."""
    return f"{target}_loss_weight"


def task_name(target: str) -> str:
    """Name of the layer in "body" that holds the target's task, if it is not the default one without options."""
    return f"{target}_task_name"


def tasks_of(model: keras.Model, schema: Schema) -> dict[str, Task]:
    """The task of every target of a model: the tasks that `build` used, else the default ones.

    Raises:
        InputError: a model that was saved with a task that is not registered in this process.
    """
    return {name: choice["kind"] for name, choice in choices_of(model, schema).items()}


def choices_of(model: keras.Model, schema: Schema) -> dict[str, dict[str, Any]]:
    """`tasks_of` with the options of the loss: dict of target -> dict of "kind" (the `Task`), options and "weight"."""
    named = {layer.name: layer for layer in _layers(model) if isinstance(layer, TaskName | LossWeight)}
    choices = {name: _choice_of(named.get(task_name(name)), target, name) for name, target in schema.targets.items()}
    learned = {name: {"weight": "learned"} for name in choices if loss_weight_name(name) in named}
    return {name: {**choice, **learned.get(name, {})} for name, choice in choices.items()}


def _choice_of(layer, target, name):
    if layer is None:
        return {"kind": TASKS[default_of(target)]}
    found = layer.part or TASKS.get(layer.task)
    if found is None:
        raise InputError(
            f"{name!r}: the model was built with the task {layer.task!r}, which is not registered here: "
            f"@mmkeras.tasks.register({layer.task!r})"
        )
    return {"kind": found, **layer.options}


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a model and of the models within it."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(layer)
