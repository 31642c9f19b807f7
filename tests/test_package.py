"""What holds for the package as a whole: names, imports, docstrings."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmkeras

ROOT = Path(mmkeras.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(ROOT)], "mmkeras."))

# A room may import from the rooms named behind it, from itself, and from those that every room needs.
EVERYWHERE = {"checks", "checksums", "disk", "errors", "files", "markdown", "precision", "spelling"}
MAY_IMPORT = {
    "errors": "",
    "disk": "errors",
    "files": "errors",
    "markdown": "",
    "checksums": "errors",
    "saved_classes": "",
    "plotting": "",
    "checks": "errors",
    "spelling": "errors",
    "precision": "",
    "registry": "",
    "tokenizers": "registry",
    "targets": "registry",
    "inputs": "registry tokenizers",
    "schema": "inputs targets",
    "decode": "inputs registry tokenizers",
    "augment": "inputs registry schema",
    "records": "decode inputs plotting registry schema targets tokenizers",
    "pipeline": "augment decode inputs records schema targets",
    "layers": "",
    "word_vectors": "inputs",
    "towers": "inputs layers registry schema word_vectors",
    "fusion": "inputs layers registry",
    "tasks": "layers registry schema targets",
    "alignment": "layers registry schema",
    "model_spec": "",
    "model": "alignment fusion tasks layers model_spec registry schema towers",
    "cached_features": "model pipeline records schema",
    "fine_tuning": "tasks layers registry",
    "transfer": "fine_tuning inputs schema",
    "saving": "model_spec schema tasks transfer",
    "distillation": "schema tasks",
    "retrieval": "alignment decode inputs pipeline plotting records registry schema targets",
    "evaluation": "tasks model pipeline records schema targets",
    "bundle": "decode tasks evaluation model model_spec pipeline records schema transfer",
    "training": "augment bundle evaluation tasks model model_spec pipeline records registry saving schema towers",
    "tuning": "cached_features fusion tasks model model_spec pipeline plotting records registry schema towers training",
    "datasets": "",
    "demo": "bundle datasets evaluation model_spec records schema training",
    "experiment": "records schema",
    "verification": "",
    "serving": "inputs registry schema",
    "cli": "demo experiment serving tuning verification",
}
WITHOUT_TENSORFLOW = [
    "checks",
    "spelling",
    "precision",
    "tokenizers",
    "targets",
    "inputs",
    "schema",
    "layers",
    "word_vectors",
    "towers",
    "fusion",
    "tasks",
    "alignment",
    "model_spec",
    "model",
    "registry",
    "errors",
    "serving",
    "fine_tuning",
    "transfer",
    "distillation",
    "saving",
    "saved_classes",
]


def room(module):
    return module.split(".")[1]


def imports(module):
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    assert room(module) in MAY_IMPORT, f"a new room: say in MAY_IMPORT from where {module} imports"
    allowed = {room(module), "__version__", *MAY_IMPORT[room(module)].split()}
    allowed |= EVERYWHERE if room(module) not in EVERYWHERE else set()
    found = {room(name) for name in imports(module) if name.startswith("mmkeras.")}
    assert found <= allowed


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in WITHOUT_TENSORFLOW])
def test_model_code_needs_no_tensorflow(module):
    assert not [name for name in imports(module) if name.split(".")[0] == "tensorflow"]


def test_rooms_make_no_circle():
    order = list(MAY_IMPORT)
    for name, earlier in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(name) for other in earlier.split()), name


@pytest.mark.parametrize("module", MODULES)
def test_doctests(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


PUBLIC = """
    Schema Image Text Audio Series Tabular Video Category Labels Number read Records Splits Shards
    write_shards read_shards batches towers fusion fusion_shares tasks
    layers Tokens build deduplicated_model ModelSpec compile_args missing_modality_curve evaluate Evaluation predict
    export datasets decode InputError WordVectors read_word_vectors tune hypermodel TuningResult
    verify Verification serving transfer_weights freeze weight_history learning_rate_multipliers
    distiller alignment encoder combine retrieve Retrieval negative_pairs
    features_model extract_features train Run inputs targets tokenizers augment save load
"""


def test_public_names():
    assert sorted(mmkeras.__all__) == sorted(PUBLIC.split())


@pytest.mark.parametrize("name", mmkeras.__all__)
def test_public_names_are_documented(name):
    assert inspect.getdoc(getattr(mmkeras, name))


def test_no_module_bears_the_name_of_a_public_function():
    functions = {name for name in mmkeras.__all__ if inspect.isfunction(getattr(mmkeras, name))}
    assert not functions & {module.split(".")[-1] for module in MODULES}
    assert not functions & {"keypad", "easy_vqa"}


def test_a_wrong_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'evalute'; did you mean 'evaluate'"):
        _ = mmkeras.evalute
    with pytest.raises(AttributeError, match=r"no attribute '__wrapped__'$"):
        _ = mmkeras.__wrapped__


@pytest.mark.parametrize(
    "statement", ["import mmkeras", "import mmkeras.cli", "import mmkeras.datasets", "import mmkeras.verification"]
)
def test_importing_loads_nothing_heavy(statement):
    heavy = "{'tensorflow', 'keras', 'pandas', 'numpy', 'sklearn'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_short(module):
    path = Path(importlib.util.find_spec(module).origin)
    assert len(path.read_text().splitlines()) <= 400


def test_a_misspelt_argument_of_every_public_function_is_refused_in_words():
    offenders = []
    for name in mmkeras.__all__:
        part = getattr(mmkeras, name)
        kinds = [one.kind for one in inspect.signature(part).parameters.values()] if inspect.isfunction(part) else []
        if kinds and inspect.Parameter.VAR_KEYWORD not in kinds:
            with pytest.raises((TypeError, mmkeras.InputError)) as caught:
                part(no_such_argument=1)
            if f"{name}: unknown argument 'no_such_argument'" not in str(caught.value):
                offenders.append(name)
    assert not offenders, "expected @checked_keywords"
