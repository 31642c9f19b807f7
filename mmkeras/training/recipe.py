"""The recipe: optimizer, learning rate and batches, the same in `mk.train`, the demo and every trial."""

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import keras

from mmkeras.checks import check_number, check_share, check_whole
from mmkeras.errors import unknown
from mmkeras.model import build, deduplicated_model
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards, batches
from mmkeras.pipeline.weights import ClassWeight
from mmkeras.records import Records
from mmkeras.registry import own_options
from mmkeras.schema import Schema
from mmkeras.tasks import compile_args
from mmkeras.training.average import Average
from mmkeras.training.keeper import Keeper


@dataclass(frozen=True)
class Training:
    """AdamW (Loshchilov and Hutter, 2019), warmed up over the first epochs, then a cosine to 0.

    Args:
        epochs: of training.
        batch_size: rows in a batch.
        learning_rate: the peak rate, reached after the warm-up.
        warm_up: epochs in which the rate rises from 0.
        weight_decay: of AdamW.
        clip_norm: greatest norm of all gradients together (Pascanu et al., 2013); None: any.
        average: momentum of a moving average of the weights (Polyak and Juditsky, 1992), which is validated and kept in
            their place, 0 to below 1; None: none.
        augment, class_weight, group_by: of `mk.batches`.
        seed: of the weights, the order of the rows, dropout and augmentation.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    warm_up: int = 1
    weight_decay: float = 0.01
    clip_norm: float | None = None
    average: float | None = None
    augment: Mapping[str, Mapping[str, Any]] | None = None
    class_weight: ClassWeight = None
    group_by: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("warm_up", 0), ("seed", 0)):
            check_whole(getattr(self, name), name, "Training: ", least=least)
        check_number(self.learning_rate, "learning_rate", "Training: ", least=0, above=True)
        check_number(self.weight_decay, "weight_decay", "Training: ", least=0)
        if self.clip_norm is not None:
            check_number(self.clip_norm, "clip_norm", "Training: ", least=0, above=True)
        if self.average is not None:
            check_share(self.average, "average", "Training: ")

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
    averaged = {} if training.average is None else {"use_ema": True, "ema_momentum": training.average}
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=training.weight_decay, global_clipnorm=training.clip_norm, **averaged
    )
    # otherwise Keras makes its variables inside the first step, which is then traced twice
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, **{**compile_args(schema, spec.tasks, model), **options})


def fit(
    model: keras.Model,
    data: Mapping[str, Records | Shards],
    spec: ModelSpec,
    training: Training,
    *,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    keeper: Keeper | None = None,
    options: Mapping[str, Any] | None = None,
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
        keeper: keeps the best weights and resumes, or None.
        options: of `compile`, beside those of the recipe.
        initial_epoch: number of the first epoch, from 0.
        verbose: of Keras.

    Returns:
        `keras.callbacks.History`.
    """
    schema, by = data["train"].schema, training.group_by
    trained = model
    if by:
        trained = deduplicated_model(model, schema, by)
        compile_for(trained, schema, spec, training, len(data["train"]), **(options or {}))
    batch, seed = training.batch_size, training.seed
    train = batches(
        data["train"],
        batch,
        training=True,
        augment=training.augment,
        class_weight=training.class_weight,
        group_by=by,
        seed=seed,
        epoch=keeper.number if keeper is not None and isinstance(data["train"], Records) else None,
    )
    average = Average() if training.average is not None else None
    callbacks = [*([average] if average else []), *callbacks]
    if keeper is not None:
        keeper.average = average
        initial_epoch = keeper.resume(trained)
        callbacks.append(keeper)
        if keeper.ended or initial_epoch >= training.epochs:
            keeper.set_model(trained)
            keeper.on_train_end()
            return keras.callbacks.History()
    return trained.fit(
        train,
        validation_data=batches(data["val"], 2 * batch, group_by=by, seed=seed) if "val" in data else None,
        epochs=training.epochs,
        initial_epoch=initial_epoch,
        callbacks=callbacks,
        shuffle=False,  # the batches are shuffled already, and Keras would warn that it cannot shuffle them
        verbose=verbose,
    )
