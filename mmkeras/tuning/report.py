"""The report of a search: a folder with its table, the best spec, the reasons of failures and a picture."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mmkeras.disk import check_path, writing
from mmkeras.errors import InputError
from mmkeras.files import write_whole
from mmkeras.markdown import table
from mmkeras.tuning.places import is_number

if TYPE_CHECKING:
    from mmkeras.tuning.result import TuningResult

REPORT, PICTURE = "report.md", "overview.png"


def best_rows(done: pd.DataFrame) -> pd.DataFrame:
    """The ten best of the completed trials, without empty columns."""
    return done.drop(columns=["status", "reason", "history", "cpu"]).head(10).dropna(axis=1, how="all")


def failures(trials: pd.DataFrame) -> dict[str, int]:
    """Dict of reason -> number of the trials that failed for it, the most frequent first."""
    return trials.loc[trials["status"] == "FAILED", "reason"].value_counts().to_dict()


def write(result: "TuningResult", folder: str | os.PathLike[str] | None = None) -> Path:
    """Write a search's report.

    Args:
        result: `TuningResult`, of a search that may have been stopped.
        folder: to write into; None: "report" in the search's directory.

    Returns:
        `Path` of the folder: report.md, trials.csv (all but the histories) and, of a search with a completed trial,
        best.json (its `ModelSpec`), training.json (its `Training`) and overview.png (its figure, with matplotlib); with
        controls also controls.csv and controls.png.
    """
    folder = check_path(folder, "report: ") if folder is not None else result.directory / "report"
    with writing(folder, "report: "):
        folder.mkdir(parents=True, exist_ok=True)
        _write(result, folder)
    return folder


def _write(result, folder):
    result.trials.drop(columns="history").to_csv(folder / "trials.csv", index=False)
    sections = [f"# Search in {result.directory.name}", _counts(result)]
    if len(result.completed):
        sections += [_picture(result.figure, folder / PICTURE, "Score, progress, learning curves, hyperparameters")]
        sections += [*_best(result, folder), *_controls(result, folder)]
    failed = failures(result.trials)
    if failed:
        reasons = pd.DataFrame({"trials": failed.values(), "reason": failed.keys()})
        sections += ["## Failures", markdown(reasons)]
    write_whole(folder / REPORT, "\n\n".join(sections) + "\n")


def _counts(result):
    status = result.trials["status"].value_counts()
    told = f"{status.get('COMPLETED', 0)} of {len(result.trials)} trials completed, {status.get('FAILED', 0)} failed"
    if status.get("RUNNING", 0):
        told += f", {status['RUNNING']} not finished"
    if not len(result.completed):
        return f"{told}. All of them: [trials.csv](trials.csv)."
    best = result.completed.iloc[0]
    better = "highest" if result.objective[1] == "max" else "lowest"
    told += f". The {better} {result.objective[0]} is {best['score']:.4g}, of trial {best['trial']}."
    return f"{told} All trials: [trials.csv](trials.csv)."


def _picture(figure, path, title):
    try:
        figure().savefig(path, dpi=150)
    except InputError as error:
        return f"No picture. {error}"
    return f"![{title}]({path.name})"


def _best(result, folder):
    """Write the best trial's files; the sections about it."""
    spec, training = result.best.to_json(), json.dumps(asdict(result.training), indent=2)
    write_whole(folder / "best.json", spec)
    write_whole(folder / "training.json", training)
    return [
        "## The best trials",
        markdown(best_rows(result.completed)),
        "## The best model",
        "`mk.build(schema, mk.ModelSpec.from_json(text))` builds it from the text of [best.json](best.json):",
        f"```json\n{spec}\n```",
        "It was trained with ([training.json](training.json)):",
        f"```json\n{training}\n```",
    ]


def _controls(result, folder):
    """Write the controls' files; the sections about them."""
    if not len(result.controls):
        return []
    result.controls.to_csv(folder / "controls.csv", index=False)
    columns = ["role", "input", "seed", "status", "val", "test", "parameters"]
    picture = _picture(result.controls_figure, folder / "controls.png", "The fused model and its controls")
    return ["## Is fusion worth it?", result.worth, picture, markdown(result.controls[columns])]


def markdown(frame: pd.DataFrame) -> str:
    """A DataFrame as a table in Markdown: fractions in four digits, numbers to the right."""
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return table(list(frame), rows, right=[place for place, name in enumerate(frame) if is_number(frame[name])])


def _cell(value):
    if pd.isna(value):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
