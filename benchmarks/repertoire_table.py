"""The tables of repertoire.py, from the cells that are there."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from experiments import EXPERIMENTS, Experiment
from parts import OUT, parts_of, result_of
from report import interval, spread

Cells = dict[str, list[dict]]  # part -> what the cells of its seeds hold

HEAD = """# What each tower and fusion is worth

Written by `python benchmarks/repertoire.py run --seeds 3 && python benchmarks/repertoire.py table`, {cpu:.1f} CPU-hours
in all. Each model is trained by one thread of TensorFlow, two models side by side on 2 CPU cores. The recipes are in
benchmarks/experiments.py. They were chosen on validation rows; newsgroups20 and watch_imu have none, and there
held-out training rows and folds were used. The default and the best part of each table were trained with three seeds.
Which part is best was decided on validation rows, of these two sets by the test accuracy below. Accuracy is the mean
over the seeds and their standard deviation. CPU-seconds are those of the median epoch, reading and augmentation
included. The default is in bold."""


def lines(out: Path = OUT) -> list[str]:
    """Markdown of what is there, the heading first, for RESULTS.md."""
    found, total = [], 0.0
    for name, experiment in EXPERIMENTS.items():
        parts = parts_of(experiment, out)
        cells = {part: [result_of(out, name, part, seed) for seed in range(10)] for part in parts}
        cells = {part: [each for each in seeds if each] for part, seeds in cells.items() if any(seeds)}
        total += sum(each.get("cpu", 0) for seeds in cells.values() for each in seeds)
        found += [f"\n## {experiment.title}\n", *table(experiment, cells, parts)]
    return [HEAD.format(cpu=total / 3600), *found]


def table(experiment: Experiment, cells: Cells, parts: list[str]) -> Iterable[str]:
    """Lines of one experiment."""
    if experiment.figure:
        yield f"For comparison: {experiment.figure}.\n"
    if cells:
        kind = {"fusion": "fusion", "inputs": "inputs"}.get(experiment.varies, "tower")
        yield f"| {kind} | test accuracy | validation | seeds | parameters | CPU-s an epoch | epochs |"
        yield "|---|---|---|---|---|---|---|"
        for part, seeds in sorted(cells.items(), key=rank):
            yield row(part, seeds, part == parts[0])
    yield from differing_settings(experiment, cells)
    if not_run := [part for part in parts if part not in cells]:
        yield f"\nNot run yet: {', '.join(not_run)}."
    if experiment.varies == "inputs":
        yield from missing_modalities(cells)


def missing_modalities(cells: Cells) -> list[str]:
    """Lines of the table that sets modality dropout beside models that never had the modality."""
    found = []
    for part, seeds in cells.items():
        left = part.removeprefix("without_")
        ours = [each["missing"]["test"] for each in cells.get("all", []) if each.get("missing", {}).get("test")]
        ours = [scores[left] for scores in ours if left in scores]
        theirs = [each["test"] for each in seeds if "test" in each]
        if left != part and ours and theirs:
            difference = statistics.mean(ours) - statistics.mean(theirs)
            found.append(f"| {left} | {spread(ours)} | {spread(theirs)} | {difference:+.3f} |")
    head = "\n| missing at test | trained with modality dropout | trained without it | difference |\n|---|---|---|---|"
    return [head, *found] if found else []


def differing_settings(experiment: Experiment, cells: Cells) -> list[str]:
    """A line that says which parts were trained with other settings."""
    kinds = experiment.options, experiment.training_of, experiment.data_of
    given = {part: {key: value for kind in kinds for key, value in kind.get(part, {}).items()} for part in cells}
    own = [f"{part} {json.dumps(options)}" for part, options in given.items() if options]
    return [f"\nSettings that differ: {'; '.join(own)}."] if own else []


def rank(entry: tuple[str, list[dict]]) -> float:
    scores = [each["test"] for each in entry[1] if "test" in each]
    return -statistics.mean(scores) if scores else 1.0


def row(part: str, seeds: list[dict], default: bool) -> str:
    shown = f"**{part}**" if default else part
    done = [each for each in seeds if "failed" not in each]
    if not done:
        return f"| {shown} | failed: {seeds[0]['failed']} | | | | | |"
    figures = [spread([each[split] for each in done if split in each]) for split in ("test", "val")]
    if len(done[0]["folds"]) > 1:
        folds = [statistics.mean(scores) for scores in zip(*(each["folds"] for each in done), strict=True)]
        figures[0] += " (95 % by folds: {:.3f} to {:.3f})".format(*interval(folds))
    epoch = statistics.median(each["epoch"] for each in done)
    epochs = done[0]["settings"]["training"]["epochs"]
    return (
        f"| {shown} | {figures[0]} | {figures[1]} | {len(done)} | {done[0]['parameters']:,} | {epoch:.1f} | {epochs} |"
    )
