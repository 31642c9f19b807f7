"""One trial: a spec, trained and scored; its outcome is a small JSON file next to its weights."""

import json
import os
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from mmkeras.disk import read_json
from mmkeras.errors import InputError, shown
from mmkeras.files import write_json
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards, batches
from mmkeras.records import Records
from mmkeras.schema import Schema, inputs_read
from mmkeras.training import Training, fit, prepare

OUTCOME, LOG = "outcome.json", "log.txt"
WEIGHTS = "checkpoint.weights.h5"  # as KerasTuner calls it


@dataclass(frozen=True)
class Request:
    """The request for a trial.

    Args:
        spec: `ModelSpec`.
        training: `Training`.
        objective: `(name, "max" or "min")`.
        first_epoch: number of the first epoch, from 0.
        weights: file of the weights to begin with; None: fresh ones.
        inputs: names of the inputs that the model sees; None: all.
        shuffled: name of an input whose values are exchanged among the rows; None: of none.
        test: whether to score the rows of "test" too, with the weights of the best epoch.
    """

    spec: ModelSpec
    training: Training
    objective: tuple[str, str]
    first_epoch: int = 0
    weights: str | None = None
    inputs: tuple[str, ...] | None = None
    shuffled: str | None = None
    test: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a dict of plain values."""
        return {**asdict(self), "spec": json.loads(self.spec.to_json())}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The request from `to_json`'s dict."""
        spec = ModelSpec.from_options(content["spec"])
        given = content["inputs"] and tuple(content["inputs"])
        training, objective = Training(**content["training"]), tuple(content["objective"])
        return cls(**{**content, "spec": spec, "training": training, "objective": objective, "inputs": given})


@dataclass
class Outcome:
    """The outcome of a trial.

    Attributes:
        status: "RUNNING", "COMPLETED" or "FAILED".
        reason: of a failure.
        score: best value of the objective over the epochs.
        epoch: number of that epoch, from 0; the weights are of this one.
        history: dict of metric -> list of a value an epoch.
        test: the score on the rows of "test", if it was asked for.
        parameters: number of weights.
        seconds, cpu: that it took, by the clock and of the processor.
        request: the `Request`, as plain values.
    """

    request: dict[str, Any]
    status: str = "RUNNING"
    reason: str = ""
    score: float | None = None
    epoch: int | None = None
    history: dict[str, list[float]] = field(default_factory=dict)
    test: float | None = None
    parameters: int | None = None
    seconds: float = 0.0
    cpu: float = 0.0

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write outcome.json, whole or not at all."""
        write_json(Path(folder) / OUTCOME, asdict(self))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self | None:
        """The outcome in the folder, or None."""
        path = Path(folder) / OUTCOME
        if not path.exists():
            return None
        content = read_json(path, "tuning: ")
        try:
            return cls(**content)
        except TypeError as error:
            raise InputError(f"{str(path)!r}: expected the outcome of a trial, received {shown(content)}") from error

    def answers(self, request: Request) -> bool:
        """Whether this is the end of such a request."""
        return self.finished and self.request == json.loads(json.dumps(request.to_json()))

    @property
    def finished(self) -> bool:
        """Whether the trial came to an end, good or bad."""
        return self.status in ("COMPLETED", "FAILED")


class TrialFailed(Exception):
    """A trial that cannot go on, with the reason."""


class Watch(keras.callbacks.Callback):
    """Keeps the best epoch's weights and the outcome so far; ends trials that are hopeless or take too long.

    Args:
        outcome: `Outcome`, to be filled.
        folder: where it is written.
        seconds: time limit; None: none.
    """

    def __init__(self, outcome: Outcome, folder: Path, seconds: float | None = None):
        super().__init__()
        self.outcome, self.folder = outcome, folder
        self.whole: keras.Model = None
        self.name, self.direction = outcome.request["objective"]
        self.deadline = time.monotonic() + seconds if seconds else float("inf")

    def keep(self, model: keras.Model) -> keras.Model:
        """Set the model whose weights are kept; returns the model."""
        self.whole, self.outcome.parameters = model, model.count_params()
        return model

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise if the time is over, or the loss is NaN or infinite."""
        if time.monotonic() > self.deadline:
            raise TrialFailed("time limit")
        if logs and not np.isfinite(logs["loss"]):
            raise TrialFailed(f"the loss is {logs['loss']} in batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Enter the epoch's metrics."""
        for name, value in logs.items():
            self.outcome.history.setdefault(name, []).append(float(value))
        value = float(logs[self.name])
        if not np.isfinite(value):
            raise TrialFailed(f"{self.name} is {value} after epoch {epoch + 1}")
        best = self.outcome.score
        if best is None or (value > best if self.direction == "max" else value < best):
            self.outcome.score, self.outcome.epoch = value, epoch
            self.whole.save_weights(self.folder / WEIGHTS)
        self.outcome.save(self.folder)


def run(
    train: Callable[[Request, Watch], object],
    request: Request,
    folder: str | os.PathLike[str],
    *,
    seconds: float | None = None,
    whole_process: bool = False,
) -> Outcome:
    """Train and score one spec.

    Args:
        train: function `(request, watch)` that trains it, as `whole` does.
        request: `Request`.
        folder: where the outcome, the log of an error and the weights of the best epoch go.
        seconds: time limit; None: none.
        whole_process: whether this process has the trial alone: `cpu` then counts all of it.

    Returns:
        `Outcome`, also of a failure: only exceptions that end the process are raised.
    """
    folder, began, cpu = Path(folder), time.monotonic(), 0.0 if whole_process else time.process_time()
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(request.to_json())
    try:
        train(request, Watch(outcome, folder, seconds))
        outcome.status = "COMPLETED"
    except (Exception, MemoryError) as error:
        outcome.status, outcome.reason = "FAILED", reason_of(error)
        with open(folder / LOG, "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
    outcome.seconds, outcome.cpu = time.monotonic() - began, time.process_time() - cpu
    outcome.save(folder)
    return outcome


def whole(data: Mapping[str, Records | Shards], verbose: int, request: Request, watch: Watch) -> None:
    """Train the whole model.

    Args:
        data: mapping of "train" and "val", and perhaps "test", to `Records` or `Shards`.
        verbose: of Keras.
        request: `Request`.
        watch: `Watch`.
    """
    data = controlled(data, request)
    train, first = data["train"], request.first_epoch
    model = watch.keep(prepare(train.schema, request.spec, request.training, len(train), request.weights))
    fit(model, data, request.spec, request.training, callbacks=[watch], initial_epoch=first, verbose=verbose)
    if request.test:
        model.load_weights(watch.folder / WEIGHTS)
        found = model.evaluate(batches(data["test"], 256), return_dict=True, verbose=0)
        watch.outcome.test = float(found[request.objective[0].removeprefix("val_")])


def reason_of(error: BaseException) -> str:
    """One line about the error."""
    text = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    kind = type(error).__name__
    if kind == "ResourceExhaustedError" or isinstance(error, MemoryError) or "OOM when allocating" in str(error):
        return f"out of memory: {text[:300] or kind}"
    return text[:500] if isinstance(error, (TrialFailed, InputError)) else f"{kind}: {text[:500]}"


def controlled(data: Mapping[str, Records | Shards], request: Request) -> Mapping[str, Records | Shards]:
    """The data as the request wants them: some inputs alone, or the values of one exchanged among the rows."""
    if request.inputs is not None:
        schema = only(data["train"].schema, request.inputs)
        data = {split: replace(records, schema=schema) for split, records in data.items()}
    if request.shuffled is not None:
        seed, name = request.training.seed, request.shuffled
        data = {split: _shuffled(records, name, seed + place) for place, (split, records) in enumerate(data.items())}
    return data


def only(schema: Schema, inputs: Collection[str]) -> Schema:
    """The schema with these inputs alone, without the targets that read another."""
    kept = {name: feature for name, feature in schema.inputs.items() if name in inputs}
    return Schema(kept, {name: t for name, t in schema.targets.items() if kept.keys() >= {*inputs_read(t)}})


def _shuffled(records, name, seed):
    columns = list(records.schema.columns(name))
    order = np.random.default_rng(seed).permutation(len(records))
    values = {column: records.frame[column].to_numpy()[order] for column in columns}
    return replace(records, frame=records.frame.assign(**values))
