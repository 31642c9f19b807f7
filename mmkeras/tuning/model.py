"""The space as KerasTuner's HyperModel: plain models, for those who drive a tuner themselves, and for the search."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import keras_tuner
import pandas as pd

from mmkeras.errors import InputError, shown
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards
from mmkeras.records import Records
from mmkeras.training import Training, fit, prepare
from mmkeras.tuning.space import space_of

# the search space: names and their choices, or a function of KerasTuner's hyperparameters
Space = Mapping[str, Any] | Callable[[Any], ModelSpec] | None


def hypermodel(data: Mapping[str, Records | Shards], *, space: Space = None, **training: Any) -> "SpecModel":
    """A `keras_tuner.HyperModel` over fusions, towers and widths.

        tuner = keras_tuner.RandomSearch(mk.hypermodel(data, epochs=5), objective="val_accuracy", max_trials=10)
        tuner.search()

    Args:
        data: mapping of "train" and "val" to `Records` or `Shards` with one fitted schema.
        space: as of `tune`.
        training: options of `mmkeras.training.Training`. "learning_rate" and "batch_size" are the
            hyperparameters of these names where the space has them.

    Returns:
        `keras_tuner.HyperModel`: `build(hp)` gives a compiled `keras.Model`, `fit(hp, model, **options)` trains it on
        data["train"] and watches data["val"]; options are those of `keras.Model.fit`.

    Raises:
        InputError: no "train" or "val", an unknown option or hyperparameter.
    """
    require_splits(data, "hypermodel")
    schema = data["train"].schema
    return SpecModel(data, space_of(schema, space), Training.from_options(training, beside=hypermodel))


def require_splits(data: Mapping[str, Any], purpose: str) -> None:
    """Raise an `InputError` unless there are rows to train on and rows to choose by."""
    if not isinstance(data, Mapping) or not all(isinstance(part, Records | Shards) for part in data.values()):
        text = f"a {type(data).__name__}" if isinstance(data, pd.DataFrame | keras.Model) else shown(data)
        raise InputError(
            f'{purpose}: expected data to be Splits, as mk.read(table, schema).split({{"train": 0.8, "val": 0.2}}), '
            f"or a dict of Records, received {text}"
        )
    for split in ("train", "val"):
        if split not in data:
            raise InputError(
                f"{purpose}: expected data with {split!r}, received {', '.join(map(str, data)) or 'none'}"
                + (": records.split(..., val=0.1) makes one of 'train'" if split == "val" else "")
            )
        if isinstance(data[split], Records):
            data[split].require_rows(f"{purpose}: {split!r}")


class SpecModel(keras_tuner.HyperModel):
    """The HyperModel of `hypermodel`."""

    def __init__(self, data: Mapping[str, Records | Shards], space: Callable[[Any], ModelSpec], training: Training):
        super().__init__()
        self.data, self.space, self.training = data, space, training

    def spec(self, hp: keras_tuner.HyperParameters) -> ModelSpec:
        """The `ModelSpec` of these hyperparameters."""
        spec = self.space(hp)
        if not isinstance(spec, ModelSpec):
            raise InputError(f"space: expected it to return a ModelSpec, received {shown(spec)}")
        return spec

    def training_of(self, hp: keras_tuner.HyperParameters) -> Training:
        """The `Training` of these hyperparameters; call `spec` first, which asks for them."""
        named = {name: hp.values[name] for name in ("learning_rate", "batch_size") if name in hp.values}
        if "tuner/epochs" in hp.values:  # Hyperband's
            named["epochs"] = hp.values["tuner/epochs"]
        return dataclasses.replace(self.training, **named)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The compiled model."""
        spec = self.spec(hp)
        return prepare(self.data["train"].schema, spec, self.training_of(hp), len(self.data["train"]))

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        initial_epoch: int = 0,
        epochs: int | None = None,
        verbose: str | int = "auto",
    ) -> keras.callbacks.History:
        """Train it."""
        spec, training = self.spec(hp), self.training_of(hp)
        if epochs is not None:
            training = dataclasses.replace(training, epochs=epochs)
        return fit(model, self.data, spec, training, callbacks=callbacks, initial_epoch=initial_epoch, verbose=verbose)


class Asker(keras_tuner.HyperModel):
    """Asks for the hyperparameters of a `SpecModel` and builds nothing."""

    def __init__(self, model: SpecModel):
        super().__init__()
        self.model = model

    def build(self, hp: keras_tuner.HyperParameters) -> None:
        """Call the space. Raises `InputError` for a spec with parts that have no name."""
        self.model.spec(hp).to_json()
