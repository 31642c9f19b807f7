"""The data sets of the benchmarks, read and divided.

A function takes the folder of the archives and returns a list of `Splits`, more than one where there are folds. "val"
is, of cifar10_mini, a tenth of "train"; of newsgroups20 the latest tenth of it (the test posts are later still), which
for the table is trained on with the rest; of watch_imu folds 1 to 4 among themselves.
"""

import gzip
import json
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

import mmkeras as mk
from mmkeras.demo import SCHEMA
from mmkeras.files import rename_whole

CACHE = Path.home() / ".cache" / "mmkeras"
DIGIT = mk.Image(28, 28, 1)
SPOKEN = mk.Audio(sampling_rate=8000, seconds=0.64)  # nine of ten digits are shorter
WINDOW, HOP = 200, 100  # steps of 20 ms, as the reference's windows


def unpacked(name: str, archives: Path) -> Path:
    """The folder of a set, unpacked once to ~/.cache/mmkeras."""
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as part, tarfile.open(Path(archives) / f"{name}.tar.gz") as archive:
            archive.extractall(part, filter="data")
            rename_whole(Path(part) / name, folder)
    return folder


def with_val(table: pd.DataFrame, latest: bool = False) -> pd.DataFrame:
    """The table with a tenth of each label's training rows as "val": drawn at random, or the last of them."""
    training = table[table["split"] == "train"]
    order = training if latest else training.sample(frac=1, random_state=0)
    place = order.groupby("label").cumcount(ascending=False)
    held = place[place < order.groupby("label")["label"].transform("size") / 10].index
    return table.assign(split=table["split"].where(~table.index.isin(held), "val"))


def cifar10_mini(archives: Path) -> list[mk.Splits]:
    folder = unpacked("cifar10_mini", archives)
    table = with_val(pd.read_csv(folder / "manifest.csv"))
    table["image"] = [str(folder / path) for path in table["image"]]
    return [mk.read(table, mk.Schema({"image": mk.Image(32, 32, 3)}, {"label": mk.Category()})).split("split")]


def newsgroups20(archives: Path, length: int = 400, choosing: bool = False) -> list[mk.Splits]:
    """Posts and their groups; to choose recipes by, the latest tenth of the training posts is "val"."""
    folder = unpacked("newsgroups20", archives)
    posts = []
    for split in ("train", "test"):
        with gzip.open(folder / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
            posts += [{**json.loads(line), "split": split} for line in lines]
    schema = mk.Schema({"text": mk.Text(length, limit=30_000)}, {"label": mk.Category()})
    table = pd.DataFrame(posts)
    return [mk.read(with_val(table, latest=True) if choosing else table, schema).split("split")]


def av_digits(archives: Path, **inputs) -> list[mk.Splits]:
    """Written or spoken digits."""
    schema = mk.Schema(inputs, {"label": mk.Category()})
    return [mk.read(unpacked("av_digits", archives) / "manifest.csv", schema).split("split")]


def schema_of(inputs: dict, targets: dict, without: str | None = None, optional: bool = False) -> mk.Schema:
    """The schema without one of the inputs and without the targets that read it, or with all inputs optional."""
    inputs = {name: replace(feature, optional=optional) for name, feature in inputs.items() if name != without}
    return mk.Schema(inputs, {name: part for name, part in targets.items() if part.reads in (None, *inputs)})


def digits_hard(archives: Path, mixed: int = 0, **chosen) -> list[mk.Splits]:
    """Degraded written and spoken digits; the label is also a target of each tower by itself.

    With `mixed` so many further copies of the training rows, whose recordings have the noises of other training rows.
    """
    inputs = {"image": replace(DIGIT, column="image_hard"), "audio": replace(SPOKEN, column="audio_hard")}
    own = {f"{name}_label": mk.Category(column="label", reads=name) for name in inputs}
    schema = schema_of(inputs, {"label": mk.Category(), **own}, **chosen)
    folder = unpacked("av_digits", archives)
    if not mixed:
        return [mk.read(folder / "manifest.csv", schema).split("split")]
    table = pd.read_csv(folder / "manifest.csv")
    for column in ("image_hard", "audio_hard"):
        table[column] = [str(folder / path) for path in table[column]]
    more = [mixed_again(folder, table[table["split"] == "train"], copy) for copy in range(mixed)]
    return [mk.read(pd.concat([table, *more], ignore_index=True), schema).split("split")]


def mixed_again(folder: Path, rows: pd.DataFrame, copy: int) -> pd.DataFrame:
    """The rows with another picture of the same digit, and with their clean recordings under another row's noise.

    A noise is what a degraded recording has beyond its clean one; it is mixed at the set's own -6 dB.
    """
    made, random = CACHE / "av_digits_mixed", np.random.default_rng(copy)
    made.mkdir(exist_ok=True)
    order, paths = random.permutation(len(rows)), []
    for place, (_, row) in enumerate(rows.iterrows()):
        path = made / f"{copy}_{row['id']}.wav"
        if not path.exists():
            clean, noise = read_wave(folder / row["audio"]), noise_of(folder, rows.iloc[order[place]])
            noise = np.resize(np.roll(noise, random.integers(len(noise))), len(clean))
            wave = clean + noise * 10 ** (6 / 20) * np.std(clean) / (np.std(noise) + 1e-9)
            soundfile.write(path, 0.9 * wave / np.abs(wave).max(), 8000, subtype="PCM_U8")
        paths.append(str(path))
    pictures = rows.groupby("label")["image_hard"].transform(lambda column: random.permutation(column.to_numpy()))
    return rows.assign(audio_hard=paths, image_hard=pictures)


def read_wave(path: Path | str) -> np.ndarray:
    return soundfile.read(path)[0]


def noise_of(folder: Path, row: pd.Series) -> np.ndarray:
    """The degraded recording less as much of the clean one as is in it, by least squares."""
    clean, degraded = read_wave(folder / row["audio"]), read_wave(row["audio_hard"])
    count = min(len(clean), len(degraded))
    clean, degraded = clean[:count], degraded[:count]
    return degraded - clean * (degraded @ clean) / (clean @ clean)


def watch_imu(archives: Path, choosing: bool = False) -> list[mk.Splits]:
    """Windows of 4 s of the traces, for each of the five folds of subjects, which the others are trained for.

    To choose recipes by, fold 0 is left out, and the others are "val" in turn.
    """
    folder, made = unpacked("watch_imu", archives), CACHE / f"watch_imu_{WINDOW}_{HOP}"
    made.mkdir(exist_ok=True)
    rows = []
    for recording in pd.read_csv(folder / "manifest.csv").to_dict("records"):
        trace = np.load(folder / recording["series"])
        for start in range(0, len(trace) - WINDOW + 1, HOP):
            path = made / f"{recording['id']}_{start}.npy"
            np.save(path, trace[start : start + WINDOW])
            rows.append({"series": str(path), "label": recording["label"], "fold": recording["fold"]})
    table, folds = pd.DataFrame(rows), []
    schema = mk.Schema({"series": mk.Series(WINDOW, 6)}, {"label": mk.Category()})
    table = table[table["fold"] > 0] if choosing else table
    for fold in sorted(table["fold"].unique()):
        own = table["fold"] == fold
        rows = table.assign(split=np.where(own, "val" if choosing else "test", "train"))
        folds.append(mk.read(rows, schema).split("split"))
    return folds


def questions(archives: Path, **chosen) -> list[mk.Splits]:
    """Questions about a written and a spoken digit; each digit is also a target that reads its own tower."""
    inputs = {"image": DIGIT, "audio": SPOKEN, "question": mk.Text(length=12)}
    own = {f"{name}_digit": mk.Category(reads=name) for name in ("image", "audio")}
    schema = schema_of(inputs, {"answer": mk.Category(), **own}, **chosen)
    return [mk.read(unpacked("av_digits", archives) / "qa.csv", schema).split("split")]


def keypad(archives: Path) -> list[mk.Splits]:
    return [mk.read(mk.datasets.keypad(CACHE / "keypad"), SCHEMA).split("split")]


def easy_vqa(archives: Path, **chosen) -> list[mk.Splits]:
    inputs = {"image": mk.Image(64, 64, 3, shared=True), "question": mk.Text(length=12)}
    schema = schema_of(inputs, {"answer": mk.Category()}, **chosen)
    return [mk.read(mk.datasets.easy_vqa(CACHE / "easy_vqa"), schema).split("split")]
