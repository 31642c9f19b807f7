"""Search on cached tower features: the towers run once, and each trial trains the layers after them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd

from mmkeras.cached_features import extract_features, features_model
from mmkeras.errors import InputError
from mmkeras.model import build
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline.weights import ClassWeight
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.training import compile_for
from mmkeras.tuning.trial import WEIGHTS, Outcome, Request, Watch

if TYPE_CHECKING:
    from mmkeras.tuning.result import TuningResult

Runner = Callable[[Request, Path], Outcome]  # trains the request's model
TOWERS, FULL, TUNED = "towers", "full", "tuned"  # folders in that of the search


@dataclass(frozen=True)
class Features:
    """The towers' features of the rows, and the model they are from.

    Attributes:
        schema: `Schema`.
        spec: `ModelSpec` of the towers.
        model: `keras.Model` whose towers were run.
        rows: dict of split -> `(x, y, weights)` of `extract_features`.
    """

    schema: Schema
    spec: ModelSpec
    model: keras.Model
    rows: dict[str, tuple[Any, Any, Any]]

    def with_towers(self, spec: ModelSpec) -> ModelSpec:
        """The spec with these towers, in their own width, in the place of its own."""
        kinds = {name: self.spec.towers.get(name) for name in self.schema.inputs}
        return replace(spec, towers={name: _of_width(kind, self.spec.width) for name, kind in kinds.items() if kind})


def _of_width(kind, width):
    return {"width": width, **(kind if isinstance(kind, dict) else {"kind": kind})}


def features_of(
    data: Mapping[str, Records], spec: ModelSpec, model: keras.Model, class_weight: ClassWeight = None
) -> Features:
    """Run the towers of a model over the training and validation rows.

    Args:
        data: mapping of "train" and "val" to `Records`.
        spec: `ModelSpec` of the model, which names the tower of every input.
        model: `keras.Model` that `build` made of it.
        class_weight: as of `mk.batches`.

    Returns:
        `Features`.
    """
    schema = data["train"].schema
    missing = [name for name in schema.inputs if name not in spec.towers]
    if missing:
        raise InputError(f"features: expected a spec with a tower for every input, received none for {missing[0]!r}")
    weights = {"train": class_weight, "val": None}
    rows = {
        split: extract_features(model, data[split], list(schema.inputs), class_weight=weight)
        for split, weight in weights.items()
    }
    return Features(schema, spec, model, rows)


def on_features(features: Features, request: Request, watch: Watch) -> None:
    """Train the layers after the towers of the request's spec; `trial.run` calls it."""
    model = watch.keep(_with_weights(features, request))
    tensors, truth, weights = features.rows["train"]
    rest, rows = features_model(model, features.schema, list(features.schema.inputs)), len(next(iter(tensors.values())))
    # its steps are short: several in one call save a quarter of the time with a concat fusion
    compile_for(rest, features.schema, request.spec, request.training, rows, steps_per_execution=16)
    rest.fit(
        tensors,
        truth,
        sample_weight=weights,
        validation_data=features.rows["val"],
        batch_size=request.training.batch_size,
        epochs=request.training.epochs,
        initial_epoch=request.first_epoch,
        callbacks=[watch],
        verbose=0,
    )


def _with_weights(features, request):
    """The request's model with the towers' weights."""
    keras.utils.set_random_seed(request.training.seed)
    model = build(features.schema, request.spec)
    if request.weights:
        model.load_weights(request.weights)
    for name in features.schema.inputs:
        model.get_layer(f"{name}_tower").set_weights(features.model.get_layer(f"{name}_tower").get_weights())
    return model


def check(result: "TuningResult", runner: Runner, count: int) -> None:
    """Train a few of a search's trials as whole models, from the best to the worst, for `checks` to compare.

    Args:
        result: `TuningResult` of the search on features.
        runner: function `(request, folder) -> Outcome` that trains whole models.
        count: number of trials.
    """
    done = result.completed["trial"]
    for place in np.unique(np.linspace(0, len(done) - 1, min(count, len(done))).round().astype(int)):
        trial = done.iloc[place]
        once(runner, result.request(trial), result.directory / FULL / trial)


def checks(result: "TuningResult") -> pd.DataFrame:
    """DataFrame of the trials that `check` trained: "trial", and the scores "features" and "full"; the best first."""
    rows = []
    for trial, score in result.completed[["trial", "score"]].itertuples(index=False):
        outcome = Outcome.load(result.directory / FULL / trial)
        if outcome is not None and outcome.answers(result.request(trial)):
            rows.append((trial, score, outcome.score if outcome.status == "COMPLETED" else np.nan))
    return pd.DataFrame(rows, columns=["trial", "features", "full"])


def tuned(result: "TuningResult", runner: Runner) -> Outcome:
    """Train the best trial of a cached search further as a whole, at a third of its rate; returns its `Outcome`."""
    best = result.completed["trial"].iloc[0]
    request = result.request(best)
    gently = replace(request.training, learning_rate=request.training.learning_rate / 3)
    weights = str(result.directory / f"trial_{best}" / WEIGHTS)
    return once(runner, replace(request, training=gently, weights=weights, first_epoch=0), result.directory / TUNED)


def once(runner: Runner, request: Request, folder: Path) -> Outcome:
    """The outcome in the folder, if it belongs to this request; otherwise run the request."""
    found = Outcome.load(folder)
    return found if found and found.answers(request) else runner(request, folder)
