import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError

HURT = {  # row -> column, what is done to its file or cell, what the ledger says of it
    3: ("image", lambda path: path.write_bytes(path.read_bytes()[:40]), "cannot decode"),
    11: ("image", lambda path: path.write_bytes(b""), "found an empty file"),
    20: ("image", lambda path: path.write_text("a sentence"), "cannot decode"),
    31: ("audio", lambda path: path.write_bytes(path.read_bytes()[:1000]), "cannot decode"),
    42: ("audio", lambda path: path.write_bytes(b"RIFF\0\0\0\0WAVE"), "cannot decode"),
    50: (
        "audio",
        lambda path: path.write_bytes(path.read_bytes().replace(b"\x01\0\x01\0", b"\x01\0\0\0", 1)),
        "decode",
    ),
    61: ("image", lambda path: path.unlink(), "no such file"),
    70: ("audio", lambda path: (path.unlink(), path.mkdir()), "is not a file"),
    80: ("answer", None, "found nothing"),
    90: ("question", None, "found nothing"),
}
AT_ONCE = {61, 70, 80, 90}  # what check="paths" sees


@pytest.fixture
def hurt(keypad_manifest, tmp_path):
    """A copy of the set in which every row has files of its own, and ten rows are hurt in ten ways."""
    table = pd.read_csv(keypad_manifest, dtype=str)
    for row, cells in table.iterrows():
        for column in ("image", "audio"):
            name = f"{column}_{row}{Path(cells[column]).suffix}"
            shutil.copy(keypad_manifest.parent / cells[column], tmp_path / name)
            table.loc[row, column] = name
    for row, (column, hurt, _) in HURT.items():
        if hurt is None:
            table.loc[row, column] = ""
        else:
            hurt(tmp_path / table.loc[row, column])
    table.to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def check_ledger(ledger, rows):
    assert list(ledger.columns) == ["row", "column", "value", "reason"]
    assert ledger["row"].tolist() == sorted(rows)
    for row, column, value, reason in ledger.itertuples(index=False):
        assert column == HURT[row][0]
        assert HURT[row][2] in reason, reason
        assert (value == "") == (HURT[row][1] is None)
        assert not value or f"{column}_{row}." in value


def quietly(function, *arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments, **options)
    return result, [str(w.message) for w in caught if "rows left out" in str(w.message)]


def test_ten_ways_to_be_bad_and_the_training_goes_on(hurt, keypad_schema):
    records, said = quietly(mk.read, hurt, keypad_schema, on_bad="drop")
    assert len(records) == 296
    (line,) = said
    assert line.startswith("manifest.csv: 4 of 300 rows left out (")
    assert "question: expected a value, found nothing: 1" in line
    assert line.endswith("see records.ledger")
    check_ledger(records.ledger, AT_ONCE)
    records = records.fit()
    data, said = quietly(mk.batches, records, 32, training=True)
    assert len(said) == 1
    assert said[0].startswith("manifest.csv: 6 of 296 rows left out (")
    check_ledger(records.ledger, HURT)
    assert sum(len(y) for _, y in data) == 290
    model = mk.build(records.schema, width=8)
    model.compile("adam", **mk.compile_args(records.schema))
    history = model.fit(data, epochs=1, verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    (table, found), said = quietly(lambda: (mk.predict(model, records), mk.evaluate(model, records, permutations=1)))
    assert said == []  # said once
    assert table.index.tolist() == [row for row in range(300) if row not in HURT]
    assert found.subsets["score"].between(0, 1).all()
    check_ledger(records.ledger, HURT)


def test_check_decode_finds_them_all_beforehand(hurt, keypad_schema):
    records, said = quietly(mk.read, hurt, keypad_schema, on_bad="drop", check="decode")
    assert (len(records), len(said)) == (290, 2)
    check_ledger(records.ledger, HURT)
    assert not quietly(mk.batches, records.fit(), 32)[1]
    records.ledger.to_json(hurt.parent / "bad.jsonl", orient="records", lines=True)
    again = pd.read_json(hurt.parent / "bad.jsonl", lines=True)
    assert again["row"].tolist() == sorted(HURT)


def test_splits_share_the_ledger_and_the_counts_add_up(hurt, keypad_schema):
    records, _ = quietly(mk.read, hurt, keypad_schema, on_bad="drop")
    splits = records.fit().split("split")  # fitted on all rows: a class that only "val" has is no part of this
    kept = sum(len(y) for part in splits.values() for _, y in quietly(mk.batches, part, 50)[0])
    check_ledger(splits["train"].ledger, HURT)
    assert kept + len(records.ledger) == 300


def test_raise_names_the_first(hurt, keypad_schema):
    with pytest.raises(
        InputError, match=r"^manifest\.csv row 61: 'image': no such file in .*: 'image_61\.png' \(1 such"
    ):
        mk.read(hurt, keypad_schema)


def test_a_file_that_breaks_after_the_check(hurt, keypad_schema):
    records, _ = quietly(mk.read, hurt, keypad_schema, on_bad="drop", check="decode")
    os.truncate(hurt.parent / "image_100.png", 30)
    data, said = quietly(mk.batches, records.fit(), 50)
    assert said[0].startswith("manifest.csv: 1 of 290 rows left out (image: expected a picture")
    assert sum(len(y) for _, y in data) == 289
    assert records.ledger["row"].tolist() == sorted([*HURT, 100])


def test_too_many(hurt, keypad_schema):
    with pytest.raises(
        InputError, match=r"4 of 300 rows are bad, more than bad_limit=0.01 allows; the first: manifest"
    ):
        mk.read(hurt, keypad_schema, on_bad="drop", bad_limit=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_bad": "dorp"}, "read: unknown value of on_bad 'dorp'; did you mean 'drop'"),
        ({"check": "path"}, "read: unknown value of check 'path'; did you mean 'paths'"),
        ({"bad_limit": 5}, "read: expected bad_limit to be a number from 0 to 1, received 5"),
    ],
)
def test_refused(keypad_manifest, keypad_schema, options, message):
    with pytest.raises(InputError, match=message):
        mk.read(keypad_manifest, keypad_schema, **options)


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_bytes_that_are_no_utf8_cost_their_own_row(tmp_path, name):
    rows = [(b"caf\xc3\xa9", b"1", b"x"), (b"caf\xe9", b"2", b"y"), (b"tea", b"\xfe", b"x"), (b"tea", b"3", b"\xff")]
    if name == "rows.csv":
        lines = [b"t,n,a", *(b",".join(row) for row in rows)]
    else:
        lines = [b'{"t": "%b", "n": "%b", "a": "%b"}' % row for row in rows]
    (tmp_path / name).write_bytes(b"\n".join(lines))
    inputs = {"t": mk.Text(1, ["caf\u00e9", "tea"]), "n": mk.Tabular(["n"], means=[0], std=[1], vocabularies=[])}
    schema = mk.Schema(inputs=inputs, targets={"a": mk.Category(["x", "y"])})
    with pytest.raises(InputError, match=r"row 1: 't': expected UTF-8 text, found other bytes: 'caf\\\\udce9'"):
        mk.read(tmp_path / name, schema)
    with pytest.warns(UserWarning, match="found other bytes"):
        records = mk.read(tmp_path / name, schema, on_bad="missing", bad_limit=1)
    assert records.ledger[["row", "column"]].values.tolist() == [[1, "t"], [2, "n"], [3, "a"]]
    assert set(records.ledger["reason"]) == {"expected UTF-8 text, found other bytes"}
    records.ledger.to_json(tmp_path / "bad.jsonl", orient="records", lines=True)
    ((inputs, _),) = mk.batches(records, 4)
    assert inputs["t"].numpy().tolist() == [[2], [3]]
    assert inputs["n"].numpy().tolist() == [[1, 1], [0, 0]]  # a cell of Tabular becomes a hole


def test_a_decompression_bomb_is_named_as_one(tmp_path):
    Pillow = pytest.importorskip("PIL.Image")
    Pillow.new("L", (400, 300)).save(tmp_path / "large.png")
    frame = pd.DataFrame({"p": [tmp_path / "large.png"]})
    schema = mk.Schema(inputs={"p": mk.Image(2, 2, 1, max_pixels=119_999)}, targets={"a": mk.Category(["x", "y"])})
    with pytest.raises(
        InputError, match=r"expected at most max_pixels=119,999, found 120,000 \(300 x 400\): '.*large.png'"
    ):
        mk.batches(mk.read(frame, schema, targets=False), 1, targets=False)


def test_every_row_left_out_before_any_file_is_decoded(tmp_path):
    schema = mk.Schema(inputs={"p": mk.Image(2, 2, 1)}, targets={"a": mk.Category(["x", "y"])})
    frame = pd.DataFrame({"p": [tmp_path / "none.png"], "a": ["x"]})
    with pytest.warns(UserWarning, match="1 of 1 rows left out"):
        records = mk.read(frame, schema, on_bad="drop", bad_limit=1, check="decode")
    assert len(records) == 0
    assert list(mk.batches(records, 2)) == []
    assert len(records.ledger) == 1
