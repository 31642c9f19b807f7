"""Trials in processes of their own: their memory is released, and a crash ends only the trial."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cloudpickle

from mmkeras.errors import InputError
from mmkeras.files import write_json
from mmkeras.pipeline import Shards, read_decoded, readable, write_decoded
from mmkeras.records import Records
from mmkeras.registry import registered, restore
from mmkeras.tuning.forks import Forks
from mmkeras.tuning.trial import LOG, OUTCOME, Outcome, Request, run, whole

JOB, REQUEST = "job.pkl", "request.json"


def write_job(data: Mapping[str, Records | Shards], folder: Path) -> str:
    """Write the data for the processes of a search: records with their decoded values, registered parts.

    Args:
        data: mapping of split -> `Records` or `Shards`.
        folder: an empty one.

    Returns:
        The SHA-256 sum of the file with which `read_job` begins: reading it runs code, so no other will do.
    """
    kept = {split: rows if isinstance(rows, Shards) else readable(rows, targets=True) for split, rows in data.items()}
    for split, records in kept.items():
        if not isinstance(records, Shards):
            (folder / split).mkdir()
            write_decoded(records, folder / split)
    content = cloudpickle.dumps({"data": kept, "parts": registered()})
    (folder / JOB).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def read_job(folder: Path, sha256: str) -> dict[str, Records | Shards]:
    """The data that `write_job` wrote; parts that are not known yet are registered."""
    pickled = (folder / JOB).read_bytes()
    if hashlib.sha256(pickled).hexdigest() != sha256:
        raise InputError(f"tune: {str(folder / JOB)!r} is not the file that the search wrote")
    content = cloudpickle.loads(pickled)
    restore(content["parts"])
    for split, records in content["data"].items():
        if not isinstance(records, Shards):
            read_decoded(records, folder / split)
    return content["data"]


def run_in_child(
    job: Path,
    sha256: str,
    request: Request,
    folder: Path,
    *,
    seconds: float | None = None,
    threads: int | None = None,
    forks: Forks | None = None,
    beat: Callable[[], object] | None = None,
) -> Outcome:
    """`trial.run` in a process of its own.

    Args:
        job: folder of `write_job`.
        sha256: what it returned.
        request: `Request`.
        folder: of the trial.
        seconds: time limit for the whole process, None: none.
        threads: number of processor cores to use; None: all. Forks have the environment of their parent.
        forks: the process to fork from; None: it is a process of its own from the start.
        beat: called without arguments every few seconds.

    Returns:
        `Outcome`. A process that is killed or crashes has failed, with the reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (OUTCOME, LOG):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / REQUEST, request.to_json())
    began = time.monotonic()
    arguments = [str(job), sha256, str(folder)]
    child = forks.start(arguments, folder / LOG) if forks else _started(arguments, folder / LOG, threads)
    try:
        reason = _wait(child, began, seconds, beat)
    finally:
        child.kill()
        child.wait()
    outcome = Outcome.load(folder) or Outcome(request.to_json())
    if not outcome.finished:
        outcome.status, outcome.reason = "FAILED", reason or _death(child.returncode, folder / LOG)
        outcome.seconds = time.monotonic() - began
        outcome.save(folder)
    return outcome


def _started(arguments, log, threads):
    with open(log, "ab") as file:
        return subprocess.Popen(
            # -P: nothing is imported from the current folder, unless this process does so
            [sys.executable, "-P", "-m", "mmkeras.tuning.child", *arguments],
            stdin=subprocess.PIPE,  # never written to: its end tells the child that this process is gone
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(threads),
            start_new_session=True,  # Ctrl-C goes to this process only
        )


def _wait(child, began, seconds, beat):
    """Wait for the end of the child; the reason if it had to be ended."""
    while True:
        try:
            child.wait(2)
            return None
        except subprocess.TimeoutExpired:
            if seconds and time.monotonic() - began > seconds:
                return f"time limit of {seconds:g} s"
        if beat:
            beat()


def environment(threads: int | None) -> dict[str, str]:
    """The environment of a trial's process, which uses so many cores; None: all."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    # the processes share the GPU's memory: each takes what it needs; by default TensorFlow takes all
    found = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if threads:
        found |= {"TF_NUM_INTRAOP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return found


def _death(code, log):
    if code < 0:
        name = signal.Signals(-code).name
        more = "; the system does so when memory runs out" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{more}"
    lines = log.read_text(errors="replace").strip().splitlines() or ["nothing was printed"]
    return f"the process ended with exit code {code}: {lines[-1][:300]}"


def _die_with_parent():
    os.read(0, 1)  # not sys.stdin: its lock would block the normal end of the process
    os._exit(1)


def main(job: str, sha256: str, folder: str) -> None:
    """The main function of the process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    request = Request.from_json(json.loads((Path(folder) / REQUEST).read_text(encoding="utf-8")))
    run(partial(_train, Path(job), sha256), request, folder, whole_process=True)


def _train(job, sha256, request, watch):
    whole(read_job(job, sha256), 2, request, watch)


if __name__ == "__main__":
    main(*sys.argv[1:])
