"""The best weights of a training, its end when nothing gets better, and its checkpoint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mmkeras.disk import parse_json, writing
from mmkeras.errors import InputError
from mmkeras.files import write_whole
from mmkeras.training.average import Average

CHECKPOINT = "checkpoint.npz"
LATER = 1e-12  # a score that is better by less is no better


class Keeper(keras.callbacks.Callback):
    """Keeps the weights of the best epoch and ends a training that gets no better; with a folder it can be resumed.

    At the end the model has the best weights.

    Args:
        monitor: `(name, "max" or "min")`, a metric as `fit` reports it; None: the weights of the last epoch are kept.
        patience: epochs without a better score after which the training ends; None: it never does.
        folder: of the checkpoint, which is written after each epoch, whole or not at all; None: none.
        call: plain values that say which training this is; a checkpoint of another one is refused.

    Attributes:
        history: dict of metric -> list of a value an epoch, those before a resume among them.
        best: the best score so far.
        best_epoch: its epoch, from 0.
        done: how many epochs have been trained.
        number: `tf.Variable`, scalar int64, the number of the present epoch, for `mk.batches(..., epoch=)`.
    """

    def __init__(
        self,
        monitor: tuple[str, str] | None,
        patience: int | None = None,
        folder: Path | None = None,
        call: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self.average: Average | None = None  # the callback that averages the weights
        self.path, self.call = folder and folder / CHECKPOINT, dict(call or {})
        self.history: dict[str, list[float]] = {}
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.weights: list[np.ndarray] | None = None
        self.done, self.ended = 0, False
        self.number = tf.Variable(0, dtype=tf.int64, trainable=False)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tell the pipeline which epoch it is."""
        self.number.assign(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Enter the epoch's metrics, keep its weights if they are the best, write the checkpoint."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._judge(epoch)
        self.done = epoch + 1
        waited = epoch - (self.best_epoch or 0)
        self.ended = self.patience is not None and self.monitor is not None and waited >= self.patience
        if self.path:
            self._write()
        if self.ended:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Give the model its best weights."""
        if self.weights is not None:
            for variable, value in zip(_weights(self.model), self.weights, strict=True):
                variable.assign(value)

    def _judge(self, epoch: int) -> None:
        if self.monitor is None:
            return
        name, better = self.monitor
        if name not in self.history:
            raise InputError(f"train: {name!r} is not among the metrics of an epoch: {', '.join(self.history)}")
        score = self.history[name][-1]
        gain = np.inf if self.best is None else score - self.best if better == "max" else self.best - score
        if np.isfinite(score) and gain > LATER:
            self.best, self.best_epoch = score, epoch
            self.weights = [np.array(ops.convert_to_numpy(variable)) for variable in _weights(self.model)]

    # the checkpoint

    def _write(self) -> None:
        given = {key: getattr(self, key) for key in ("history", "best", "best_epoch", "done", "ended")}
        state = {f"state/{place}": value for place, value in enumerate(self._state())}
        kept = {f"best/{place}": value for place, value in enumerate(self.weights or [])}
        about = np.frombuffer(json.dumps({**given, "call": self.call}).encode(), np.uint8)
        with writing(self.path, "train: "):
            write_whole(self.path, lambda file: np.savez(file, **{"about": about, **state, **kept}, allow_pickle=False))

    def _state(self) -> list[np.ndarray]:
        """All that the next epoch depends on: the trained weights, those of random layers, the optimizer's."""
        values = {id(variable): np.array(ops.convert_to_numpy(variable)) for variable in _variables(self.model)}
        if self.average is not None and self.average.weights is not None:
            trained = zip(self.model.trainable_variables, self.average.weights, strict=True)
            values |= {id(variable): value for variable, value in trained}
        return list(values.values())

    def resume(self, model: keras.Model) -> int:
        """Go on where the checkpoint ends, if there is one; how many epochs are done.

        Raises:
            InputError: the checkpoint is of another training, or cannot be read.
        """
        if not self.path or not self.path.exists():
            return 0
        where = f"train: {str(self.path)!r}: "
        with _opened(self.path, where) as stored:
            about = parse_json(bytes(stored["about"]).decode(errors="replace"), where)
            _check_same(about["call"], json.loads(json.dumps(self.call)), where)
            for place, variable in enumerate(_variables(model)):
                variable.assign(stored[f"state/{place}"])
            kept = [name for name in stored.files if name.startswith("best/")]
            self.weights = [stored[f"best/{place}"] for place in range(len(kept))] or None
        for key in ("history", "best", "best_epoch", "done", "ended"):
            setattr(self, key, about[key])
        self.number.assign(self.done)
        return self.done


def _weights(model: keras.Model) -> list[keras.Variable]:
    return model.weights


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, the states of random layers and the optimizer's variables, each once."""
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return list({id(variable): variable for variable in [*own, *model.optimizer.variables]}.values())


def check_checkpoint(path: Path) -> None:
    """Raise an `InputError` if a file is no checkpoint of `mk.train`, which nobody wants to lose."""
    where = f"train: {str(path)!r}: "
    with _opened(path, where) as stored:
        if "about" not in stored.files:
            raise InputError(f"{where}expected a checkpoint of mk.train, received other arrays; give another directory")


def _opened(path: Path, where: str) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{where}expected a checkpoint of mk.train ({error}); give another directory") from error


def _check_same(there: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    for key, value in given.items():
        if there.get(key) != value:
            raise InputError(
                f"{where}the folder holds a training with another {key}; give another directory, or overwrite=True"
            )
