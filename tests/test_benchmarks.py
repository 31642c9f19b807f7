"""The scripts in benchmarks/: they run, measure the same work, and their committed cells are up to date."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
FILES = {".".join(path.relative_to(FOLDER).with_suffix("").parts): path for path in sorted(FOLDER.rglob("*.py"))}
FILES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}
SCRIPTS = [name for name, path in FILES.items() if "__main__" in path.read_text()]

# In a process of its own: what other tests have registered has no figures.
LOOK = """
import contextlib, importlib, io, json, sys
sys.path.insert(0, sys.argv[1])
scripts, modules = (text.split() for text in sys.argv[2:4])
found = {"help": {}}
for name in modules:
    importlib.import_module(name)
for name in scripts:
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        importlib.import_module(name).main()
    found["help"][name] = said.getvalue()

import parts, repertoire_table, transfer_table
from experiments import EXPERIMENTS
found["tables"] = "\\n".join([*repertoire_table.lines(), *transfer_table.lines()]) + "\\n"
found["changed"] = []
for name, experiment in EXPERIMENTS.items():
    for part in parts.parts_of(experiment, parts.OUT):
        cell = parts.result_of(parts.OUT, name, part, 0)
        if cell and cell["settings"] != json.loads(json.dumps(experiment.settings(part))):
            found["changed"].append(f"{name}/{part}")
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def looked():
    arguments = [sys.executable, "-c", LOOK, str(FOLDER), " ".join(SCRIPTS), " ".join(FILES)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_script_says_how_it_is_used(looked):
    assert {"pipeline", "repertoire", "serving", "step", "transfer", "tuning"} <= set(SCRIPTS)
    assert not [name for name in SCRIPTS if f"usage: {name}" not in looked["help"][name]]
    assert not [name for name in SCRIPTS if f"python benchmarks/{name}.py" not in looked["help"][name]]


def test_the_tables_are_those_of_the_cells(looked):
    assert looked["tables"] == (FOLDER / "RESULTS.md").read_text(encoding="utf-8")


def test_no_experiment_has_changed_since_it_was_run(looked):
    assert not looked["changed"]


def test_the_model_by_hand_is_the_same_work(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import by_hand
    import step

    schema, _, inputs = step.training_batches(batch=8, steps=1, rows=200)
    for fusion in ("concat", "attention"):
        difference = by_hand.same_work(step.built(schema, fusion), step.written(schema, fusion), inputs)
        assert difference <= 1e-6


def test_other_weights_are_not_the_same_work(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import by_hand

    with pytest.raises(SystemExit, match=r"not the same weights.*question_embedding"):
        by_hand.same_work(by_hand.by_hand(50, 19, "concat"), by_hand.by_hand(51, 19, "concat"), {})


def imported(path):
    """The benchmarks' own modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name for name in names if name in FILES)


def test_files_are_short_and_import_in_no_circle():
    assert not [name for name, path in FILES.items() if len(path.read_text().splitlines()) > 400]
    left = {name: set(imported(path)) for name, path in FILES.items()}
    while free := [name for name, needed in left.items() if not needed & set(left)]:
        for name in free:
            del left[name]
    assert not left, "these import each other"
