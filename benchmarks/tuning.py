"""What a search costs and what it survives.

    python benchmarks/tuning.py memory [--isolation none]      # resident memory of the search over 30 trials of LSTMs
    python benchmarks/tuning.py kills [--kills 20]             # killed at random moments, beside a search left alone
    python benchmarks/tuning.py cached [--trials 12]           # cached features beside full training, on qa.csv
    python benchmarks/tuning.py cached --on spoken_vqa --rows 3000 --trials 6 --epochs 4
    python benchmarks/tuning.py width [--trials 8]             # widths and kinds of fusion on keypad, beside the choice
                                                               # by hand in RESULTS.md

av_digits and spoken_vqa are looked for as in repertoire.py.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from cells import DATA
from experiments import EXPERIMENTS
from processes import resident
from sets import CACHE, unpacked

import mmkeras as mk
from mmkeras.demo import SCHEMA
from mmkeras.tuning.trial import Outcome
from mmkeras.tuning.tuner import Search

SMALL = {"fusion": ["concat", "multiply", "gated"], "fusion_depth": 1, "fusion_dropout": 0.0, "width": [8, 16, 32]}


def keypad(rows: int, *names: str) -> mk.Splits:
    """A small keypad set with these inputs."""
    manifest = mk.datasets.keypad(CACHE / f"keypad_{rows}", rows=rows, seed=5)
    schema = mk.Schema({name: SCHEMA.inputs[name] for name in names}, SCHEMA.targets)
    return mk.read(manifest, schema).split("split")


def memory(asked: argparse.Namespace) -> None:
    """Resident memory of the search process after every trial."""
    data, seen = keypad(300, "question", "audio"), []
    space = SMALL | {"question": "lstm", "question_dropout": 0.0, "audio": "spectrogram_lstm", "audio_filters": 4}
    space |= {"audio_dropout": 0.0, "batch_size": 64}
    own = Search._tell

    def tell(search, trial, outcome):
        own(search, trial, outcome)
        seen.append(resident())
        print(f"  {seen[-1]:.0f} MiB", flush=True)

    Search._tell = tell
    with tempfile.TemporaryDirectory() as folder:
        mk.tune(
            data,
            space=space,
            tuner="random",
            trials=asked.trials,
            epochs=1,
            directory=Path(folder) / "search",
            isolation=asked.isolation,
        )
    print(
        f"isolation={asked.isolation}: {seen[0]:.0f} MiB after the first trial, {seen[-1]:.0f} MiB after {len(seen)}: "
        f"{seen[-1] - seen[0]:+.0f} MiB"
    )


def search_once(asked: argparse.Namespace) -> None:
    """The search that `kills` kills."""
    space = SMALL | {"image": {"kind": "conv", "filters": 4}, "question": {"kind": "bag"}, "batch_size": 64}
    mk.tune(
        keypad(300, "image", "question"),
        space=space,
        tuner=asked.tuner,
        trials=asked.trials,
        epochs=2,
        directory=asked.directory,
    )


def kills(asked: argparse.Namespace) -> None:
    """A search that is killed again and again, and one that is left alone."""
    folder, random = Path(tempfile.mkdtemp()), np.random.default_rng(1)
    command = [sys.executable, __file__, "search", "--trials", str(asked.trials), "--tuner", asked.tuner, "--directory"]
    subprocess.run([*command, str(folder / "quiet")], check=True)
    finished, done = {}, 0
    while done < asked.kills:
        process = subprocess.Popen([*command, str(folder / "killed")])
        try:
            process.wait(random.uniform(4, 45))
            break  # it has ended
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
        time.sleep(1)
        now = ended(folder / "killed")
        assert finished.items() <= now.items(), "a finished trial was lost or done again"
        finished = now
        print(f"kill {done}: {len(finished)} trials finished", flush=True)
    subprocess.run([*command, str(folder / "killed")], check=True)
    assert finished.items() <= ended(folder / "killed").items(), "a finished trial was lost or done again"
    quiet, killed = (mk.TuningResult.load(folder / name).trials for name in ("quiet", "killed"))
    columns = ["trial", "status", "score", "epoch", "fusion", "width", "learning_rate"]
    same = killed[columns].equals(quiet[columns])
    print(f"{done} kills, {len(killed)} trials; the result is {'that' if same else 'NOT that'} of a search left alone")
    shutil.rmtree(folder)


def ended(folder: Path) -> dict[str, int]:
    """Dict of trial -> time at which it ended."""
    found = {}
    for path in folder.glob("trial_*/outcome.json"):
        if '"status": "RUNNING"' not in path.read_text():
            found[path.parent.name] = path.stat().st_mtime_ns
    return found


def experiment(name: str, asked: argparse.Namespace) -> tuple[mk.Splits, dict, dict]:
    """The splits, fixed towers and training of one of repertoire.py's experiments."""
    found = EXPERIMENTS[name]
    training = {key: found.training[key] for key in ("epochs", "augment")} | {"warm_up": 2}
    towers = {key: part if isinstance(part, dict) else {"kind": part} for key, part in found.towers.items()}
    return found.data(asked.data)[0], towers, training


def spoken_vqa(asked: argparse.Namespace) -> tuple[mk.Splits, dict, dict]:
    """As `experiment`: pictures and spoken questions."""
    inputs = {"image": mk.Image(64, 64, 3, shared=True), "audio": mk.Audio(sampling_rate=8000, seconds=2.5)}
    schema = mk.Schema(inputs, {"answer": mk.Category()})
    data = mk.read(unpacked("spoken_vqa", asked.data) / "manifest.csv", schema).split("split")
    towers = {"image": {"kind": "conv", "filters": 16}, "audio": {"kind": "spectrogram", "filters": 16}}
    return data, towers, {"epochs": 12, "warm_up": 2}


def fewer(data: mk.Splits, rows: int) -> mk.Splits:
    """The splits with at most so many rows each, drawn at random."""
    draw = np.random.default_rng(0)
    parts = {name: part.take(draw.permutation(len(part))[:rows]) for name, part in data.items()}
    return mk.Splits(data.schema, parts)


def cached(asked: argparse.Namespace) -> None:
    """CPU-seconds of a trial on cached features beside full training, and how far their rankings agree."""
    data, towers, training = experiment("qa", asked) if asked.on == "qa" else spoken_vqa(asked)
    data = fewer(data, asked.rows) if asked.rows else data
    training |= {"epochs": asked.epochs} if asked.epochs else {}
    space = towers | {"learning_rate": (5e-4, 4e-3), "batch_size": 64}
    folder = asked.directory or Path(tempfile.mkdtemp()) / "search"
    options = {"tuner": "random", "trials": asked.trials, "features": "cached", "check": asked.check}
    result = mk.tune(data, space=space, directory=folder, **options, **training)
    print(result)
    cheap = result.completed["cpu"].mean()
    full = np.mean([Outcome.load(path).cpu for path in (result.directory / "full").glob("*")])
    print(f"CPU-seconds a trial: features {cheap:.1f}, full {full:.1f}: {full / cheap:.1f} times the trials a minute")


def width(asked: argparse.Namespace) -> None:
    """A search over kind, width, depth and dropout of the fusion at the epochs of the repertoire's table."""
    data, towers, training = experiment("keypad", asked)
    space = towers | {
        "fusion": ["concat", "gated", "low_rank"],
        "fusion_depth": [1, 2, 3],
        "fusion_dropout": [0.0, 0.1],
    }
    space |= {"width": [64, 128, 256], "learning_rate": (1e-3, 4e-3), "batch_size": 128}
    folder = asked.directory or Path(tempfile.mkdtemp()) / "search"
    result = mk.tune(data, space=space, trials=asked.trials, directory=folder, **training)
    print(result)
    print("test", result.model().evaluate(mk.batches(data["test"], 256), return_dict=True, verbose=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = {"memory": memory, "kills": kills, "search": search_once, "cached": cached, "width": width}
    parser.add_argument("what", choices=commands)
    parser.add_argument("--isolation", default="process")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--check", type=int, default=4)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--on", choices=["qa", "spoken_vqa"], default="qa")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--tuner", default="random")
    parser.add_argument("--directory")
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    asked.trials = asked.trials or {"memory": 30, "kills": 12, "search": 12, "cached": 12, "width": 8}[asked.what]
    commands[asked.what](asked)


if __name__ == "__main__":
    main()
