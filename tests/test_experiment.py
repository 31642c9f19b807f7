"""`mmkeras tune`: an experiment in a file, searched by one process or by several."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmkeras as mk
from mmkeras.cli import main
from mmkeras.errors import InputError
from mmkeras.experiment import load_experiment

TEXT = """
data: {manifest}
inputs:
  image: {{kind: Image, height: 8, width: 8, channels: 1}}
  question: {{kind: Text, length: 16}}
targets:
  answer: {{kind: Category}}
tune:
  trials: 3
  epochs: 1
  tuner: random
  directory: search
  lost_after: 15
  space:
    fusion: [concat, gated]
    fusion_depth: 1
    width: [4, 8]
    image: {{kind: conv, filters: 2, depth: 1}}
    question: {{kind: bag, depth: 1}}
    learning_rate: {{low: 1e-4, high: 0.01}}
    batch_size: 128
"""


@pytest.fixture
def experiment(tmp_path, keypad_manifest):
    path = tmp_path / "experiment.yaml"
    path.write_text(TEXT.format(manifest=keypad_manifest))
    return path


def test_what_the_file_says(experiment):
    found = load_experiment(experiment)
    assert list(found.data) == ["train", "val", "test"]
    assert found.data.schema.inputs["image"] == mk.Image(8, 8, 1)
    assert found.tune["space"]["learning_rate"] == (1e-4, 0.01)
    assert found.tune["directory"] == experiment.parent / "search"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("targets:", "target:", "experiment.yaml: unknown key 'target'; did you mean 'targets'"),
        ("kind: Image", "kind: Picture", "Schema: 'image': unknown kind 'Picture'"),
        ("data: ", "data: no_such_", "cannot read the table"),
        ("inputs:", "split: part\ninputs:", "unknown column 'part'"),
        ("inputs:", "read: {on_bat: drop}\ninputs:", "unknown option of read: 'on_bat'; did you mean 'on_bad'"),
        ("{", "{{", "experiment.yaml: expected YAML"),
        ("inputs:", "read: {schema: 1}\ninputs:", "unknown option of read: 'schema'"),
        ("inputs:", "read: drop\ninputs:", "experiment.yaml: expected read to be keys and values, received 'drop'"),
        ("data: ", "data: 7 #", "experiment.yaml: expected data to be a path, received 7"),
        (
            "{kind: Category}",
            "Category",
            "Schema: 'answer': expected a dict of 'kind' and options, received 'Category'",
        ),
        ("data: ", "1: ", "experiment.yaml: unknown key 1"),
    ],
)
def test_a_wrong_file_is_refused(experiment, old, new, message):
    experiment.write_text(experiment.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_experiment(experiment)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.yaml"):
        load_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either an experiment or --report DIR"),
        (["e.yaml", "--report", "search"], "expected either an experiment or --report DIR"),
        (["e.yaml", "--worker", "a"], "expected --chief HOST:PORT with --worker"),
        (["e.yaml", "--chief", "8765"], "expected --chief HOST:PORT, received '8765'"),
        (["--report", "nowhere"], "expected the directory of a search"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert main(["tune", *arguments]) == 2
    assert message in capsys.readouterr().err


def start(*arguments):
    command = [sys.executable, "-c", "import sys; from mmkeras.cli import main; sys.exit(main())", "tune", *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def trial_of(pid):
    """The process of a trial that this process has started, or None: a fork of the process that it has started."""
    server = child_of(pid)
    return server and child_of(server)


def child_of(pid):
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"mmkeras.tuning.forks" in (path.parent / "cmdline").read_bytes():
                return int(path.parent.name)
        except OSError:
            continue  # it has ended
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_chief_and_two_workers_one_of_which_is_killed(experiment):
    """Every trial is completed, that of the killed worker by the other one; then the report, from the same folder."""
    folder, chief = experiment.parent / "search", f"127.0.0.1:{free_port()}"
    processes = {name: start(experiment, "--chief", chief, "--worker", name) for name in ("a", "b")}
    processes["chief"] = start(experiment, "--chief", chief)
    while not (child := trial_of(processes["a"].pid)) and processes["a"].poll() is None:
        time.sleep(0.1)
    processes["a"].send_signal(signal.SIGKILL)
    told, _ = processes["chief"].communicate(timeout=300)
    assert processes["chief"].returncode == 0, told
    assert "no sign of a for 15 s; it goes to another" in told
    told, _ = processes["b"].communicate(timeout=60)
    assert processes["b"].returncode == 0, told
    assert not Path(f"/proc/{child}").exists()  # it went with its worker
    trials = mk.TuningResult.load(folder).trials
    assert list(trials["status"]) == ["COMPLETED"] * 3
    told, _ = start("--report", folder).communicate()
    assert (folder / "report" / "trials.csv").exists(), told
