"""Tables of many rows, and shards of them: how fast, and in how much memory."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from processes import alone, peak
from small_files import write_picture, write_recording

import mmkeras as mk

BATCH = 128
SCRIPT = str(Path(__file__).with_name("pipeline.py"))


def million(rows: int) -> None:
    """Make the table in a process of its own, then read it in another."""
    folder = Path(tempfile.mkdtemp())
    alone(SCRIPT, "make", "--data", folder, "--rows", rows)
    found = alone(SCRIPT, "table", "--data", folder)
    print("| | |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:,.1f} |")


def make(folder: Path, rows: int) -> dict:
    """A Parquet table: 1,000 pictures and 200 recordings that rows share, a sentence, a number, a word, a label."""
    random = np.random.default_rng(0)
    for number in range(1000):
        write_picture(folder / f"{number}.png", random)
    for number in range(200):
        write_recording(folder / f"{number}.wav", random, 1600)
    words = np.array(["what", "is", "the", "sum", "of", "these", "two", "numbers", "please", "tell", "me", "now"])
    table = pd.DataFrame(
        {
            "image": [f"{n}.png" for n in random.integers(0, 1000, rows)],
            "audio": [f"{n}.wav" for n in random.integers(0, 200, rows)],
            "question": [" ".join(row) for row in words[random.integers(0, len(words), (rows, 6))]],
            "age": np.where(random.uniform(size=rows) < 0.1, np.nan, random.uniform(0, 90, rows).round(1)),
            "ward": random.choice(["north", "south", "east"], rows),
            "answer": random.choice([f"class {n}" for n in range(20)], rows),
        }
    )
    table.to_parquet(folder / "rows.parquet")
    table.head(100).to_parquet(folder / "some.parquet")
    return {}


def table(folder: Path) -> dict:
    schema = mk.Schema(
        inputs={
            "image": mk.Image(16, 16, 1),
            "audio": mk.Audio(8000, 0.2),
            "question": mk.Text(8),
            "patient": mk.Tabular(["age"], ["ward"]),
        },
        targets={"answer": mk.Category()},
    )
    next(iter(mk.batches(mk.read(folder / "some.parquet", schema).fit(), 8)))  # TensorFlow's own start
    start_memory = peak()
    clock = time.perf_counter()
    records = mk.read(folder / "rows.parquet", schema)
    read = time.perf_counter() - clock
    clock = time.perf_counter()
    records = records.fit()
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    batches = mk.batches(records, BATCH, training=True)
    next(iter(batches))
    first = time.perf_counter() - clock
    clock = time.perf_counter()
    count = sum(len(target) for _, target in batches)
    return {
        "rows": count,
        "read, s": read,
        "fit (vocabulary, classes, means), s": fitted,
        "first batch, s": first,
        "an epoch, s": time.perf_counter() - clock,
        "peak memory, MiB": peak(),
        "of it before the table is read, MiB": start_memory,
    }


def shards(rows: int) -> None:
    print("| rows | written: rows a second | read: rows a second | peak memory writing, MiB | reading, MiB |")
    print("|---|---|---|---|---|")
    peaks = []
    for count in (rows, 10 * rows):
        folder = Path(tempfile.mkdtemp())
        alone(SCRIPT, "make", "--data", folder, "--rows", count)
        found = alone(SCRIPT, "write", "--data", folder) | alone(SCRIPT, "read", "--data", folder)
        peaks.append(found)
        figures = [found[what] for what in ("write", "read", "writing", "reading")]
        print(f"| {count:,} | " + " | ".join(f"{figure:,.0f}" for figure in figures) + " |", flush=True)
    for what in ("writing", "reading"):
        print(f"\n{what}: {peaks[1][what] / peaks[0][what]:.3f} times the memory for 10 times the rows")


def write(folder: Path) -> dict:
    inputs = {"image": mk.Image(16, 16, 1), "audio": mk.Audio(8000, 0.2), "question": mk.Text(8)}
    schema = mk.Schema(inputs=inputs, targets={"answer": mk.Category()})
    records = mk.read(folder / "rows.parquet", schema).fit()
    clock = time.perf_counter()
    written = mk.write_shards(records, folder / "shards", shards=16)
    return {"write": len(written) / (time.perf_counter() - clock), "writing": peak()}


def read(folder: Path) -> dict:
    rows, clock = 0, time.perf_counter()
    for _, target in mk.batches(mk.read_shards(folder / "shards"), BATCH, training=True):
        rows += len(target)
    return {"read": rows / (time.perf_counter() - clock), "reading": peak()}
