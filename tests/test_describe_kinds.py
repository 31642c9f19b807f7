"""A kind of one's own is described by a small object that is registered for it; others are refused."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.decode import CODECS, NumbersCodec
from mmkeras.errors import InputError
from mmkeras.records import Records
from mmkeras.records.description import DESCRIBERS, Describer, FileDescriber, describe
from mmkeras.records.description.category import ClassDescriber


@dataclass(frozen=True)
class Cloud(mk.inputs.Input):
    points: int
    optional: bool = False
    files = True
    padded = True


@dataclass(frozen=True)
class Step(mk.targets.Target):
    steps: int


class CloudDescriber(FileDescriber):
    columns = ("kind", "points")
    measure = "points"
    whole = True
    title = "points of clouds"

    def header(self, path):
        return "NPY", len(np.load(path, mmap_mode="r"))

    def limit(self, part):
        return part.points, f"points={part.points}"


class StepDescriber(Describer):
    measure = "step"
    whole = True
    title = "steps"


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setitem(CODECS, Cloud, NumbersCodec())
    for room, kind in ((mk.inputs.INPUTS, Cloud), (mk.targets.TARGETS, Step)):
        monkeypatch.setitem(room, kind.__name__, kind)
    for count in (4, 9, 20):
        np.save(tmp_path / f"{count}.npy", np.zeros((count, 3)))
    (tmp_path / "no.npy").write_bytes(b"no array")
    files = ["4.npy", "9.npy", "", "20.npy", "no.npy", "4.npy"]
    frame = pd.DataFrame({"x": [file and f"{tmp_path}/{file}" for file in files], "y": ["0", "2", "", "1", "2", "2"]})
    return Records(mk.Schema(inputs={"x": Cloud(8, optional=True)}, targets={"y": Step(3)}), frame.astype(object), "t")


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setitem(DESCRIBERS, Cloud, CloudDescriber())
    monkeypatch.setitem(DESCRIBERS, Step, StepDescriber())


def test_text(table, known):
    description = describe(table)
    assert description.overview.loc["x"].tolist() == ["Cloud", "x", 6, 1, 4, 4]
    assert description.tables["x"]["points"].tolist()[:3] == [4, 9, 20]
    assert description.tables["y"]["step"].tolist() == [0, 2, 1, 2, 2]
    assert str(description).splitlines()[6:] == [
        "2 of 6 rows have the same inputs as another",
        "",
        "x  4 files: NPY 3, unreadable 1",
        "   points: 4 least, 9 median, 20 most; longer than points=8: 66.7%",
        "   optional: missing in 16.7% of the rows",
        "",
        "y  step: 0 least, 2 median, 2 most",
    ]


def test_figure(table, known):
    clouds, steps = describe(table).figure().axes
    assert [axes.get_title(loc="left") for axes in (clouds, steps)] == ["x: points of clouds", "y: steps"]
    assert sum(bar.get_height() for bar in clouds.patches) == 3
    assert clouds.texts[0].get_text() == "points=8"
    assert [bar.get_height() for bar in steps.patches] == [1, 1, 3]
    assert (clouds.get_ylabel(), steps.get_xlabel(), steps.get_ylabel()) == ("files", "step", "rows")


def test_a_class_of_ones_own_as_classes(table, monkeypatch):
    class Steps(ClassDescriber):
        def classes(self, part):
            return tuple(map(str, range(part.steps)))

    monkeypatch.setitem(DESCRIBERS, Cloud, CloudDescriber())
    monkeypatch.setitem(DESCRIBERS, Step, Steps())
    found = describe(table).tables["y"]
    assert found[["label", "rows"]].to_numpy().tolist() == [["2", 3], ["0", 1], ["1", 1]]


def test_a_kind_without_a_describer_is_refused(table):
    with pytest.raises(InputError, match=r"unknown kind 'Cloud': no describer is known for it; expected one of Audio"):
        describe(table)


def test_what_is_no_describer_is_refused():
    with pytest.raises(InputError, match=r"describer 'Cloud': expected a Describer, received "):
        DESCRIBERS.register(Cloud)(len)
