"""Training by mmkeras itself: in the demo and in the trials of a search."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import keras

from mmkeras.checks import check_number, check_whole
from mmkeras.errors import unknown
from mmkeras.model import build, deduplicated_model
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards, batches
from mmkeras.pipeline.weights import ClassWeight
from mmkeras.records import Records
from mmkeras.registry import own_options
from mmkeras.schema import Schema
from mmkeras.tasks import compile_args


@dataclass(frozen=True)
class Training:
    """AdamW (Loshchilov and Hutter, 2019), warmed up over the first epochs, then a cosine to 0.

    Args:
        epochs: of training.
        batch_size: rows in a batch.
        learning_rate: the peak rate, reached after the warm-up.
        warm_up: epochs in which the rate rises from 0.
        weight_decay: of AdamW.
        augment, class_weight, group_by: of `mk.batches`.
        seed: of the weights, the order of the rows, dropout and augmentation.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    warm_up: int = 1
    weight_decay: float = 0.01
    augment: Mapping[str, Mapping[str, Any]] | None = None
    class_weight: ClassWeight = None
    group_by: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("warm_up", 0), ("seed", 0)):
            check_whole(getattr(self, name), name, "Training: ", least=least)
        check_number(self.learning_rate, "learning_rate", "Training: ", least=0, above=True)
        check_number(self.weight_decay, "weight_decay", "Training: ", least=0)

    @classmethod
    def from_options(cls, options: Mapping[str, Any], beside: Callable | None = None) -> Self:
        """The training from a dict; a misspelt key is refused.

        Args:
            options: by name.
            beside: the function that takes these options with its own keyword arguments, which the message lists too.
        """
        known = [option.name for option in fields(cls)] + (own_options(beside, ()) if beside else [])
        for name in options:
            if name not in known:
                raise unknown("option of training:", name, known)
        return cls(**options)


def prepare(
    schema: Schema, spec: ModelSpec, training: Training, rows: int, weights: str | os.PathLike[str] | None = None
) -> keras.Model:
    """A model of the spec, compiled for so many training rows.

    Args:
        schema: fitted `Schema`.
        spec: `ModelSpec`.
        training: `Training`; its seed becomes Keras' own.
        rows: number of training rows, which the schedule of the rate needs.
        weights: file of weights to begin with; None: fresh ones.

    Returns:
        `keras.Model`.
    """
    keras.utils.set_random_seed(training.seed)
    model = build(schema, spec)
    if weights:
        model.load_weights(weights)
    compile_for(model, schema, spec, training, rows)
    return model


def compile_for(
    model: keras.Model, schema: Schema, spec: ModelSpec, training: Training, rows: int, **options: Any
) -> None:
    """Compile a model of the spec for so many training rows; options are those of `compile`."""
    steps = math.ceil(rows / training.batch_size)
    rate, warm_up = training.learning_rate, min(training.warm_up, training.epochs - 1) * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else rate,
        training.epochs * steps - warm_up,
        warmup_target=rate if warm_up else None,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=training.weight_decay)
    model.compile(optimizer, **compile_args(schema, spec.tasks, model), **options)


def fit(
    model: keras.Model,
    data: Mapping[str, Records | Shards],
    spec: ModelSpec,
    training: Training,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    initial_epoch: int = 0,
    verbose: str | int = "auto",
) -> keras.callbacks.History:
    """Train a compiled model on data["train"], watching data["val"].

    Args:
        model: of `prepare`.
        data: mapping of "train" and, to watch it, "val" to `Records` or `Shards`.
        training: `Training`.
        spec: `ModelSpec` of the model.
        callbacks: of Keras.
        initial_epoch: number of the first epoch, from 0.
        verbose: of Keras.

    Returns:
        `keras.callbacks.History`.
    """
    schema, by = data["train"].schema, training.group_by
    trained = model
    if by:
        trained = deduplicated_model(model, schema, by)
        compile_for(trained, schema, spec, training, len(data["train"]))
    batch, seed = training.batch_size, training.seed
    train = batches(
        data["train"],
        batch,
        training=True,
        augment=training.augment,
        class_weight=training.class_weight,
        group_by=by,
        seed=seed,
    )
    return trained.fit(
        train,
        validation_data=batches(data["val"], 2 * batch, group_by=by, seed=seed) if "val" in data else None,
        epochs=training.epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        shuffle=False,  # the batches are shuffled already, and Keras would warn that it cannot shuffle them
        verbose=verbose,
    )
