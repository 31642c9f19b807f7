"""How a model is trained where mmkeras does it: the demo and the trials of a search."""

import math
from dataclasses import dataclass, fields

import keras

from mmkeras.errors import InputError, unknown
from mmkeras.model import build, deduplicated_model
from mmkeras.pipeline import batches
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
    augment: dict | None = None
    class_weight: dict | str | None = None
    group_by: str | None = None
    seed: int = 0

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch_size", 1), ("warm_up", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"Training: expected {name} to be a whole number from {least}, received {value!r}")
        if not self.learning_rate > 0:
            raise InputError(f"Training: expected learning_rate above 0, received {self.learning_rate!r}")

    @classmethod
    def from_options(cls, options):
        """The training from a dict; a misspelt key is refused."""
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown("option of training:", name, known)
        return cls(**options)


def prepare(schema, spec, training, rows, weights=None):
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


def compile_for(model, schema, spec, training, rows, **options):
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


def fit(model, data, spec, training, *, callbacks=(), initial_epoch=0, verbose="auto"):
    """Train a compiled model on data["train"], watching data["val"].

    Args:
        model: of `prepare`.
        data: mapping of "train" and, if it is to be watched, "val" to `Records` or `Shards`.
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
    batch, own = training.batch_size, {"group_by": by, "seed": training.seed}
    change = {"augment": training.augment, "class_weight": training.class_weight}
    return trained.fit(
        batches(data["train"], batch, training=True, **change, **own),
        validation_data=batches(data["val"], 2 * batch, **own) if "val" in data else None,
        epochs=training.epochs,
        initial_epoch=initial_epoch,
        callbacks=list(callbacks),
        shuffle=False,  # the batches come shuffled, and Keras would warn that it cannot do it again
        verbose=verbose,
    )
