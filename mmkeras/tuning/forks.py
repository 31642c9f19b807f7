"""Trials as forks of one process that has imported everything: they begin at once, and each still is a process.

A process that has imported TensorFlow and run no operation can be forked; its forks train as any other process does.
The parent starts one such process for a search and sends it a line of JSON for each trial: `{"start": number,
"arguments": [...], "log": path}` or `{"kill": number}`. It answers `{"ended": number, "code": exit code}`.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

LOG = "forks.log"


def forkable() -> bool:
    """Whether trials can be forks: on Linux, with TensorFlow, without a GPU, which a fork cannot use."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    gpu = (not hidden and any(Path("/dev").glob("nvidia[0-9]*"))) or Path("/dev/kfd").exists()
    return sys.platform == "linux" and keras.backend.backend() == "tensorflow" and not gpu


class Fork:
    """One fork, as far as `subprocess.Popen` is needed.

    Attributes:
        returncode: None while it runs; below 0 the number of the signal that ended it.
    """

    def __init__(self, kill: Callable[[], None]):
        self.returncode: int | None = None
        self._kill, self._ended = kill, threading.Event()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end. Raises `subprocess.TimeoutExpired` after so many seconds."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a trial", timeout)
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        if self.returncode is None:
            self._kill()

    def end(self, code: int) -> None:
        """Enter its exit code."""
        self.returncode = code
        self._ended.set()


class Forks:
    """The process whose forks are the trials of a search.

    Args:
        folder: for its log.
        environment: of the process and its forks.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        # all forks read from this pipe, which nobody writes to: its end tells them that the parent is gone
        lifeline, self._lifeline = os.pipe()
        command = [sys.executable, "-P", "-m", "mmkeras.tuning.forks", str(lifeline), str(folder / LOG)]
        try:
            with open(folder / LOG, "ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    pass_fds=[lifeline],
                    start_new_session=True,  # Ctrl-C goes to this process only
                )
        finally:
            os.close(lifeline)
        self._numbers, self._running, self._lock = itertools.count(), dict[int, Fork](), threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, arguments: list[str], log: Path) -> Fork:
        """Begin a fork: `mmkeras.tuning.child.main(*arguments)`, with its output in `log`."""
        with self._lock:
            number = next(self._numbers)
            fork = self._running[number] = Fork(lambda: self._send({"kill": number}))
            self._send({"start": number, "arguments": arguments, "log": str(log)})
            if self._process.poll() is not None:
                self._end_all()
        return fork

    def close(self) -> None:
        """End the process and all forks."""
        os.close(self._lifeline)
        self._process.stdin.close()
        self._process.wait()

    def _send(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # the process is gone, and so are its forks
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        for line in self._process.stdout:
            told = json.loads(line)
            with self._lock:
                self._running.pop(told["ended"]).end(told["code"])
        with self._lock:
            self._end_all()

    def _end_all(self) -> None:
        for fork in self._running.values():
            fork.end(-signal.SIGKILL)
        self._running.clear()


# the process --------------------------------------------------------------------------------------------------------


def serve(lifeline: int) -> None:
    """Fork for each line that says so, and tell of each fork's end, until the parent is gone."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    numbers: dict[int, int] = {}  # of each running fork, by its process
    unread = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ended(numbers)
        if 0 in ready:
            received = os.read(0, 65536)
            if not received:
                break
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                _follow(json.loads(line), numbers, lifeline)
    for process in numbers:
        os.kill(process, signal.SIGKILL)


def _follow(order: Mapping[str, Any], numbers: dict[int, int], lifeline: int) -> None:
    if "start" in order:
        process = os.fork()
        if not process:
            _train(order, lifeline)
        numbers[process] = order["start"]
    else:
        for process, number in numbers.items():
            if number == order["kill"]:
                os.kill(process, signal.SIGKILL)


def _tell_ended(numbers: dict[int, int]) -> None:
    while numbers:
        process, status = os.waitpid(-1, os.WNOHANG)
        if not process:
            return
        told = {"ended": numbers.pop(process), "code": os.waitstatus_to_exitcode(status)}
        os.write(1, json.dumps(told).encode() + b"\n")


def _train(order: Mapping[str, Any], lifeline: int) -> None:
    """In the fork: the trial; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for source, target in ((lifeline, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        from mmkeras.tuning.child import main

        main(*order["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # as the interpreter does at its end
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    import mmkeras.tuning.child  # noqa: F401 (everything that a trial imports)

    serve(int(sys.argv[1]))
