"""Killed (kill -9) at random moments: the same command goes on, nothing is lost, nothing is left.

    python benchmarks/kills.py [--kills 40] [--jobs tune export shards demo fit] [--seed 0]

Each job is run once undisturbed; then it is killed and begun again in one folder until it has ended, and begun anew in
another one until it has had its share of the kills. A finished part (a trial, a version, a shard) that is gone or
changed after a kill is lost, and so is a result (the table of trials, the index of shards, the history) that differs
from that of the undisturbed run. A file that the undisturbed run does not have, in the job's folder or in that of the
temporary files, and a process of a trial that goes on, is left; TensorFlow's own files for autograph are not counted.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf  # noqa: F401  once here and not in every run: a process that has run no op may be forked

import mmkeras as mk
import mmkeras.demo
from mmkeras.files import write_whole
from mmkeras.markdown import table

SCHEMA = mk.Schema({"image": mk.Image(8, 8, 1), "question": mk.Text(16)}, {"answer": mk.Category()})
SPEC = mk.ModelSpec({"image": {"kind": "conv", "filters": 4}, "question": "bag"}, width=16)
SPACE = {"fusion": ["concat", "gated"], "fusion_depth": 1, "fusion_dropout": 0.0, "width": [4, 8], "batch_size": 128}
SPACE |= {"image": {"kind": "conv", "filters": 2}, "question": {"kind": "bag"}}


def data(manifest: Path) -> mk.Splits:
    """The table of all jobs but the demo."""
    return mk.read(manifest, SCHEMA).split("split")


def tune(manifest: Path, folder: Path) -> None:
    """A search of two trials, each in a process of its own."""
    mk.tune(data(manifest), space=SPACE, tuner="random", trials=2, epochs=1, directory=folder)


def export(manifest: Path, folder: Path) -> None:
    """A version of a model."""
    rows = data(manifest)
    mk.export(mk.build(rows.schema, SPEC), rows.schema, folder, records=rows["test"], spec=SPEC)


def shards(manifest: Path, folder: Path) -> None:
    """Twenty shards."""
    mk.write_shards(data(manifest)["train"], folder, shards=20)


def demo(manifest: Path, folder: Path) -> None:
    """The demo on a smaller set, for one epoch."""
    whole = mmkeras.demo.keypad
    mmkeras.demo.keypad = lambda out: whole(out, rows=300, seed=5)
    mmkeras.demo.demo(folder, epochs=1)


def train(manifest: Path, folder: Path) -> None:
    """Ten epochs that go on after a kill, and the model in a file."""
    run = mk.train(data(manifest), SPEC, epochs=10, directory=folder, verbose=0)
    run.save(folder / "model.mmkeras")
    write_whole(folder / "history.json", json.dumps(run.history.history))


# job -> what does it, and the files that tell that a part of it is finished
JOBS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "tune": (tune, "trial_*/outcome.json"),
    "export": (export, "*/assets.extra/golden.json"),
    "shards": (shards, "shard-*.tfrecord"),
    "demo": (demo, "saved_models/keypad/*/assets.extra/golden.json"),
    "fit": (train, "model.mmkeras"),
}


def started(job: Callable[[Path, Path], None], manifest: Path, folder: Path, log: Path) -> int:
    """Begin a job in a process of its own, which writes into `log`; its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        job(manifest, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(process: int, seconds: float) -> int | None:
    """The exit code of a process that ends within so many seconds; None if it was killed then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def finished(folder: Path, parts: str) -> dict[str, int]:
    """Dict of finished part -> when it was written."""
    found = {}
    for path in folder.glob(parts):
        if path.name != "outcome.json" or json.loads(path.read_text())["status"] == "COMPLETED":
            found[str(path)] = path.stat().st_mtime_ns
    return found


def files(folder: Path) -> set[str]:
    """The files of a finished job; of each version under the same name."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or empty(path)}
    found = {path for path in found if not path.startswith("__autograph_generated_file")}  # TensorFlow's own
    return {re.sub(r"(^|keypad/)\d+/", r"\g<1>N/", path) for path in found}


def result(name: str, folder: Path) -> str:
    """What must not depend on kills."""
    if name == "tune":
        columns = ["trial", "status", "score", "epoch", "fusion", "width", "learning_rate"]
        return mk.TuningResult.load(folder).trials[columns].to_json()
    told = folder / {"shards": "shards.json", "fit": "history.json"}.get(name, "nothing")
    return told.read_text() if told.exists() else ""


def processes(folder: Path) -> set[str]:
    """The processes of trials in this folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if str(folder).encode() in path.read_bytes():
                found.add(f"process {path.parent.name}")
    return found


def empty(folder: Path) -> bool:
    """Whether it is an empty folder, which nobody should leave."""
    return not any(folder.iterdir())


def killed(name: str, kills: int, manifest: Path, folder: Path, random: np.random.Generator) -> dict[str, object]:
    """Run and kill a job; the row of the table."""
    job, parts = JOBS[name]
    temporary, log = Path(tempfile.gettempdir()), folder / f"{name}.log"
    began = time.monotonic()
    if ended(started(job, manifest, folder / name, log), 600) != 0:
        raise SystemExit(f"{name} fails undisturbed:\n{log.read_text(errors='replace')[-3000:]}")
    seconds, expected, before = time.monotonic() - began, files(folder / name), files(temporary)
    row = {"job": name, "seconds": round(seconds, 1), "kills": 0, "ended": 0, "failed": 0, "lost": 0, "left": 0}
    while row["kills"] < kills:
        place, known, ends, whole = folder / f"{name}-{row['ended']}", {}, False, True
        while not ends:
            limit = random.uniform(0, seconds) if row["kills"] < kills else 600  # the last run is left alone
            began = time.monotonic()
            code = ended(started(job, manifest, place, log), limit)
            now = finished(place, parts)
            row["lost"] += not known.items() <= now.items()
            known, ends = now, code is not None
            seconds = min(seconds, time.monotonic() - began) if whole and ends else seconds
            whole = False
            row["kills"] += not ends
            row["failed"] += ends and code != 0
        left = (files(place) ^ expected) | (files(temporary) - before) | processes(place)
        row["lost"] += code == 0 and result(name, place) != result(name, folder / name)
        row["ended"] += 1
        row["left"] += len(left)
        if left or row["failed"] or row["lost"]:
            print(f"{name}: {sorted(left)[:8]}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="of all jobs together (40)")
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="write the table as JSON")
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    with tempfile.TemporaryDirectory() as made:
        folder, tempfile.tempdir = Path(made), str(Path(made) / "temporary")
        os.environ["TMPDIR"] = tempfile.tempdir  # of the trials' processes
        Path(tempfile.tempdir).mkdir()
        make = started(
            lambda _, place: mk.datasets.keypad(place, rows=300, seed=5), folder, folder / "set", folder / "0"
        )
        assert ended(make, 600) == 0, (folder / "0").read_text()
        manifest, rows = folder / "set" / "manifest.csv", []
        for place, name in enumerate(asked.jobs):
            kills = asked.kills // len(asked.jobs) + (place < asked.kills % len(asked.jobs))
            rows.append(killed(name, kills, manifest, folder, random))
            print(json.dumps(rows[-1]), flush=True)
    print(table(list(rows[0]), [[str(value) for value in row.values()] for row in rows]))
    if asked.out:
        write_whole(asked.out, json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["failed"] or row["lost"] or row["left"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
