"""Targets among the inputs, and files and rows that stand on both sides of a split."""

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.records.twins import contents

SCHEMA = mk.Schema({"f": mk.Series(4, 1), "t": mk.Text(2)}, {"a": mk.Category()})
SPLIT = ["train"] * 6 + ["val"] * 2 + ["test"] * 4


@pytest.fixture
def frame(tmp_path):
    """Twelve different files of one size."""
    for number in range(12):
        np.save(tmp_path / f"{number}.npy", np.random.default_rng(number).random((9000, 1)).astype(np.float32))
    files = [str(tmp_path / f"{number}.npy") for number in range(12)]
    return pd.DataFrame({"f": files, "t": [f"word{n}" for n in range(12)], "a": ["x", "y"] * 6, "s": SPLIT})


def quiet_split(frame, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return mk.read(frame, SCHEMA).split("s", **options)


def test_files_and_rows_in_two_splits_are_counted(frame, tmp_path):
    shutil.copy(tmp_path / "0.npy", tmp_path / "9.npy")  # of "train", in "test": by content
    shutil.copy(tmp_path / "7.npy", tmp_path / "8.npy")  # of "val", in "test"
    values = np.load(tmp_path / "1.npy")
    values[3000] = 0  # beyond what is compared first
    np.save(tmp_path / "11.npy", values)
    frame.loc[10, ["f", "t"]] = frame.loc[2, ["f", "t"]]  # one file, by its path, and the whole row
    frame.loc[3, "t"] = frame.loc[11, "t"]  # only a part of the row
    records = mk.read(frame, SCHEMA)
    message = (
        r"^DataFrame: 'test' has in common with 'train': 2 of 4 files of 'f' \(by content\), 1 of 4 rows \(by all "
        r"inputs\); 'test' has in common with 'val': 1 of 4 files of 'f' \(by content\): .* group="
    )
    with pytest.warns(UserWarning, match=message):
        data = records.split("s")
    assert data.common.to_numpy().tolist() == [
        ["test", "train", "f", 2, 4],
        ["test", "val", "f", 1, 4],
        ["test", "train", "rows", 1, 4],
    ]
    assert "\n'test' has in common with 'val': 1 of 4 files of 'f' (by content)\n" in str(data["val"].describe())
    assert "in common" not in str(data["test"].take([0]).describe())
    text = str(records.describe())
    assert (
        "\n4 of 11 files of 'f' have the same content as another\n2 of 12 rows have the same inputs as another" in text
    )
    assert quiet_split(frame, duplicates=False).common.empty
    with pytest.raises(InputError, match="split: expected duplicates to be True or False, received 'no'"):
        records.split("s", duplicates="no")


def test_nothing_in_common_nothing_said(frame):
    data = quiet_split(frame)
    assert data.common.empty
    assert "in common" not in str(data["test"].describe())
    assert "same" not in str(mk.read(frame, SCHEMA).describe())


def test_rows_that_are_taken_twice(frame):
    records = mk.read(frame, SCHEMA).take([0, 1, 2, 0, 1, 11])
    with pytest.warns(UserWarning, match=r"'test' has in common with 'train': \d of \d files"):
        records.split({"train": 0.5, "test": 0.5})


def test_what_is_no_file_or_cannot_be_read_is_like_nothing_else(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    paths = ["", str(tmp_path / "none"), "gs://none/a", str(tmp_path / "folder"), "x\0y", str(tmp_path / "empty"), ""]
    schema = mk.Schema({"f": mk.Image(2, 2, optional=True)}, {})
    records = mk.records.Records(schema, pd.DataFrame({"f": paths}, dtype=object), "t")
    found = contents(records).files["f"].ravel()
    assert found[0] == found[-1] == -1
    assert len(set(found)) == 6


def test_a_table_without_files(tmp_path):
    schema = mk.Schema({"n": mk.Tabular(["n"], ["c"])}, {"a": mk.Number()})
    frame = pd.DataFrame({"n": [1, 2, 3, 1], "c": ["u", "v", "u", "u"], "a": range(4), "s": ["train"] * 3 + ["test"]})
    with pytest.warns(UserWarning, match=r"'test' has in common with 'train': 1 of 1 rows \(by all inputs\)"):
        mk.read(frame, schema).split("s")


def test_a_target_among_the_inputs_is_refused_unless_it_is_allowed():
    frame = pd.DataFrame({"t": ["u v", "w"], "n": [1, 2], "a": ["x", "y"]})
    for inputs in ({"t": mk.Text(2, column="a")}, {"t": mk.Tabular(["n"], ["a"])}):
        schema = mk.Schema(inputs, {"a": mk.Category()})
        message = r"^read: the target 'a' and the input 't' have the same column 'a': .*targets_as_inputs=True$"
        with pytest.raises(InputError, match=message):
            mk.read(frame, schema)
        assert len(mk.read(frame, schema, targets_as_inputs=True)) == 2
        assert len(mk.read(frame, schema, targets=False)) == 2
    schema = mk.Schema({"a": mk.Text(2, column="t")}, {"b": mk.Category(column="t")})
    with pytest.raises(InputError, match="the target 'b' and the input 'a' have the same column 't'"):
        mk.read(frame, schema)


def test_a_copy_of_a_target_among_the_inputs_is_warned_of():
    frame = pd.DataFrame({"n": range(12), "c": ["u", "v"] * 6, "a": ["u", "v"] * 6})
    schema = mk.Schema({"t": mk.Tabular(["n"], ["c"])}, {"a": mk.Category()})
    with pytest.warns(UserWarning, match="the column 'c' of an input holds in every row what 'a' of the target 'a'"):
        mk.read(frame, schema)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mk.read(frame.assign(a=["u", "v"] * 5 + ["v", "u"]), schema)
