"""The result of `mk.train`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from mmkeras.bundle import export
from mmkeras.errors import InputError
from mmkeras.evaluation import Evaluation, evaluate, predict
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards
from mmkeras.records import Records
from mmkeras.saving import save
from mmkeras.schema import Schema
from mmkeras.training.recipe import Training


@dataclass(frozen=True, eq=False)
class Run:
    """The result of `mk.train`.

    Attributes:
        model: the trained `keras.Model`, with the weights of its best epoch.
        schema: of its inputs and targets.
        spec: its parts.
        training: how it was trained.
        history: `keras.callbacks.History` of all epochs, those before a resume among them.
        data: mapping of splits, as it was given.
        best_epoch: the epoch of the weights, from 0; None where nothing was validated.
        score: the metric that chose it, (name, value); None where nothing was validated.
    """

    model: keras.Model
    schema: Schema
    spec: ModelSpec
    training: Training
    history: keras.callbacks.History
    data: Mapping[str, Records | Shards]
    best_epoch: int | None = None
    score: tuple[str, float] | None = None

    def __repr__(self) -> str:
        rows, epochs = len(self.data["train"]), len(self.history.epoch)
        best = (
            "" if self.score is None else f", best in epoch {self.best_epoch + 1}: {self.score[0]} {self.score[1]:.4f}"
        )
        return f"<Run {rows} rows, {self.model.count_params()} parameters, {epochs} epochs{best}>"

    def evaluate(self, records: Records | None = None, **options: Any) -> Evaluation:
        """`mk.evaluate` of the model.

        Args:
            records: None: those of "test", if there is such a split, else those of "val".
            options: of `mk.evaluate`.

        Raises:
            InputError: no records are given, and there is neither split.
        """
        return evaluate(self.model, self._records(records, "evaluate"), **options)

    def predict(self, records: Records | None = None, **options: Any) -> pd.DataFrame:
        """`mk.predict` of the model; records and options as for `evaluate`."""
        return predict(self.model, self._records(records, "predict"), **options)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Model, schema and spec in one file: see `mk.save`."""
        return save(path, self.model, self.schema, self.spec)

    def export(self, directory: str | os.PathLike[str], **options: Any) -> Path:
        """`mk.export` of the model with its spec and history; options are those of `mk.export`."""
        papers = (
            {}
            if options.get("format", "saved_model") != "saved_model"
            else {"spec": self.spec, "history": self.history}
        )
        return export(self.model, self.schema, directory, **{**papers, **options})

    def _records(self, records: Records | None, purpose: str) -> Records:
        found = self.data.get("test", self.data.get("val")) if records is None else records
        if not isinstance(found, Records):
            received = "none in the data" if found is None else type(found).__name__
            raise InputError(
                f"Run.{purpose}: expected records, or a split 'test' or 'val' of Records, received {received}"
            )
        return found
