"""Verification of a bundle: it must give its golden outputs in processes that have neither mmkeras nor Keras."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkeras import checksums
from mmkeras.checks import check_number, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.verification.papers import check_files, check_golden, hashes

WAYS = ("load", "session", "c")
MODELS = {"saved_model.pb": "SavedModel", "model.tflite": "LiteRT", "model.onnx": "ONNX"}
REPLAY = Path(__file__).with_name("replay")


@dataclass(frozen=True)
class Check:
    """One check: `outcome` is "passed", "failed" or "skipped"; `words` describe the result."""

    name: str
    outcome: str
    words: str


@dataclass(frozen=True)
class Verification:
    """The result of `verify`. `str()` is a table of the checks.

    `digest` stands for all files of the version: SHA-256 in hexadecimal, to be signed or compared.
    """

    directory: Path
    checks: tuple[Check, ...]
    digest: str = ""

    @property
    def passed(self) -> bool:
        """Whether there was a check and none failed; a skipped one is no failure."""
        outcomes = {check.outcome for check in self.checks}
        return "passed" in outcomes and "failed" not in outcomes

    def __str__(self) -> str:
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [str(self.directory)]
        for check in self.checks:
            head = f"  {check.outcome:8}{check.name:{width}}  "
            # words are wrapped at spaces alone: names of ops and tensors stay whole
            lines += textwrap.wrap(
                check.words,
                max(120, len(head) + 60),
                initial_indent=head,
                subsequent_indent=" " * len(head),
                break_long_words=False,
                break_on_hyphens=False,
            ) or [head.rstrip()]
        counts = [f"{sum(c.outcome == o for c in self.checks)} {o}" for o in ("passed", "failed", "skipped")]
        return "\n".join([*lines, ", ".join(counts)])


@checked_keywords
def verify(
    directory: str | os.PathLike[str],
    python: str | os.PathLike[str] | None = None,
    *,
    ways: Sequence[str] = WAYS,
    seconds: float = 300,
    expect: str | None = None,
) -> Verification:
    """Check that a bundle gives its golden outputs, in processes of their own without mmkeras and Keras.

    First, while nothing is loaded: every file must have the SHA-256 that `export` wrote down, and every op of the graph
    must be one that computes and does nothing else (no files, no network, no Python; saving and restoring are the
    saver's alone). Where one of them fails, nothing is run. A bundle without SHA256SUMS, of another program, is checked
    without them, and the result says so. Whoever can change all files can also change SHA256SUMS and the golden batch:
    against that, keep or sign the digest, and give it as `expect`.

    The ways, each in a process that has TensorFlow on the CPU and in which neither mmkeras nor Keras can be imported:

    - "load": `tf.saved_model.load`. The golden batch; its rows by themselves and in reverse, which must give the same
      outputs; 0 rows; every other signature.
    - "session": a session, fed by the names of tensors, as in TensorFlow Serving. The golden batch; the warm-up
      requests.
    - "c": a C program without Python on TensorFlow's C API, compiled for the check; skipped where there is no C
      compiler. The golden batch.

    Strings and whole numbers must be equal; other numbers may differ by the tolerance in golden.json (at most 0.01),
    relative to the number if it is above 1. Rows are counted from 0. Of LiteRT and ONNX models the files alone are
    checked.

    Args:
        directory: a version, or the folder of a model's versions (the newest is checked).
        python: path of another Python, for instance with another TensorFlow; None: this one.
        ways: the ways to check.
        seconds: time limit of each way.
        expect: the digest that the bundle must have, as `digest` gave it; None: any.

    Returns:
        `Verification`. A process that crashes or takes too long is a failed check.

    Raises:
        InputError: no such bundle, one without golden outputs or with links in it, or an unknown way.
    """
    bundle = _newest(directory).resolve()
    kind = _kind(bundle)
    if expect is not None and not (isinstance(expect, str) and re.fullmatch("[0-9a-fA-F]{64}", expect)):
        raise InputError(f"verify: expected expect to be 64 hexadecimal digits, received {shown(expect)}")
    if isinstance(ways, str):
        raise InputError(f"verify: expected ways to be a list, received {shown(ways)}")
    check_number(seconds, "seconds", "verify: ", least=0, above=True)
    for way in ways:
        if way not in WAYS:
            raise unknown("way", way, WAYS, "verify: ")
    # absolute, as the processes run elsewhere; not resolved: a virtual environment's Python is a link
    program = shutil.which(os.path.abspath(python) if os.sep in str(python) else python or sys.executable)
    if program is None:
        raise InputError(f"verify: cannot run the Python {str(python)!r}")
    found = hashes(bundle)  # first: behind it, every file is a regular one
    if kind == "SavedModel":
        check_golden(bundle)
    checks = [Check(*one) for one in check_files(bundle, found, expect and expect.lower())]
    digest = checksums.digest(found)
    if any(check.outcome == "failed" for check in checks):
        words = "nothing was loaded or run, as the files are not those of the export"
        return Verification(bundle, (*checks, Check("golden batch", "skipped", words)), digest)
    if kind != "SavedModel":
        words = f"verify runs SavedModels alone; export compared this {kind} model with Keras when it wrote it"
        return Verification(bundle, (*checks, Check("outputs", "skipped", words)), digest)
    checks += [check for way in ways for check in _replay(way, bundle, program, seconds)]
    return Verification(bundle, tuple(checks), digest)


def digest(directory: str | os.PathLike[str]) -> str:
    """SHA-256 over the names and contents of all files of a version, in hexadecimal: to be signed, or kept.

    It is the SHA-256 of what SHA256SUMS must hold, and needs neither that file nor TensorFlow.

    Args:
        directory: a version, or the folder of a model's versions (the newest is taken).

    Raises:
        InputError: no such version, or links in it.
    """
    return checksums.digest(hashes(_newest(directory).resolve()))


def _newest(directory: str | os.PathLike[str]) -> Path:
    """The version to check: `directory` itself if it is one, else the one with the highest number in it."""
    directory = Path(directory)
    if _holds_model(directory) or directory.name.isdecimal():
        return directory
    children = directory.iterdir() if directory.is_dir() else ()
    found = [child for child in children if child.name.isdecimal() and _holds_model(child)]
    if not found:
        received = repr(str(directory)) + ("" if directory.exists() else ", which does not exist")
        raise InputError(f"verify: expected a SavedModel, or a folder with its versions 1, 2, ...; received {received}")
    return max(found, key=lambda path: int(path.name))


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MODELS)


def _kind(bundle: Path) -> str:
    """The format of a version's model."""
    if not _holds_model(bundle):
        raise InputError(f"verify: expected a SavedModel, but {str(bundle)!r} has no saved_model.pb")
    return next(kind for name, kind in MODELS.items() if (bundle / name).is_file())


def _replay(way: str, bundle: Path, python: str, seconds: float) -> list[Check]:
    """The checks of one way."""
    with tempfile.TemporaryDirectory(prefix="mmkeras-verify-") as made:
        folder = Path(made)
        shutil.copytree(REPLAY, folder / "replay", ignore=shutil.ignore_patterns("__pycache__"))
        results, log = folder / "results", folder / "log"
        results.touch()
        reason = _run([python, "-m", "replay", way, str(bundle), str(results)], folder, log, seconds)
        whole_lines = results.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
        checks = [Check(**json.loads(line)) for line in whole_lines]
        if reason or not checks:
            lines = log.read_text(errors="replace").strip().splitlines()[-3:]
            words = ": ".join([reason or "the process found nothing", *([" ".join(lines)[-500:]] if lines else [])])
            checks.append(Check(way, "failed", words))
        return checks


def _run(command: list[str], folder: Path, log: Path, seconds: float) -> str | None:
    """Run the process in its folder; the reason if it did not end well."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONSAFEPATH", None)  # or Python would not look into the folder
    with open(log, "wb") as file:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # a group of its own, which is ended together
        )
    try:
        code = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"time limit of {seconds:g} s"
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}" if code else None
