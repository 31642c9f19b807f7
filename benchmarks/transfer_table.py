"""The tables of transfer.py, from the cells that are there."""

import statistics
from collections.abc import Iterable
from pathlib import Path

from cells import HERE, kept
from report import interval, spread
from studies import STUDIES, recipe

OUT = HERE / "cells" / "transfer"
MEASURES = ("R@1", "R@5", "R@10", "median rank", "precision@10", "mAP")
Seeds = list[dict]  # what was found with each seed


def done(path: Path, name: str) -> dict | None:
    """What a cell's file holds; None: it is not there, or was made by another recipe."""
    cell = kept(path)
    return cell if cell and cell.get("recipe") == recipe(name) else None


def lines(out: Path = OUT) -> list[str]:
    """Markdown of what is there, for RESULTS.md."""
    cells = {name: [done(path, name) for path in sorted(out.glob(f"{name}.?.json"))] for name in STUDIES}
    cells = {name: [cell for cell in seeds if cell] for name, seeds in cells.items()}
    total = sum(cell["cpu"] for seeds in cells.values() for cell in seeds)
    found = [
        "\n# What transfer and a shared space are worth\n\nWritten by `python benchmarks/transfer.py run --seeds 3 && "
        f"python benchmarks/transfer.py table`, {total / 3600:.1f} CPU-hours. Figures are of test rows: the mean "
        "over the seeds and their standard deviation. The recipes are in benchmarks/studies/."
    ]
    for name, (title, table) in TABLES.items():
        seeds = [cell["found"] for cell in cells[name]]
        found += [f"\n## {title}\n", *(table(seeds) if seeds else ["Not run yet."])]
        found += [f"\n{NOTES[name]}"] if name in NOTES else []
    missing = [f"{name} {len(cells[name])} of 3" for name in STUDIES if len(cells[name]) < 3]
    return found + ([f"\nSeeds so far: {', '.join(missing)}."] if missing else [])


def questions_table(seeds: Seeds) -> Iterable[str]:
    cases = {
        "scratch": "trained from scratch with one head, 12 epochs",
        "control": "not trained, frozen, run once; the rest of the model, 8 epochs (control)",
        "pretrained": "pre-trained on single digits, frozen, run once; the rest of the model, 8 epochs",
    }
    yield "| towers | CPU-s in all | test accuracy | CPU-s until the validation accuracy from scratch, as a share |"
    yield "|---|---|---|---|"
    for case, title in cases.items():
        cpu = statistics.mean(seed[case]["cpu"][-1] for seed in seeds)
        found = [share(seed) for seed in seeds] if case == "pretrained" else []
        shares = [each for each in found if each is not None]
        shown = spread(shares) + (
            f" (reached by {len(shares)} of {len(found)} seeds)" if len(shares) < len(found) else ""
        )
        yield f"| {title} | {cpu:.0f} | {spread([seed[case]['test'] for seed in seeds])} | {shown} |"
    before = statistics.mean(s["pretraining"] for s in seeds)
    yield f"\nPre-training, {before:.0f} CPU-seconds, is included."


def share(seed: dict) -> float | None:
    """CPU-seconds, pre-training included, until the last validation accuracy from scratch, as a share of its
    own.

    None: it was not reached.
    """
    scratch, pretrained = seed["scratch"], seed["pretrained"]
    good = [at for at, value in zip(pretrained["cpu"], pretrained["val"], strict=True) if value >= scratch["val"][-1]]
    return good[0] / scratch["cpu"][-1] if good else None


def plain_table(seeds: Seeds) -> Iterable[str]:
    yield "| | test accuracy |"
    yield "|---|---|"
    for case in seeds[0]:
        yield f"| {case} | {spread([seed[case] for seed in seeds])} |"


def students_table(seeds: Seeds) -> Iterable[str]:
    yield from plain_table(seeds)
    yield "\n| student | gain from the teacher | 95 % interval over the seeds |"
    yield "|---|---|---|"
    for name in ("image", "audio"):
        gains = [seed[f"{name} taught"] - seed[f"{name} alone"] for seed in seeds]
        shown = "{:+.3f} to {:+.3f}".format(*interval(gains)) if len(gains) > 1 else "one seed"
        yield f"| {name} | {statistics.mean(gains):+.3f} | {shown} |"


def space_table(seeds: Seeds) -> Iterable[str]:
    found = [scores for seed in seeds for case in seed.values() for scores in case.values()]
    measures = [name for name in MEASURES if all(name in scores for scores in found)]
    yield "| loss | query to result | seeds | " + " | ".join(measures) + " |"
    yield "|---|---|---|" + "---|" * len(measures)
    for case, ways in seeds[0].items():
        there = [seed[case] for seed in seeds if case in seed]
        for way in ways:
            figures = [spread([seed[way][name] for seed in there], 1 if "rank" in name else 3) for name in measures]
            yield f"| {case} | {way} | {len(there)} | " + " | ".join(figures) + " |"


TABLES = {
    "questions": ("Questions about two digits (qa.csv): towers pre-trained on single digits", questions_table),
    "few_labels": ("Recordings with 10 labels a class, taught by an image teacher over unlabelled pairs", plain_table),
    "students": ("Degraded digits: students of one modality, a teacher of both", students_table),
    "space": (
        "Written and spoken digits in a shared space, from pairs without labels: retrieval by class",
        space_table,
    ),
    "heads": ("The same, trained together with heads that read the shared space", space_table),
    "pictures_and_questions": (
        "Pictures and the questions that fit them (easy-VQA): retrieval by the colour or form that a question names",
        space_table,
    ),
    "bodies": ("Transformer blocks from one modality to another", plain_table),
}


NOTES = {
    "space": "`siglip` starts from the paper's bias of -10. How much it has learned after 12 epochs, about 500 steps, "
    "differs from seed to seed. Started from -5 or -2 it learned less.",
    "heads": "`adversarial`, `generator` and `misa` align the distributions of the modalities, not the two values of a "
    "row. Chance is about .1.",
}
