"""What processes cost, and sides of a comparison that run in processes of their own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path


def cpu() -> float:
    """CPU-seconds of this process so far and of those of its workers that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def peak() -> float:
    """Most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> float:
    """Memory that this process holds now, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def alone(script: str, *arguments, through: Sequence[str] = ()) -> dict:
    """What a script prints as JSON in its last line, in a fresh process.

    Args:
        script: path of it.
        arguments: of its command line.
        through: a command that starts it.
    """
    command = [*through, sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def epoch(data: Iterable) -> tuple[int, float, float]:
    """Rows, CPU-seconds and seconds of one pass over batches `(..., target)`."""
    start, clock, rows = cpu(), time.perf_counter(), 0
    for *_, target in data:
        rows += len(target)
    return rows, cpu() - start, time.perf_counter() - clock
