"""The law of kinds, read from the source: a room that acts by kind has one object a kind, and no branches."""

import ast
from pathlib import Path

import pytest

import mmkeras
from mmkeras import inputs, targets

ROOT = Path(mmkeras.__file__).parent
KINDS = {*inputs.INPUTS, *targets.TARGETS}
OWN = ("inputs", "targets")  # the files of the kinds themselves
OURS = ("mk", "mmkeras", "schema", *OWN)  # what a kind can be an attribute of; not of pandas, as pd.Series


def sources():
    """Every file outside the kinds' own, as (name, syntax tree)."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT)
        if name.parts[0] not in OWN:
            yield str(name), ast.parse(path.read_text(encoding="utf-8"))


def kinds_in(node):
    """The kinds that an expression names, as a class or as a word."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in KINDS:
            yield part.id
        elif isinstance(part, ast.Attribute) and part.attr in KINDS and ast.unparse(part.value) in OURS:
            yield part.attr
        elif isinstance(part, ast.Constant) and part.value in KINDS:
            yield part.value


def offences(tree):
    """Lines in which code acts by kind: isinstance and comparisons with kinds, dicts and matches keyed by them."""
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            found = list(kinds_in(node.args[1]))
        elif isinstance(node, ast.Compare):
            found = list(kinds_in(node))
        elif isinstance(node, ast.Dict):
            found = [name for key in node.keys if key is not None for name in kinds_in(key)]
        elif isinstance(node, ast.match_case):
            found = list(kinds_in(node.pattern))
        if found:
            line = getattr(node, "lineno", None) or node.pattern.lineno
            yield f"{line}: {', '.join(found)}: {ast.unparse(node)[:70]}"


def test_no_room_branches_on_a_kind():
    found = [f"{name}:{line}" for name, tree in sources() for line in offences(tree)]
    assert not found, "expected one object a kind, in a table of the room:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(part, Image)",
        "isinstance(part, (schema.Text, Series))",
        "type(part) is Number",
        "kind == 'Tabular'",
        "kind in ('Text', 'Audio')",
        "{Image: 1, Text: 2}",
        "{'Image': 1}",
        "match part:\n    case Video():\n        pass",
    ],
)
def test_the_test_sees_what_it_looks_for(code):
    assert list(offences(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "Image(8, 8)",
        "isinstance(value, str)",
        "@register(Image)\nclass ImageCodec: ...",
        "name = 'Image'",
        "{'image': 1}",
        "pd.Series(x) > 1",
    ],
)
def test_the_test_lets_other_code_be(code):
    assert not list(offences(ast.parse(code)))
