"""Training parts of a model of `mk.build`: which are frozen, and at which learning rate the others are trained."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from mmkeras.checks import check_number, check_switch, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.layers import Frozen
from mmkeras.tasks import learn_loss_weights

WHOLE = ("alignment", "body")  # parts that are not of one input


def part_names(model: keras.Model) -> list[str]:
    """Names of the model's parts: of the inputs that have a tower, "body" and "alignment"."""
    names = [layer.name for layer in model.layers]
    towers = [name.removesuffix("_tower") for name in names if name.endswith("_tower")]
    return [*towers, *(name for name in WHOLE if name in names)]


def part_of(model: keras.Model, name: str, whose: str) -> keras.layers.Layer:
    """The tower of an input, or the sub-model of this name."""
    if name not in part_names(model):
        raise unknown("part", name, part_names(model), where=f"the {whose}: ")
    return model.get_layer(name if name in WHOLE else f"{name}_tower")


def _layers_of(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    """A part, with the missing token of an input."""
    return [part_of(model, name, "model"), *missing_token(model, name)]


def missing_token(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    """The layer `<input>_missing` in a list, which is empty if the input is not optional."""
    return [layer for layer in model.layers if layer.name == f"{name}_missing"]


@checked_keywords
def freeze(model: keras.Model, parts: Collection[str], *, frozen: bool = True) -> dict[str, int]:
    """Freeze parts of a model, or train them again.

    A frozen part keeps its weights, and its batch normalisation behaves as at inference; its dropout stays active.
    Layers that a tower was built to freeze (the backbone of `mk.towers.from_model(..., trainable=False)`, word vectors
    of `train_vectors=False`) always stay frozen. A compiled model is compiled again, because Keras applies the change
    only then: its optimizer and its learning rate schedule start afresh. A view of `mk.deduplicated_model` shares the
    parts: compile it again by hand.

    Args:
        model: `keras.Model` of `mk.build`.
        parts: list of inputs (their towers and missing tokens), "body" (fusion and tasks) and "alignment" (the shared
            space).
        frozen: False: they are trained again.

    Returns:
        dict of "trainable" and "frozen" -> number of single weights.

    Raises:
        InputError: an unknown part; a compiled model that Keras cannot compile again by itself (a loss that is a
            function of your own): nothing is changed then; freeze before you compile.
    """
    if isinstance(parts, str):
        raise InputError(f"freeze: expected parts to be a list, received {shown(parts)}")
    check_switch(frozen, "frozen", "freeze: ")
    layers = [layer for name in parts for layer in _layers_of(model, name)]
    config = _compile_config(model) if model.compiled else None
    for layer in layers:
        layer.trainable = not frozen
        for inner in getattr(layer, "layers", ()):
            if isinstance(inner, Frozen):
                inner.trainable = False
    if config is not None:
        _compile_again(model, config)
    counts = {"trainable": model.trainable_weights, "frozen": model.non_trainable_weights}
    return {name: sum(int(np.prod(weight.shape)) for weight in weights) for name, weights in counts.items()}


def _compile_config(model: keras.Model) -> dict[str, Any]:
    """The compile config, tried on a copy first: a failure half way would leave the model without an optimizer."""
    try:
        config = model.get_compile_config()
        # a config of its own: Keras takes things out of it
        keras.Model(model.inputs, model.outputs).compile_from_config(model.get_compile_config())
    except Exception as error:  # whatever Keras' deserialisation raises
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        raise InputError(f"freeze: cannot compile the model again ({reason}): freeze before compile") from error
    if not config:
        raise InputError("freeze: Keras does not know how the model was compiled: freeze before compile")
    return config


def _compile_again(model: keras.Model, config: dict[str, Any]) -> None:
    """Compile by this config; keep learned loss weights and weights without decay, which no config holds."""
    before = model.optimizer
    model.compile_from_config(config)
    learn_loss_weights(model)
    for old, new in zip(*map(_optimizers, (before, model.optimizer)), strict=True):
        _decay_alike(old, new)


def _optimizers(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """An optimizer, and the one inside it, as `keras.optimizers.LossScaleOptimizer` has one."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, inner]


def _decay_alike(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> None:
    """Copy the exclusions of `exclude_from_weight_decay` to another optimizer; they are not in the config."""
    for told in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, told):
            setattr(new, told, getattr(old, told))


@checked_keywords
def learning_rate_multipliers(
    optimizer: keras.optimizers.Optimizer, model: keras.Model, rates: Mapping[str, float]
) -> keras.optimizers.Optimizer:
    """The optimizer with a learning rate of its own for parts of a model (discriminative fine-tuning: Howard and Ruder,
    ULMFiT, 2018).

    The learning rate of a weight is the optimizer's rate (a number or a schedule) times the factor of its part; weight
    decay uses the optimizer's own rate. A saved model keeps the factors.

    Args:
        optimizer: an optimizer of `keras.optimizers`, e.g. `keras.optimizers.AdamW(1e-3)`.
        model: `keras.Model` of `mk.build`.
        rates: dict of input (its tower and missing token), "body" or "alignment" -> factor, above 0; others have 1. To
            train a part not at all, freeze it: `mk.freeze`.

    Returns:
        A new optimizer of the same kind and settings, including the exclusions from weight decay.

    Raises:
        InputError: an unknown part, a factor not above 0, an optimizer that is none of Keras', two weights of one path
            with different factors (two towers over one backbone).
    """
    if type(optimizer) not in BY_PART:
        raise InputError(
            f"learning_rate_multipliers: expected an optimizer of keras.optimizers, received {shown(optimizer)}"
        )
    if not isinstance(rates, Mapping):
        raise InputError(
            f"learning_rate_multipliers: expected rates to be a dict of part -> factor, received {shown(rates)}"
        )
    factors: dict[int, float] = {}  # by the weight's id
    for name, factor in rates.items():
        factor = check_number(factor, f"the factor of {name!r}", "learning_rate_multipliers: ", least=0, above=True)
        factors |= {id(weight): factor for layer in _layers_of(model, name) for weight in layer.weights}
    new = BY_PART[type(optimizer)].from_config({**optimizer.get_config(), "factors": _by_path(model, factors)})
    _decay_alike(optimizer, new)
    return new


def _by_path(model: keras.Model, factors: Mapping[int, float]) -> dict[str, float]:
    """Dict of a weight's path -> factor, from a dict by the weight's id."""
    found: dict[str, float] = {}
    for weight in model.weights:
        factor = factors.get(id(weight), 1.0)
        if found.setdefault(weight.path, factor) != factor:
            raise InputError(
                f"learning_rate_multipliers: {weight.path!r} is the path of weights with the factors "
                f"{found[weight.path]} and {factor}: expected other names of layers, or one factor for both"
            )
    return {path: factor for path, factor in found.items() if factor != 1.0}


class ByPart:
    """Base of the optimizers of `learning_rate_multipliers`.

    Args:
        factors: dict of a weight's path -> factor of the rate.
    """

    def __init__(self, *, factors: Mapping[str, float], **options: Any):
        super().__init__(**options)
        self.factors = dict(factors)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """The optimizer's step, at the weight's own rate."""
        path = self._trainable_variables[self._get_variable_index(variable)].path
        super().update_step(gradient, variable, learning_rate * self.factors.get(path, 1.0))

    def get_config(self) -> dict[str, Any]:
        """The optimizer's arguments."""
        return {**super().get_config(), "factors": dict(self.factors)}


def _by_part(kind: type) -> type:
    return keras.saving.register_keras_serializable("mmkeras")(type(f"{kind.__name__}ByPart", (ByPart, kind), {}))


def _kinds() -> Iterator[type]:
    """Keras' optimizers that take a step for each weight."""
    base = keras.optimizers.Optimizer
    for kind in vars(keras.optimizers).values():
        if isinstance(kind, type) and issubclass(kind, base) and kind.update_step is not base.update_step:
            yield kind


BY_PART = {kind: _by_part(kind) for kind in _kinds()}
