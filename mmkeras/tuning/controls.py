"""Is fusion worth it? The best spec against each modality alone, and against itself with a modality shuffled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmkeras.schema import Schema
from mmkeras.tuning.figures import interval
from mmkeras.tuning.trial import Outcome, Request

CONTROLS = "controls"  # folder in that of the search
COLUMNS = ["role", "input", "seed", "status", "val", "test", "parameters", "seconds", "reason"]


def requests(best: Request, schema: Schema, seeds: int, test: bool) -> Iterator[tuple[str, str, Request]]:
    """The controls to train, with an equal number of epochs.

    Args:
        best: `Request` of the best trial.
        schema: `Schema`.
        seeds: number of seeds, from that of the search on.
        test: whether to score "test" too.

    Yields:
        `(role, input, Request)`: "fused"; of each input "alone", with its own tower and a concat fusion, and
        "shuffled", where its values are exchanged among the rows, in training as in validation and test.
    """
    best = replace(best, weights=None, first_epoch=0, test=test)
    first = best.training.seed
    for seed in range(first, first + seeds):
        fused = replace(best, training=replace(best.training, seed=seed))
        yield "fused", "", fused
        if len(schema.inputs) > 1:
            for name in schema.inputs:
                yield "alone", name, alone(fused, schema, name)
            for name in schema.inputs:
                yield "shuffled", name, replace(fused, shuffled=name)


def alone(request: Request, schema: Schema, name: str) -> Request:
    """The request with this input alone."""
    spec, training = request.spec, request.training
    fusion = spec.fusion if isinstance(spec.fusion, dict) else {}
    options = {option: fusion[option] for option in ("depth", "dropout") if fusion.get(option)}  # concat has a layer
    dropped = spec.modality_dropout
    if not schema.inputs[name].optional:
        dropped = 0.0
    elif isinstance(dropped, dict):
        dropped = {key: rate for key, rate in dropped.items() if key == name}
    targets = [key for key, target in schema.targets.items() if target.reads in (None, name)]
    spec = replace(
        spec,
        towers={key: tower for key, tower in spec.towers.items() if key == name},
        tasks={key: task for key, task in spec.tasks.items() if key in targets},
        fusion={"kind": "concat", **options},
        modality_dropout=dropped,
    )
    augment = {key: options for key, options in (training.augment or {}).items() if key == name}
    by = training.group_by if training.group_by == name else None
    return replace(request, spec=spec, training=replace(training, augment=augment or None, group_by=by), inputs=(name,))


def table(directory: Path, trial: str) -> pd.DataFrame:
    """The controls of the best trial so far: DataFrame of `COLUMNS`.

    Args:
        directory: `Path` of the search.
        trial: number of the best trial, to which the controls belong.
    """
    rows = []
    for path in sorted((directory / CONTROLS / trial).glob("*/outcome.json")):
        role, name, _ = path.parent.name.split(".")
        outcome = Outcome.load(path.parent)
        seed = Request.from_json(outcome.request).training.seed
        own = [getattr(outcome, key) for key in ("status", "score", "test", "parameters", "seconds", "reason")]
        rows.append((role, name, seed, *own))
    return pd.DataFrame(rows, columns=COLUMNS)


def scores(controls: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the completed controls with their "score": on "test" if that was asked for, else on "val"."""
    done = controls[controls["status"] == "COMPLETED"]
    split = "test" if len(done) and done["test"].notna().all() else "val"
    return done.assign(score=done[split].astype(float)), split


def worth(controls: pd.DataFrame, objective: tuple[str, str]) -> str:
    """The result of the controls in a paragraph; empty without controls of single modalities.

    Args:
        controls: DataFrame of `table`.
        objective: `(name, "max" or "min")`.
    """
    done, split = scores(controls)
    fused = done[done["role"] == "fused"].set_index("seed")["score"]
    single = {name: rows.set_index("seed")["score"] for name, rows in done[done["role"] == "alone"].groupby("input")}
    if not len(fused) or not single:
        return ""
    metric, sign = objective[0].removeprefix("val_"), 1 if objective[1] == "max" else -1
    best = max(single, key=lambda name: sign * single[name].mean())
    gain = sign * (fused - single[best]).dropna()
    half = interval(gain)
    verdict = "Yes" if gain.mean() > 0 else "No"
    if not abs(gain.mean()) > half:
        verdict = "Not clear" if len(gain) > 1 else "One seed cannot tell"
    means = f" (means over {len(gain)} seeds with their 95 % intervals)" if len(gain) > 1 else ""
    lines = [
        f"Is fusion worth it? {verdict}: {metric} on {split!r} is {_told(fused)} with all modalities and "
        f"{_told(single[best])} with {best} alone, the best of them; the gain is {_told(gain)}{means}."
    ]
    shuffled = done[done["role"] == "shuffled"].groupby("input")
    lost = {name: sign * (fused - rows.set_index("seed")["score"]).dropna() for name, rows in shuffled}
    if lost:
        told = ", ".join(f"{name} {_told(loss)}" for name, loss in lost.items())
        lines += [f"What is lost where a modality is shuffled among the rows: {told}."]
    unused = [name for name, loss in lost.items() if len(loss) > 1 and not loss.mean() > interval(loss)]
    if unused:
        lines += [f"Without a clear loss: {', '.join(unused)}."]
    return " ".join(lines)


def _told(values):
    half = interval(values)
    return f"{values.mean():.3f}" + (f" ± {half:.3f}" if half == half else "")
