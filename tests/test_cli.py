import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf

import mmkeras
from mmkeras import cli
from mmkeras.datasets import keypad, keypad_ceilings
from mmkeras.verification import Check


def run(*arguments, **options):
    command = [str(Path(sys.executable).with_name("mmkeras")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_demo_end_to_end(tmp_path, monkeypatch, capsys):
    """One epoch on a small set: every file that it names is there, and its figures agree with each other."""
    monkeypatch.setattr("mmkeras.demo.keypad", partial(keypad, rows=300, seed=5))
    assert cli.main(["demo", "--epochs", "1", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == {"test_accuracy", "subsets", "bundle", "sample", "seconds"}
    assert summary["bundle"] == str(tmp_path / "saved_models" / "keypad" / "1")
    whole, *others = summary["subsets"]
    assert whole["score"] == pytest.approx(summary["test_accuracy"], abs=1e-6)
    assert len(others) == 7
    ceilings = keypad_ceilings(tmp_path / "data" / "keypad" / "manifest.csv")
    assert {tuple(s["modalities"]): s["ceiling"] for s in summary["subsets"]} == ceilings
    sample = summary["sample"]
    values = {name: tf.constant([Path(sample[name]).read_bytes()]) for name in ("image", "audio")}
    served = tf.saved_model.load(summary["bundle"]).signatures["serving_default"]
    answer = served(question=tf.constant([sample["question"]]), **values)
    assert answer["status"].numpy().tolist() == [0]
    assert f"-> {answer['label'].numpy()[0].decode()} (" in told
    for line in (summary["bundle"], "image + question + audio", "Test accuracy", "mmkeras serve-config"):
        assert line in told
    verify_and_serve(tmp_path, Path(summary["bundle"]).parent, monkeypatch, capsys)


def verify_and_serve(tmp_path, folder, monkeypatch, capsys):
    """What the demo names as the next steps."""
    monkeypatch.setattr("mmkeras.verification.verify", partial(mmkeras.verify, ways=("session",)))
    assert cli.main(["verify", str(folder), "--seconds", "200"]) == 0
    assert "0 failed, 0 skipped" in capsys.readouterr().out
    assert cli.main(["serve-config", str(folder), "--out", str(tmp_path / "serving"), "--port", "8600"]) == 0
    assert str(tmp_path / "serving" / "compose.yaml") in capsys.readouterr().out.splitlines()
    assert "8600:8500" in (tmp_path / "serving" / "compose.yaml").read_text()
    expected = json.loads((tmp_path / "serving" / "requests" / "keypad.expected.json").read_text())
    assert expected["outputs"]["status"] == [0, 0]


def test_a_verification_that_fails(tmp_path, monkeypatch, capsys):
    failed = mmkeras.Verification(tmp_path, (Check("load: golden batch", "failed", "label: 1 of 2 rows differ"),))
    monkeypatch.setattr("mmkeras.verification.verify", lambda *arguments, **options: failed)
    assert cli.main(["verify", str(tmp_path)]) == 1
    assert "label: 1 of 2 rows differ" in capsys.readouterr().out


def test_what_cannot_be_verified_or_served(tmp_path, capsys):
    assert cli.main(["verify", str(tmp_path)]) == 2
    assert cli.main(["serve-config", str(tmp_path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("mmkeras: error: verify: expected a SavedModel")
    assert second.startswith("mmkeras: error: serve_config: no version")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dmo"], "invalid choice: 'dmo'"),
        (["demo", "--fusion", "concta"], "invalid choice: 'concta' (choose from"),
        (["demo", "--epochs", "0"], "expected a whole number above 0, received 0"),
        (["demo", "--epochs", "ten"], "invalid whole number value: 'ten'"),
        (["demo", "--epoch-count", "3"], "unrecognized arguments: --epoch-count"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run("demo", "--out", str(tmp_path / "file" / "below"))
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error == f"mmkeras: error: demo: cannot write to {str(tmp_path / 'file' / 'below')!r}: Not a directory"
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_interrupted(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_demo", interrupt)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "mmkeras: interrupted\n"


def test_version():
    assert run("--version").stdout == f"mmkeras {mmkeras.__version__}\n"
