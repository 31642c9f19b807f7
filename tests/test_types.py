"""The public surface is typed: annotated in full, seen by a type checker, found by completion."""

import ast
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mmkeras

ROOT = Path(mmkeras.__file__).parent  # as installed
CHECKOUT = Path(__file__).parents[1]
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree):
    """The public functions of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, FUNCTIONS):
            yield node, ""
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((inner, f"{node.name}.") for inner in node.body if isinstance(inner, FUNCTIONS))


def is_annotated(node):
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    own = [one for one in given if one is not None and one.arg not in ("self", "cls")]
    return node.returns is not None and all(one.annotation is not None for one in own)


def test_every_public_function_is_annotated():
    bare = [
        f"{path.relative_to(ROOT)}:{node.lineno} {where}{node.name}"
        for path in sorted(ROOT.rglob("*.py"))
        for node, where in functions(ast.parse(path.read_text(encoding="utf-8")))
        if not node.name.startswith("_") and not is_annotated(node)
    ]
    assert not bare


def test_a_type_checker_passes_and_sees_every_wrong_argument():
    """mypy, as pyproject.toml sets it: the package, right calls, and wrong ones, each of which it must report."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed: pip install mmkeras[test]")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_shipped():
    assert (ROOT / "py.typed").exists()
    for path in ROOT.rglob("*.pyi"):
        assert path.name == "__init__.pyi"
    pattern = "mmkeras = *.pyi, py.typed\nmmkeras.datasets = *.pyi\n"
    assert pattern in (CHECKOUT / "setup.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "parameter"), [("build", "modality_dropout"), ("batches", "group_by"), ("Image", "fit")]
)
def test_signatures_show_their_parameters(name, parameter):
    assert parameter in inspect.signature(getattr(mmkeras, name)).parameters
    assert name in dir(mmkeras)
