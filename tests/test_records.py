import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError, shown
from mmkeras.schema import Category, Image, Schema, Text

WORDS = Schema(inputs={"q": Text(4)}, targets={"a": Category()})
PICTURES = Schema(inputs={"p": Image(2, 2)}, targets={"a": Category()})
FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


@pytest.fixture
def read_csv(tmp_path):
    def read(content, schema=WORDS, **options):
        (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return mk.read(tmp_path / "t.csv", schema, **options)

    return read


def table(rows=200, **columns):
    """Groups of four rows each; one label in five is "rare"."""
    number = np.arange(rows)
    own = {"q": number, "a": np.where(number % 5, "often", "rare"), "g": number // 4}
    return mk.read(pd.DataFrame({**own, **columns}), WORDS)


def cells(records, *names):
    return [records.values(name).tolist() for name in names]


def sizes(splits):
    return {name: len(part) for name, part in splits.items()}


def rows(splits):
    return {name: part.frame.index.tolist() for name, part in splits.items()}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeffq,a\nx,1\n", [["x"], ["1"]]),
        ('q,a\n"x,\ny ""z""",1\nw,2\n', [['x,\ny "z"', "w"], ["1", "2"]]),
        ("a,more,q\r\n1,,x\r\n2,?,y\r\n", [["x", "y"], ["1", "2"]]),
        ("q,a\nnone,NA\nnull,nan\n1e5,007\nx,-0.0\n", [["none", "null", "1e5", "x"], ["NA", "nan", "007", "-0.0"]]),
    ],
)
def test_csv_cells_stay_as_they_are(read_csv, content, expected):
    assert cells(read_csv(content), "q", "a") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q,a\nx,1\ny,\n?,3\nz,\n", r"^t\.csv row 1: 'a': expected a value, found nothing \(2 such rows\)$"),
        ("qq,a\nx,1\n", r"^t\.csv: unknown column 'q'; did you mean 'qq'\? Known: a, qq$"),
        ("q,a\n", r"^t\.csv: expected at least one row, found none$"),
        ("", r"^t\.csv: expected a header of column names and rows, found an empty file$"),
        ("q,a\nx,1\ny,2,3\n", r"^t\.csv line 3: expected 2 cells in each row, as in the header, received 3"),
        ('q,a\n"x,1\n', r"^t\.csv row 0: .* a quote \" is never closed"),
        (
            b"q,a\n\xff,1\n",
            r"^t\.csv row 0: 'q': expected UTF-8 text, found other bytes: '\\\\udcff' \(1 such rows\); .*encoding=",
        ),
        # one cell more than the header in the first row: pandas takes the first column for an index, and all shift
        ("q,a\nx,1,2\ny,2,3\n", r"t\.csv.*: .*2.*3"),
        ("q,a\nx,1,2\ny,2\n", r"t\.csv.*: .*2.*3"),
        ("q,a,a\nx,1,2\n", r"t\.csv.*: .*'a'"),
    ],
)
def test_csv_that_is_refused(read_csv, content, message):
    with pytest.raises(InputError, match=message):
        read_csv(content)


@pytest.mark.parametrize(("name", "reason"), [("none.csv", "No such file"), ("", "Is a directory")])
def test_tables_that_are_not_there(tmp_path, name, reason):
    with pytest.raises(InputError, match=rf"^cannot read the table '{tmp_path / name}': .*{reason}"):
        mk.read(str(tmp_path / name), WORDS)


@pytest.mark.parametrize("source", [5, None, [["q", "x"]]])
def test_sources_of_another_kind(source):
    with pytest.raises(InputError, match=r"expected .*DataFrame.*, received"):
        mk.read(source, WORDS)


@pytest.mark.parametrize("schema", [None, {"q": Text(3)}, Schema])
def test_read_without_a_schema(schema):
    with pytest.raises(InputError, match=rf"^read: expected a Schema, received {re.escape(shown(schema))}$"):
        mk.read(pd.DataFrame({"q": ["x"]}), schema)


def test_without_targets(read_csv):
    assert cells(read_csv("q,a\nx,\n", targets=False), "q") == [["x"]]
    with pytest.raises(InputError, match=r"t\.csv: unknown column 'q'"):
        read_csv("a\nx\n", targets=False)


def test_paths(tmp_path, read_csv, monkeypatch):
    file = tmp_path / "sub" / "ü.png"
    file.parent.mkdir()
    file.touch()
    assert cells(read_csv(f"p,a\nsub/ü.png,1\n{file},2\n", PICTURES), "p") == [[str(file)] * 2]
    frame = pd.DataFrame({"p": [Path("ü.png"), "ü.png", file], "a": [1, 2, 3]})
    monkeypatch.chdir(tmp_path / "sub")
    records = mk.read(frame, PICTURES)
    monkeypatch.chdir("/")  # which is of no consequence any more
    assert cells(records, "p", "a") == [[str(file)] * 3, ["1", "2", "3"]]
    assert frame["p"][0] == Path("ü.png")  # the caller's own is left alone


@pytest.mark.parametrize(
    ("cell", "message"),
    [("x.png", "no such file"), ("sub", "is not a file"), ("/no/x.png", "no such file")],
)
def test_files_that_are_not_there(tmp_path, read_csv, cell, message):
    (tmp_path / "sub").mkdir()
    with pytest.raises(InputError, match=rf"^t\.csv row 1: 'p': {message} in {tmp_path}: '{cell}' \(2 such rows\)$"):
        read_csv(f"p,a\nt.csv,1\n{cell},2\n{cell},3\n", PICTURES)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([3, 1], ["3", "1"]),
        ([3.0, 1.0], ["3", "1"]),
        ([2.5, 1.0], ["2.5", "1.0"]),
        ([1e20, 1.0], ["100000000000000000000", "1"]),
        (["x", 1], ["x", "1"]),
        (pd.Categorical(["x", "y"]), ["x", "y"]),
        (pd.array([1, 2], dtype="Int64"), ["1", "2"]),
    ],
)
def test_cells_of_a_data_frame(column, expected):
    records = mk.read(pd.DataFrame({"q": ["x", "y"], "a": column, "other": [1.0, None]}, index=[7, 9]), WORDS)
    assert cells(records, "a") == [expected]
    assert records.frame.index.tolist() == [0, 1]


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, ""])
@pytest.mark.parametrize("value", [1, 1.0, "x", Path("x"), True])
def test_holes_of_a_data_frame(value, hole):
    with pytest.raises(InputError, match=r"^DataFrame row 1: 'a': expected a value, found nothing \(1 such rows\)$"):
        mk.read(pd.DataFrame({"q": ["x", "y"], "a": [value, hole]}), WORDS)


def test_take_and_fit():
    records = mk.read(pd.DataFrame({"q": ["B a!", "a c", "d"], "a": [10, 9, 10]}), WORDS)
    part = records.take([1, 0])
    assert cells(part, "q") == [["a c", "B a!"]]
    assert part.where(0, "a") == "DataFrame row 1: 'a'"
    assert len(records.take([])) == 0
    assert part.fit().schema == Schema({"q": Text(4, ["a", "b", "c"])}, {"a": Category(["9", "10"])})
    assert records.schema is part.schema is WORDS


def test_fit_on_too_little_says_where():
    with pytest.raises(InputError, match=r"DataFrame: 'a': .*expected at least 2 classes, received .*'x'"):
        mk.read(pd.DataFrame({"q": ["b"], "a": ["x"]}), WORDS).fit()
    with pytest.raises(InputError, match=r"DataFrame.* 'a'"):
        mk.read(pd.DataFrame({"q": ["b"]}), WORDS, targets=False).fit()


def test_split_by_column_of_any_names_fits_on_train_alone():
    column = ["dev", "train", "eval 2", "train", "dev", "train"]
    splits = table(6, s=column, a=list("xyxzxy")).split("s")
    assert rows(splits) == {"dev": [0, 4], "train": [1, 3, 5], "eval 2": [2]}
    assert splits.schema == Schema({"q": Text(4, ["1", "3", "5"])}, {"a": Category(["y", "z"])})
    assert splits["train"].schema is splits["eval 2"].schema is splits.schema


@pytest.mark.parametrize("hole", ["", None, np.nan])
def test_split_by_column_with_a_hole(hole):
    with pytest.raises(InputError, match=r"^DataFrame row 2: 's': expected a split, found nothing"):
        table(4, s=["train", "train", hole, "test"]).split("s")


def test_split_without_train():
    with pytest.raises(InputError, match=r"^DataFrame: expected a split named 'train', received a, b$"):
        table(4, s=list("abab")).split("s")


@pytest.mark.parametrize("options", [{"by": "gg"}, *({"by": FRACTIONS, key: "gg"} for key in ("group", "stratify"))])
def test_split_by_column_that_is_not_there(options):
    with pytest.raises(InputError, match=r"^DataFrame: unknown column 'gg'; did you mean 'g'\? Known: a, g, q$"):
        table().split(**options)


def test_split_by_fractions():
    found = rows(table().split(FRACTIONS))
    assert {name: len(part) for name, part in found.items()} == {"train": 160, "val": 20, "test": 20}
    assert sorted(row for part in found.values() for row in part) == list(range(200))
    assert found == rows(table().split(FRACTIONS, seed=0)) != rows(table().split(FRACTIONS, seed=1))


@pytest.mark.parametrize("part", [0.2, 0.0, -0.5, "most", float("nan")])
def test_fractions_that_are_refused(part):
    with pytest.raises(InputError, match=r"^split: expected fractions above 0 that add up to 1, received \{"):
        table().split({"train": 1.0, "test": part})


@pytest.mark.parametrize("options", [{"seed": 0}, {"seed": 1}, {"stratify": "a"}])
def test_group_stays_on_one_side(options):
    splits = table().split(FRACTIONS, group="g", **options)
    sides = pd.concat([part.frame.assign(side=name) for name, part in splits.items()]).groupby("g")["side"]
    assert sides.nunique().tolist() == [1] * 50
    assert list(sizes(splits).values()) == pytest.approx([160, 20, 20], abs=6)


def test_rows_without_a_group_are_not_one_group():
    with pytest.raises(InputError, match=r"^DataFrame row 0: 'g': expected .*, found nothing"):
        table(g=[None] * 100 + list(range(100))).split(FRACTIONS, group="g")


def test_stratify_spreads_the_labels():
    splits = table().split(FRACTIONS, stratify="a")
    assert list(sizes(splits).values()) == [160, 20, 20]
    assert [(part.values("a") == "rare").sum() for part in splits.values()] == [32, 4, 4]


def test_val_out_of_train():
    records = table(s=["train"] * 100 + ["test"] * 100)
    splits = records.split("s", val=0.1, group="g", stratify="a")
    assert sizes(splits) == {"train": pytest.approx(90, abs=4), "test": 100, "val": pytest.approx(10, abs=4)}
    assert sorted(rows(splits)["train"] + rows(splits)["val"]) == list(range(100))
    assert not set(splits["train"].frame["g"]) & set(splits["val"].frame["g"])
    assert set(splits.schema.inputs["q"].vocabulary) == set(splits["train"].values("q"))
    with pytest.raises(InputError, match=r"^DataFrame: val=0\.1 was asked for, but 's' has a 'val' already$"):
        table(s=["train"] * 150 + ["val"] * 50).split("s", val=0.1)


@pytest.mark.parametrize("val", [0, 1, 1.5, -0.1, "0.1"])
def test_val_that_is_no_fraction(val):
    with pytest.raises(InputError, match=f"expected .*received .*{val}"):
        table(s=["train"] * 200).split("s", val=val)


def test_unknown_split():
    splits = table().split(FRACTIONS)
    with pytest.raises(InputError, match=r"^unknown split 'trian'; did you mean 'train'\? Known: test, train, val$"):
        splits["trian"]
    with pytest.raises(KeyError, match="did you mean 'train'"):
        splits["trian"]
    assert [name in splits for name in ("val", "trian")] == [True, False]
    assert splits.get("trian") is None


def test_tables_files_and_folders_behind_urls(tmp_path):
    """What read, check and describe do with a scheme of tf.io.gfile: file:// stands for gs:// and its like."""
    picture = tf.io.encode_png(np.full((2, 2, 3), 7, np.uint8)).numpy()
    (tmp_path / "p.png").write_bytes(picture)
    (tmp_path / "t.csv").write_text(f"p,a\np.png,x\nfile://{tmp_path}/p.png,y\n")
    records = mk.read(f"file://{tmp_path}/t.csv", PICTURES, check="decode").fit()
    ((inputs, _),) = mk.batches(records, 2)
    assert (inputs["p"].numpy() == 7).all()
    assert "PNG 1" in str(records.describe())
    (tmp_path / "t.csv").write_text("p,a\nq.png,x\n")
    with pytest.raises(InputError, match=r"t\.csv row 0: 'p': no such file in file://.*: 'q\.png'"):
        mk.read(f"file://{tmp_path}/t.csv", PICTURES)


def test_a_folder_for_each_class(tmp_path):
    picture = tf.io.encode_png(np.full((2, 2, 3), 7, np.uint8)).numpy()
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture)
    schema = Schema({"p": Image(2, 2, column="file")}, {"a": Category(column="label")})
    records = mk.read(tmp_path, schema).fit()
    assert records.schema.targets["a"].classes == ("cat", "dog")
    ((inputs, labels),) = mk.batches(records, 8)
    assert inputs["p"].shape == (3, 2, 2, 3)
    assert labels.numpy().tolist() == [0, 0, 1]


def test_a_misspelt_option_of_split_is_refused_with_the_nearest():
    records = mk.read(
        pd.DataFrame({"q": ["a", "b"], "y": ["n", "y"]}), mk.Schema({"q": mk.Text(1)}, {"y": mk.Category()})
    )
    with pytest.raises(mk.InputError, match="split: unknown argument 'statify'; did you mean 'stratify'"):
        records.split({"train": 0.5, "val": 0.5}, statify="y")


@pytest.mark.parametrize("fractions", [{"train": 0.8, "test": 0.2}, FRACTIONS, {"train": 0.55, "a": 0.3, "b": 0.15}])
@pytest.mark.parametrize("strata", [300, 1, 999, 500])
def test_fractions_hold_over_strata_of_any_number(fractions, strata):
    values = np.random.default_rng(strata).permutation([f"s{number % strata}" for number in range(1000)])
    splits = table(1000, s=values).split(fractions, stratify="s")
    assert list(sizes(splits).values()) == pytest.approx([1000 * share for share in fractions.values()], abs=1)
    frame = pd.concat([part.frame.assign(side=name) for name, part in splits.items()])
    counts = pd.crosstab(frame["s"], frame["side"])
    expected = np.outer(counts.sum(axis=1), [fractions[name] for name in counts])
    assert np.abs(counts - expected).to_numpy().max() < 1


def test_strata_and_groups_of_several_rows():
    """As scikit-learn's StratifiedGroupKFold: whole groups, and both rows and labels in their shares."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(150), random.integers(1, 12, 150))
    labels = np.where(random.random(len(groups)) < random.beta(0.3, 2, 150)[groups], "rare", "often")
    splits = table(len(groups), g=groups, a=labels).split(FRACTIONS, group="g", stratify="a")
    assert not set(splits["train"].frame["g"]) & set(splits["test"].frame["g"])
    assert list(sizes(splits).values()) == pytest.approx([len(groups) * share for share in FRACTIONS.values()], abs=3)
    rare = [(part.values("a") == "rare").mean() for part in splits.values()]
    assert rare == pytest.approx([(labels == "rare").mean()] * 3, abs=0.02)


@pytest.mark.parametrize("hole", [False, True])
def test_a_number_is_spread_by_its_quantiles(hole):
    values = [round(1.01**number, 3) for number in range(1000)]
    schema = Schema({"q": Text(4)}, {"a": mk.Number(optional=True)})
    frame = pd.DataFrame({"q": ["x"] * 1000, "a": [*values[:-1], None] if hole else values, "more": values})
    for column in ("a", "more"):  # of a target, and any other column of numbers
        splits = mk.read(frame, schema).split({"train": 0.8, "test": 0.2}, stratify=column)
        test = splits["test"].frame["more"].astype(float)
        assert len(test) == 200
        counts = [((test >= low) & (test < high)).sum() for low, high in itertools.pairwise(values[::100])]
        assert counts == pytest.approx([20] * 9, abs=1)
    few = mk.read(frame.assign(a=[0.5, 3] * 500), schema).split({"train": 0.8, "test": 0.2}, stratify="a")
    assert few["test"].frame["a"].value_counts().tolist() == [100, 100]


def test_values_that_all_differ_are_no_strata():
    message = (
        r"^DataFrame: 'id': expected stratify to be a column whose values repeat, as a label, or hold numbers; "
        r"received 200 different values in 200 rows, as 'n0'$"
    )
    with pytest.raises(InputError, match=message):
        table(200, id=[f"n{number}" for number in range(200)]).split(FRACTIONS, stratify="id")
