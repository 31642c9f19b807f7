"""Epochs over files, without a model: mmkeras beside a PyTorch DataLoader."""

import statistics
import time
from pathlib import Path

from pipeline_torch import BATCH, LATER
from processes import alone, cpu, epoch
from report import middle
from sets import CACHE, unpacked

import mmkeras as mk

OURS, THEIRS = (str(Path(__file__).with_name(name)) for name in ("pipeline.py", "pipeline_torch.py"))


def schema_of(path: Path) -> mk.Schema:
    if path.parent.name == "av_digits":
        inputs = {"image": mk.Image(28, 28, 1), "audio": mk.Audio(8000, 1.0)}
        return mk.Schema(inputs=inputs, targets={"label": mk.Category()})
    return mk.Schema(inputs={"image": mk.Image(64, 64, 3), "question": mk.Text(16)}, targets={"answer": mk.Category()})


def ours(path: Path) -> dict:
    """mmkeras: first epoch, then the mean of later ones; from `batches` on, which decodes."""
    records = mk.read(path, schema_of(path)).split("split")["train"]
    next(iter(mk.batches(records.take([0, 1]), 2)))  # TensorFlow's own start
    start, clock = cpu(), time.perf_counter()
    batches = mk.batches(records, BATCH, training=True)
    rows, _, _ = epoch(batches)
    first = rows, cpu() - start, time.perf_counter() - clock
    later = [epoch(batches) for _ in range(LATER)]
    return {"first": first, "later": [statistics.median(part) for part in zip(*later, strict=True)]}


def epochs(pairs: int, data: Path) -> None:
    print("| set | what | mmkeras, rows a CPU-second | PyTorch | ratio, median (least, most) | wall ratio |")
    print("|---|---|---|---|---|---|")
    for path in (unpacked("av_digits", data) / "manifest.csv", mk.datasets.easy_vqa(CACHE / "easy_vqa")):
        runs = {"ours": [], "files": [], "arrays": []}
        for number in range(pairs):
            for side in ("ours", "files", "arrays") if number % 2 else ("arrays", "files", "ours"):
                runs[side].append(alone(OURS if side == "ours" else THEIRS, side, "--data", path))
        for what, mine, side, other in (
            ("first epoch / files, 2 workers", "first", "files", "first"),
            ("later epochs / files, 2 workers", "later", "files", "first"),
            ("later epochs / arrays in memory", "later", "arrays", "later"),
        ):
            a, b = [run[mine] for run in runs["ours"]], [run[other] for run in runs[side]]
            ratios = [(x[0] / x[1]) / (y[0] / y[1]) for x, y in zip(a, b, strict=True)]
            walls = statistics.median((x[0] / x[2]) / (y[0] / y[2]) for x, y in zip(a, b, strict=True))
            speeds = [statistics.median(rows / seconds for rows, seconds, _ in side) for side in (a, b)]
            print(
                f"| {path.parent.name} | {what} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {middle(ratios)} | "
                f"{walls:.2f} |",
                flush=True,
            )
