"""Inputs that may be missing, and what is done about bad values of them."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import pipeline
from mmkeras.errors import InputError

PHOTO = mk.Image(2, 2, 1, optional=True)
SIZES = mk.Tabular(["height", "weight"], ["coat"], optional=True)
SCHEMA = mk.Schema(
    inputs={"photo": PHOTO, "note": mk.Text(3, ["small", "dog"], optional=True), "size": SIZES},
    targets={"kind": mk.Category(["cat", "dog"]), "age": mk.Number(mean=3, std=2, optional=True)},
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "grey.png").write_bytes(tf.io.encode_png(tf.fill([2, 2, 1], tf.constant(7, tf.uint8))).numpy())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


def table(folder):
    """Four rows: all there; nothing but the target; bad values; holes."""
    return pd.DataFrame(
        {
            "photo": [folder / "grey.png", None, folder / "bad.png", folder / "grey.png"],
            "note": ["small dog", "", "dog", None],
            "height": [1.5, None, 2, None],
            "weight": ["3", "", "heavy", "4e0"],
            "coat": ["long", None, "short", "long"],
            "kind": ["cat", "dog", "dog", "cat"],
            "age": ["1", "", "old", "5"],
        }
    )


def only_batch(records, **options):
    (batch,) = mk.batches(records, 8, **options)
    return tf.nest.map_structure(lambda value: value.numpy().tolist(), batch)


def test_absent_values_are_zeros_and_said(folder):
    records = mk.read(table(folder).drop(index=2), SCHEMA).fit()
    inputs, targets, weights = only_batch(records)
    assert list(inputs) == list(records.schema.model_inputs)
    assert inputs["photo_present"] == [True, False, True]
    assert np.array(inputs["photo"])[:, 0, 0, 0].tolist() == [7, 0, 7]
    assert inputs["note_present"] == [True, False, False]
    assert inputs["note"] == [[2, 3, 0], [0, 0, 0], [0, 0, 0]]
    assert inputs["size_present"] == [True, False, True]
    assert inputs["size"] == [[1.5, 3, 1, 1, 2], [0, 0, 0, 0, 0], [0, 4, 0, 1, 2]]
    assert targets["kind"] == [0, 1, 0]
    assert weights == {"kind": [1, 1, 1], "age": [1, 0, 1]}


def test_absent_photo_beside_one_named_last(folder):
    """The place of zeros is behind all values, whichever row they come from."""
    frame = pd.DataFrame({"photo": [None, folder / "grey.png", None]})
    schema = mk.Schema(inputs={"photo": PHOTO}, targets={"kind": mk.Category(["cat", "dog"])})
    inputs = only_batch(mk.read(frame, schema, targets=False), targets=False)
    assert inputs["photo_present"] == [False, True, False]
    assert np.array(inputs["photo"]).max(axis=(1, 2, 3)).tolist() == [0, 7, 0]


def test_every_value_missing(folder):
    schema = mk.Schema(inputs={"photo": PHOTO}, targets={"kind": mk.Category(["cat", "dog"])})
    inputs = only_batch(mk.read(pd.DataFrame({"photo": ["", ""]}), schema, targets=False), targets=False)
    assert inputs["photo_present"] == [False, False]
    assert np.array(inputs["photo"]).shape == (2, 2, 2, 1)


def test_bad_values_count_as_missing(folder):
    with pytest.warns(UserWarning, match=r"2 values count as missing \(size: expected a finite number: 1; age: "):
        records = mk.read(table(folder), SCHEMA, on_bad="missing", bad_limit=0.5).fit()
    with pytest.warns(UserWarning, match=r"1 values count as missing \(photo: expected a picture"):
        inputs, _, weights = only_batch(records)
    assert inputs["photo_present"] == [True, False, False, True]
    assert inputs["size"][2] == [2, 0, 1, 0, 3]
    assert weights["age"] == [1, 0, 0, 1]
    ledger = records.ledger
    assert ledger[["row", "column"]].values.tolist() == [[2, "age"], [2, "photo"], [2, "weight"]]
    assert ledger["value"].tolist() == ["old", str(folder / "bad.png"), "heavy"]
    lines = ledger.to_json(orient="records", lines=True).splitlines()
    assert json.loads(lines[0]) == {"row": 2, "column": "age", "value": "old", "reason": "expected a finite number"}


def test_bad_values_drop_their_row(folder):
    with pytest.warns(UserWarning, match="1 of 4 rows left out"):
        records = mk.read(table(folder), SCHEMA, on_bad="drop", bad_limit=0.5).fit()
    inputs, _, _ = only_batch(records)
    assert inputs["photo_present"] == [True, False, True]


def test_a_bad_value_of_what_has_to_be_there_drops_its_row(folder):
    schema = mk.Schema(inputs={"photo": mk.Image(2, 2, 1)}, targets={"kind": mk.Category(["cat", "dog"])})
    frame = table(folder)[["photo", "kind"]]
    with pytest.warns(UserWarning, match="1 of 4 rows left out"):
        records = mk.read(frame, schema, on_bad="missing", bad_limit=0.5)
    with pytest.warns(UserWarning, match="1 of 3 rows left out"):
        kept = pipeline.readable(records)
    assert len(kept) == 2
    assert len(records.ledger) + len(kept) == len(frame)


def test_bad_values_raise_by_default(folder):
    with pytest.raises(InputError, match=r"row 2: 'weight': expected a finite number: 'heavy' \(1 such rows\)"):
        mk.read(table(folder).assign(age="1"), SCHEMA)
    frame = table(folder)
    frame.loc[2, ["weight", "age"]] = "3"
    with pytest.raises(InputError, match=r"row 2: 'photo': expected a picture"):
        mk.batches(mk.read(frame, SCHEMA).fit(), 8)


def test_a_label_that_training_did_not_see(folder):
    frame = table(folder).drop(columns=["age", "photo"]).assign(weight="1")
    schema = mk.Schema(
        inputs={"note": mk.Text(2, ["dog"], optional=True)}, targets={"kind": mk.Category(["cat", "ox"])}
    )
    with pytest.raises(
        InputError, match=r"row 1: 'kind': expected one of the 2 classes cat, ox: 'dog' \(2 such rows\)"
    ):
        mk.batches(mk.read(frame, schema), 8)
    records = mk.read(frame, schema, on_bad="drop", bad_limit=0.5)
    with pytest.warns(UserWarning, match="2 of 4 rows left out"):
        _, kinds = only_batch(records)
    assert kinds == [0, 0]
    assert records.ledger["value"].tolist() == ["dog", "dog"]
    assert len(only_batch(records, targets=False)["note"]) == 4  # to predict, labels do not matter


def test_a_required_row_of_holes(folder):
    schema = mk.Schema(inputs={"size": mk.Tabular(["height"], ["coat"])}, targets={"kind": mk.Category()})
    with pytest.raises(InputError, match=r"row 1: 'height': expected a value, found nothing"):
        mk.read(table(folder), schema)
