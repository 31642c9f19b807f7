"""Tasks of vectors get the models that they always had: every weight by its name and shape, nothing beside them.

vector_models.txt was written before tasks could read tokens and grids. What has changed on purpose is written anew by
`python tests/test_vector_models.py`.
"""

from dataclasses import replace
from pathlib import Path

import contracts
import pytest

import mmkeras as mk
from mmkeras.fusion import FUSIONS

LIST = Path(__file__).with_name("vector_models.txt")
SMALL = {"question": "bag", "table": "mlp"}


def fusion_alone(kind):
    """Two inputs of one token each, one target."""
    schema = contracts.small_schema({name: contracts.FEATURES[name] for name in SMALL})
    return mk.build(schema, towers=SMALL, fusion=kind, width=8)


def many_parts():
    """Pictures, words and a trace; one input is optional; targets of one input, of several, and of all; a space."""
    features = {name: contracts.FEATURES[name] for name in ("image", "question", "trace")}
    features["question"] = replace(features["question"], optional=True)
    schema = contracts.small_schema(
        features,
        answer=mk.Category(classes=["a", "b"]),
        digit=mk.Category(classes=["0", "1", "2"], reads="image"),
        size=mk.Number(mean=50, std=5, reads=("image", "question")),
    )
    towers = {
        "image": {"kind": "conv", "tokens": "all", "depth": 1},
        "question": {"kind": "conv1d", "tokens": "all", "width": 4},
    }
    tasks = {"answer": {"kind": "softmax", "dropout": 0.1, "weight": "learned"}}
    return mk.build(schema, towers=towers, fusion="attention", width=8, tasks=tasks, align={"kind": "misa", "dim": 6})


MAKE = {kind: lambda kind=kind: fusion_alone(kind) for kind in FUSIONS} | {"many_parts": many_parts}


def lines(name):
    """Every weight of a model: the model's name, the weight's path and its shape."""
    return [f"{name} {weight.path} {'x'.join(map(str, weight.shape))}" for weight in MAKE[name]().weights]


@pytest.mark.parametrize("name", MAKE)
def test_every_weight_is_listed_and_no_other(name):
    expected = [line for line in LIST.read_text().splitlines() if line.startswith(f"{name} ")]
    assert expected
    assert lines(name) == expected


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for name in MAKE for line in lines(name)))
