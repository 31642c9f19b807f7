"""`mk.train`: the recommended recipe in one call."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.disk import check_path, disk_reason
from mmkeras.errors import InputError, shown, unknown
from mmkeras.files import one_at_a_time
from mmkeras.model import build
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards
from mmkeras.pipeline.weights import ClassWeight
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.tasks import compile_args, direction, tasks_of
from mmkeras.training.defaults import recommended_spec, recommended_training
from mmkeras.training.keeper import CHECKPOINT, Keeper, check_checkpoint
from mmkeras.training.recipe import Training, compile_for, fit
from mmkeras.training.run import Run

Augmentation = Mapping[str, Mapping[str, Any]]


@checked_keywords
def train(
    data: Mapping[str, Records | Shards],
    spec: ModelSpec | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    warm_up: int | None = None,
    weight_decay: float | None = None,
    clip_norm: float | None = 1.0,
    average: float | None = None,
    augment: Augmentation | bool = True,
    class_weight: ClassWeight = None,
    group_by: str | None = None,
    patience: int | None = None,
    loss: Any = None,
    metrics: Any = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    directory: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Run:
    """Build and train a model by the recommended recipe, which chooses what is not given by the number of rows.

        run = mk.train(mk.read("table.csv", schema).split("split"))
        run.evaluate()
        run.export("saved_models/mine")

    The recipe: AdamW (Loshchilov and Hutter, 2019), the rate warmed up and then a cosine to 0, gradients clipped, mild
    augmentation of every input, dropout, and for classes label smoothing. After each epoch the rows of "val" are
    evaluated; the model gets the weights of the best epoch, by the first metric of the first target's task.

    Args:
        data: mapping of "train" and, to choose the best epoch, "val" to `Records` or `Shards` with one fitted schema,
            as from `records.split`.
        spec: `ModelSpec`; None: default towers and a concat fusion, in a size that suits the number of rows.
        epochs: of training; None: as many as make some 2,500 steps, 12 to 60.
        batch_size: rows in a batch; None: 32, 64 or 128, more for more rows.
        learning_rate: the peak rate; None: 1e-3.
        warm_up: epochs in which the rate rises from 0; None: a tenth.
        weight_decay: of AdamW; None: .05, of 20,000 rows and more .01.
        clip_norm: greatest norm of all gradients together; None: any.
        average: momentum of a moving average of the weights that is validated and kept in their place, as .999; None:
            none, as the cosine ends in an average already.
        augment: True: the mild changes of each kind of input; False: none; or as in `mk.batches`.
        class_weight: as in `mk.batches`.
        group_by: name of an input with `shared=True`: its tower runs once for each distinct value of a batch.
        patience: epochs without a better score after which the training ends; None: half of them.
        loss: in place of the task's: of Keras, or its name; of several targets a dict by target.
        metrics: beside those of the task: a list of Keras' metrics or their names; of several targets a dict by target.
        callbacks: of Keras. They see the averaged weights at the end of an epoch, if there is an average.
        directory: folder of the checkpoint, written after each epoch. If the training is stopped or killed, the same
            call goes on after its last whole epoch and ends where it would have ended; None: no checkpoint.
        overwrite: begin anew, without the checkpoint in the directory.
        seed: of the weights, the order of the rows, dropout and augmentation.
        verbose: of Keras; 0 also leaves out the line that says what was chosen.

    Returns:
        `Run`: `.model`, `.history`, `.schema`, `.spec`, `.evaluate()`, `.predict()`, `.save(path)`, `.export(folder)`.

    Raises:
        InputError: no "train", a schema that is not fitted or has no targets, an invalid option, a directory with the
            checkpoint of another training, or in which another process trains.
    """
    schema = _schema(data)
    rows = len(data["train"])
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warm_up": warm_up,
    }
    given |= {"weight_decay": weight_decay, "class_weight": class_weight, "group_by": group_by, "seed": seed}
    training = _training(schema, rows, given, augment, {"clip_norm": clip_norm, "average": average})
    if spec is None:
        spec = recommended_spec(schema, rows)
    keras.utils.set_random_seed(seed)
    model = build(schema, spec)
    options = _compiled(schema, model, loss, metrics)
    compile_for(model, schema, spec, training, rows, **options)
    if verbose:
        print(_chosen(rows, model, training), flush=True)
    monitor = _monitor(model, schema) if "val" in data else None
    call = _call(data, schema, spec, training, loss, metrics) if directory is not None else None
    with contextlib.ExitStack() as stack:
        folder = _folder(directory, overwrite, stack)
        keeper = Keeper(monitor, _patience(patience, training.epochs), folder, call)
        fit(model, data, spec, training, callbacks=list(callbacks), keeper=keeper, options=options, verbose=verbose)
    return _run(model, schema, spec, training, keeper, data)


def _schema(data: Any) -> Schema:
    if not isinstance(data, Mapping):
        hint = ": records.split(...) makes them" if isinstance(data, Records) else ""
        raise InputError(
            f"train: expected a mapping of 'train' and 'val' to records, received {type(data).__name__}{hint}"
        )
    if "train" not in data:
        raise InputError(f"train: expected data with 'train', received {', '.join(map(str, data)) or 'none'}")
    for name, part in data.items():
        if not isinstance(part, Records | Shards):
            raise InputError(f"train: {name!r}: expected Records or Shards, received {shown(part)}")
    schema = data["train"].schema
    schema.require_fitted("train")
    if not schema.targets:
        raise InputError(
            "train: expected a schema with targets, received one without: a shared space is trained by mk.build and fit"
        )
    return schema


def _training(schema, rows, given, augment, always) -> Training:
    options = recommended_training(schema, rows, given["batch_size"]) | always
    options |= {name: value for name, value in given.items() if value is not None}
    options["warm_up"] = (
        min(options["warm_up"], max(options["epochs"] - 1, 0)) if given["warm_up"] is None else given["warm_up"]
    )
    if augment is False:
        options["augment"] = None
    elif augment is not True:
        options["augment"] = augment
    return Training(**options)


def _patience(given, epochs):
    return max(epochs // 2, 3) if given is None else check_whole(given, "patience", "train: ")


def _monitor(model: keras.Model, schema: Schema) -> tuple[str, str]:
    """The metric that chooses the best epoch: the first of the first target."""
    name, task = next(iter(tasks_of(model, schema).items()))
    metric = task.metrics(schema.targets[name])[0]
    key = f"{name}_{metric.name}" if len(schema.targets) > 1 else metric.name
    return f"val_{key}", direction(metric)


def _compiled(schema: Schema, model: keras.Model, loss: Any, metrics: Any) -> dict[str, Any]:
    """The losses and metrics that are given, as arguments of `compile`."""
    own, options = compile_args(schema, model=model), {}
    if loss is not None:
        by = schema.by_target(own["loss"]) | _by_target(schema, loss, "loss")
        options["loss"] = schema.fold({name: keras.losses.get(one) for name, one in by.items()})
    if metrics is not None:
        more, first = _by_target(schema, metrics, "metrics"), schema.by_target(own["weighted_metrics"])
        options["weighted_metrics"] = schema.fold(
            {name: [*first[name], *map(keras.metrics.get, more.get(name, []))] for name in schema.targets}
        )
    return options


def _by_target(schema: Schema, given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        if len(schema.targets) > 1:
            raise InputError(f"train: expected {what} to be a dict by target, received {shown(given)}")
        return schema.by_target(given)
    for name in given:
        if name not in schema.targets:
            raise unknown("target", name, schema.targets, where=f"train: {what}: ")
    return dict(given)


def _folder(directory: str | os.PathLike[str] | None, overwrite: bool, stack: contextlib.ExitStack) -> Path | None:
    """The folder of the checkpoint, which no other training may use until the stack is closed."""
    if directory is None:
        return None
    folder = check_path(directory, "train: ")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(one_at_a_time(folder, "train: "))
        if overwrite and (folder / CHECKPOINT).exists():
            check_checkpoint(folder / CHECKPOINT)
            (folder / CHECKPOINT).unlink()
    except OSError as error:
        raise InputError(f"train: cannot write to {str(directory)!r}: {disk_reason(error)}") from error
    return folder


def _call(data, schema, spec, training, loss, metrics) -> dict[str, Any]:
    """What says which training this is, as plain values."""
    return {
        "schema": hashlib.sha256(schema.to_json().encode()).hexdigest(),
        "spec": json.loads(spec.to_json()),
        "training": {**training.__dict__},
        "rows": {name: _digest(part) for name, part in data.items() if name in ("train", "val")},
        "loss": repr(loss),
        "metrics": repr(metrics),
    }


def _digest(part: Records | Shards) -> Any:
    if isinstance(part, Shards):
        return len(part)
    return hashlib.sha256(pd.util.hash_pandas_object(part.frame.astype(str), index=False).to_numpy()).hexdigest()


def _chosen(rows: int, model: keras.Model, training: Training) -> str:
    changed = ", ".join(f"{name} ({', '.join(options)})" for name, options in (training.augment or {}).items())
    return (
        f"{rows} rows: {model.count_params()} parameters, at most {training.epochs} epochs of batches of "
        f"{training.batch_size}, rate {training.learning_rate:g}, weight decay {training.weight_decay:g}, "
        f"augmentation: {changed or 'none'}"
    )


def _run(model, schema, spec, training, keeper, data) -> Run:
    history = keras.callbacks.History()
    history.set_model(model)
    history.history, history.epoch = keeper.history, list(range(keeper.done))
    score = None if keeper.best is None else (keeper.monitor[0], keeper.best)
    return Run(model, schema, spec, training, history, data, keeper.best_epoch, score)
