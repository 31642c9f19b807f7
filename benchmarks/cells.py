"""Cells: what is trained in a process of its own and leaves a small JSON file, which is committed and kept."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmkeras.files import write_whole

HERE = Path(__file__).resolve().parent
DATA = os.environ.get("MMKERAS_DATA") or HERE.parent.parent / "shared" / "data"


def options(doc: str, pattern: str, out: Path) -> argparse.ArgumentParser:
    """The command line of a script that runs cells: `run`, `table` or `cell`.

    Args:
        doc: the script's docstring.
        pattern: how a cell is written, as "study/seed".
        out: folder of its cells.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "cell"])
    parser.add_argument("--only", default="*", help=f"cells, as {pattern} with * and ?")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=out)
    return parser


def in_a_process(script: str, arguments: Sequence, path: Path) -> tuple[dict | None, str | None]:
    """What a script prints as its last JSON line, and None; or None and why it failed. All it says is in a log.

    Args:
        script: path of it.
        arguments: of its command line.
        path: of the cell; the log lies beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix(".log")
    with open(log, "w") as file:
        command = [sys.executable, script, *map(str, arguments)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    if done.returncode:
        return None, lines[-1][:500] or f"exit {done.returncode}"
    return json.loads([line for line in lines if line.startswith("{")][-1]), None


def keep(found: dict, path: Path) -> None:
    """Write a cell's file, whole or not at all."""
    write_whole(path, json.dumps(found, indent=1) + "\n")


def kept(path: Path) -> dict | None:
    """What a cell's file holds; None: not done."""
    return json.loads(path.read_text()) if path.exists() else None


def one_thread() -> None:
    """TensorFlow's operations by one thread: cells side by side, and no processor time spent on waiting."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
