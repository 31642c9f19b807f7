"""The result of a search."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import keras
import pandas as pd

from mmkeras.disk import check_path, read_json
from mmkeras.errors import InputError, shown
from mmkeras.model import build
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema
from mmkeras.training import Training, compile_for
from mmkeras.tuning import controls, features, figures, report
from mmkeras.tuning.trial import WEIGHTS, Outcome, Request

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN = ["trial", "status", "score", "epoch", "seconds", "cpu", "parameters", "reason", "history"]


@dataclass(frozen=True)
class TuningResult:
    """The result of `tune`; `TuningResult.load(directory)` reads it again.

    Attributes:
        directory: `Path` of the search, a project of KerasTuner's.
        schema: `Schema` of the data.
        objective: `(name, "max" or "min")`.
        trials: DataFrame, one row a trial: "trial", "status" ("COMPLETED", "FAILED", or "RUNNING" if the search was
            stopped), "score" (of the best epoch), "epoch" (its number, from 0), "seconds", "cpu" (seconds of the
            processor), "parameters", "reason" (of a failure), "history" (dict of metric -> list of a value an epoch),
            and a column for each hyperparameter (empty for trials without it).
    """

    directory: Path
    schema: Schema
    objective: tuple[str, str]
    trials: pd.DataFrame

    @classmethod
    def load(cls, directory: str | os.PathLike[str], *, complete: bool = True) -> Self:
        """The result in the directory of a search, finished or not.

        Args:
            directory: of the search.
            complete: whether it must hold a completed trial.

        Raises:
            InputError: no search; no completed trial, with the reasons.
        """
        folder = check_path(directory, "tuning: ").absolute()
        for name in ("search.json", "schema.json"):
            if not (folder / name).exists():
                raise InputError(f"expected the directory of a search, but {str(folder / name)!r} is not there")
        schema, objective = Schema.load(folder / "schema.json"), _objective(folder / "search.json")
        rows = [_row(path) for path in sorted(folder.glob("trial_*/trial.json"))]
        columns = OWN + sorted({name for row in rows for name in row}.difference(OWN))
        result = cls(folder, schema, objective, pd.DataFrame(rows, columns=columns))
        if complete and not len(result.completed):
            reasons = result.trials["reason"].replace("", "not finished").value_counts()
            told = "; ".join(f"{reason} ({count} trials)" for reason, count in reasons.items()) or "none was begun"
            raise InputError(f"{folder}: expected at least one completed trial, received none: {told}")
        return result

    @property
    def completed(self) -> pd.DataFrame:
        """The completed trials, the best first."""
        done = self.trials[self.trials["status"] == "COMPLETED"]
        return done.sort_values("score", ascending=self.objective[1] == "min", kind="stable")

    @property
    def hyperparameters(self) -> list[str]:
        """Names of the columns of `trials` that are hyperparameters, without Hyperband's own."""
        return [name for name in self.trials if name not in OWN and not name.startswith("tuner/")]

    def request(self, trial: str) -> Request:
        """The `mmkeras.tuning.trial.Request` of a trial, by its number in the table."""
        return Request.from_json(Outcome.load(self.directory / f"trial_{trial}").request)

    @property
    def best(self) -> ModelSpec:
        """The `ModelSpec` of the best completed trial."""
        return self.request(self.completed["trial"].iloc[0]).spec

    @property
    def training(self) -> Training:
        """The `Training` of the best completed trial."""
        return self.request(self.completed["trial"].iloc[0]).training

    @cached_property
    def controls(self) -> pd.DataFrame:
        """DataFrame of the best spec's controls: "role" ("fused", "alone", "shuffled"), "input", "seed", "status",
        "val" and "test" (scores), "parameters", "seconds", "reason"; empty without controls.
        """
        return controls.table(self.directory, self.completed["trial"].iloc[0])

    @property
    def worth(self) -> str:
        """Whether fusion is worth it, in a paragraph; empty without controls."""
        return controls.worth(self.controls, self.objective)

    @cached_property
    def checked(self) -> pd.DataFrame:
        """For a search on cached features: DataFrame of some trials, "trial", "features" and "full" (their scores on
        features and as whole models); otherwise empty.
        """
        return features.checks(self)

    @property
    def agreement(self) -> float:
        """Rank correlation (Spearman) of the two scores in `checked`, -1 to 1; NaN for fewer than two trials."""
        done = self.checked.dropna()
        return float(done["features"].rank().corr(done["full"].rank())) if len(done) > 1 else float("nan")

    @cached_property
    def tuned(self) -> Outcome | None:
        """For a search on cached features: the `Outcome` of training the best trial further as a whole; else None."""
        return Outcome.load(self.directory / features.TUNED)

    def model(self) -> keras.Model:
        """The best trial's `keras.Model`, compiled, with the weights of its best epoch.

        For a search on cached features it is the model that was trained further as a whole.
        """
        done = self.tuned is not None and self.tuned.status == "COMPLETED"
        folder = features.TUNED if done else f"trial_{self.completed['trial'].iloc[0]}"
        model = build(self.schema, self.best)
        model.load_weights(self.directory / folder / WEIGHTS)
        compile_for(model, self.schema, self.best, self.training, rows=self.training.batch_size)
        return model

    def figure(self) -> "Figure":
        """A matplotlib Figure of the trials: `savefig` writes it, a notebook shows it.

        Score against the fusion's width and kind, the best so far, learning curves, and a line for each completed trial
        through its hyperparameters.

        Raises:
            InputError: no completed trial, or matplotlib is not installed.
        """
        return figures.overview(self)

    def controls_figure(self) -> "Figure":
        """A matplotlib Figure: the fused model, each modality alone, and the model with each modality shuffled.

        Raises:
            InputError: no controls, or matplotlib is not installed.
        """
        done, split = controls.scores(self.controls)
        metric = self.objective[0].removeprefix("val_")
        return figures.controls(done, (f"{metric} on {split!r}", self.objective[1]))

    def report(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write report.md, trials.csv, best.json, training.json and overview.png, as far as there are trials for them.

        With controls also controls.csv and controls.png.

        Args:
            folder: to write into; None: "report" in the search's directory.

        Returns:
            `Path` of the folder.
        """
        return report.write(self, folder)

    def __repr__(self) -> str:
        done = self.completed
        name, failed = self.objective[0], (self.trials["status"] == "FAILED").sum()
        lines = [f"{len(done)} of {len(self.trials)} trials completed, {failed} failed; the best by {name}:"]
        if len(done):
            text = {"index": False, "na_rep": "-", "float_format": lambda value: f"{value:.4g}"}
            lines += [report.best_rows(done).to_string(**text)]
        lines += [f"failed ({count}): {reason}" for reason, count in report.failures(self.trials).items()]
        if len(done):
            lines += [*self._of_features(), *([self.worth] if len(self.controls) else [])]
        return "\n".join([*lines, f"{self.directory}"])

    def _of_features(self):
        lines, name = [], self.objective[0]
        done = self.checked.dropna()
        if len(done):
            told = "no rank correlation" if pd.isna(self.agreement) else f"rank correlation {self.agreement:.2f}"
            gain = (done["full"] - done["features"]).mean()
            lines += [f"cached features against whole models, {len(done)} trials: {told}, whole models {gain:+.3f}"]
        if self.tuned is not None:
            told = f"{name} {self.tuned.score:.4g}" if self.tuned.status == "COMPLETED" else self.tuned.reason
            lines += [f"the best, trained on as a whole: {told}"]
        return lines


def _objective(path):
    """The name and the direction of the score, from search.json."""
    settings = read_json(path, "tuning: ")
    found = settings.get("objective") if isinstance(settings, dict) else None
    if (
        not isinstance(found, list)
        or len(found) != 2
        or not isinstance(found[0], str)
        or found[1] not in ("min", "max")
    ):
        raise InputError(f"{str(path)!r}: expected the settings of a search, received {shown(settings)}")
    return tuple(found)


def _row(path):
    """One row of the table, from KerasTuner's file of a trial and the outcome next to it."""
    try:
        return _told(read_json(path, "tuning: "), Outcome.load(path.parent))
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{str(path)!r}: expected a trial of KerasTuner's, received another JSON ({error!r})"
        ) from error


def _told(trial, outcome):
    values = {name: value for name, value in trial["hyperparameters"]["values"].items() if name != "tuner/trial_id"}
    row = {"trial": trial["trial_id"], "status": trial["status"], "reason": "", **values}
    if outcome is not None:
        row |= {name: getattr(outcome, name) for name in OWN if name not in ("trial", "status")}
    if outcome is not None and outcome.finished:
        row["status"] = outcome.status
    elif trial["status"] in ("FAILED", "INVALID"):
        row["reason"] = (trial["message"] or "").strip().splitlines()[-1]
    return row
