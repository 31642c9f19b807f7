"""Which parts take part in an experiment, also by what its cells have shown, and where the cells lie."""

import statistics
from pathlib import Path

from cells import HERE, kept
from experiments import Experiment

from mmkeras import towers
from mmkeras.fusion import FUSIONS
from mmkeras.inputs import INPUTS

OUT = HERE / "cells" / "repertoire"


def path_of(out: Path, name: str, part: str, seed: int) -> Path:
    return out / name / f"{part}.{seed}.json"


def result_of(out: Path, name: str, part: str, seed: int) -> dict | None:
    """What a cell's file holds; None: not done."""
    return kept(path_of(out, name, part, seed))


def parts_of(experiment: Experiment, out: Path) -> list[str]:
    """The parts that take part in an experiment, the default first."""
    if experiment.varies == "inputs":
        return ["all", *(f"without_{name}" for name in experiment.towers)]
    if experiment.varies == "fusion":
        return two_best([*FUSIONS], experiment.chosen_by, out) if experiment.chosen_by else [*FUSIONS]
    kind = INPUTS[experiment.varies.capitalize()]  # the one input bears the name of its kind
    reading = [part for part, build in towers.TOWERS.items() if kind in (towers.reads(build) or ())]
    return sorted(reading, key=lambda part: part != towers.DEFAULTS.of(kind))


def two_best(parts: list[str], names: tuple[str, ...], out: Path) -> list[str]:
    """The default and the two parts of the best mean validation accuracy over these experiments, seed 0."""
    found = {part: [result_of(out, name, part, 0) for name in names] for part in parts}
    means = {
        part: statistics.mean(each.get("val", 0) for each in results)
        for part, results in found.items()
        if part != parts[0] and all(results)
    }
    return [parts[0], *sorted(means, key=means.get, reverse=True)[:2]]


def best(out: Path, name: str, parts: list[str]) -> str:
    """The part with the best validation rows with seed 0, of folds the best mean; the default if none is done."""
    found = {part: result_of(out, name, part, 0) for part in parts}
    scores = {part: each.get("val", each.get("test", 0)) for part, each in found.items() if each}
    return max(scores, key=scores.get) if scores else parts[0]


def taking_part(out: Path, name: str, experiment: Experiment, seed: int) -> list[str]:
    """All parts with seed 0; the default and the best with others."""
    parts = parts_of(experiment, out)
    return parts if seed == 0 else sorted({parts[0], best(out, name, parts)})
