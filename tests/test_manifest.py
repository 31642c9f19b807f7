import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.records.manifest import cells, is_file, join, load, open_file

COLUMNS = {"q": ["x, y", 'two\nlines "z"', "c"], "a": ["007", "none", ""], "s": ["1;2", "a|b", "\t"]}


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def listed(source):
    return {name: cells(column).tolist() for name, column in load(source)[0].items()}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_delimiter(file, delimiter, bom, end):
    text = pd.DataFrame(COLUMNS).to_csv(sep=delimiter, index=False, lineterminator=end)
    assert listed(file("t.csv", bom + text)) == COLUMNS


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text", ["text"]),
        ("name;size (h,w);label", ["name", "size (h,w)", "label"]),  # csv.Sniffer says comma
        ('"a;b;c",d', ["a;b;c", "d"]),
        ('"a\nb";c', ["a\nb", "c"]),
        ("a b", ["a b"]),
        ("it's;that's", ["it's", "that's"]),
        ("\n\na|b", ["a", "b"]),
    ],
)
def test_the_header_tells_the_delimiter(file, header, columns):
    assert load(file("t.txt", header + "\n"))[0].columns.tolist() == columns


def test_a_tie_in_a_tsv_file_goes_to_the_tab(file):
    text = "a, b\tc\n1\t2\n"
    assert load(file("t.tsv", text))[0].columns.tolist() == ["a, b", "c"]


def test_a_long_header_whose_start_ends_within_a_letter(file):
    names = [f"{number:03}{'ü' * 99}" for number in range(400)]
    assert load(file("t.csv", ";".join(names) + "\n"))[0].columns.tolist() == names


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip), ("bz2", bz2), ("xz", lzma), ("GZ", gzip)])
@pytest.mark.parametrize(("name", "content"), [("t.csv", "q;a\nx;1\n"), ("t.jsonl", '{"q": "x", "a": 1}\n')])
def test_compressed(file, suffix, compress, name, content):
    path = file(f"{name}.{suffix}", compress.compress(content.encode()))
    assert listed(path) == {"q": ["x"], "a": ["1"]}
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(InputError, match=rf"^cannot read the table '.*{name}\.{suffix}': "):
        load(path)


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json"])
def test_json_lines(file, suffix):
    rows = [
        {"s": "007", "n": 1, "f": 1.5, "w": 2.0, "big": 2**60 + 1, "gap": 1},
        {"s": "none", "n": 2, "f": 3, "w": 1, "big": None, "gap": None, "late": "x\u2028y"},
        {"s": None, "n": 3, "f": None, "w": None, "big": 3, "late": ""},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert listed(file(f"t.{suffix}", "\ufeff" + "\r\n\n".join(lines))) == {
        "s": ["007", "none", ""],
        "n": ["1", "2", "3"],
        "f": ["1.5", "3.0", ""],
        "w": ["2", "1", ""],
        "big": [str(2**60 + 1), "", "3"],
        "gap": ["1", "", ""],
        "late": ["", "x\u2028y", ""],
    }


def test_json_lines_in_pieces(file):
    lines = [json.dumps({"a": str(number)} | ({"b": "x"} if number > 20_010 else {})) for number in range(20_013)]
    found = listed(file("t.jsonl", "\n".join(lines)))
    assert found["a"] == [str(number) for number in range(20_013)]
    assert found["b"] == [""] * 20_011 + ["x"] * 2  # a column that comes beyond the first pieces
    assert listed(file("empty.jsonl", "\n")) == {}


@pytest.mark.parametrize(
    ("line", "received"),
    [
        ('{"a": 1', r"'\{\"a\": 1' \(.*delimiter.*\)"),
        ("[1]", r"'\[1\]'"),
        ("x" * 99, "'x{57}\\.\\.\\.' "),
        ("7", "'7'"),
    ],
)
@pytest.mark.parametrize("before", [1, 10_000])
def test_a_broken_line_of_json(file, line, received, before):
    path = file("t.jsonl", '{"a": 1}\n' * before + f"\n{line}\n")
    message = rf"^t\.jsonl line {before + 2}: expected one JSON object on each line, received {received}"
    with pytest.raises(InputError, match=message):
        load(path)


def test_parquet(tmp_path):
    frame = pd.DataFrame({"s": ["007", "none", None], "n": pd.array([2**60 + 1, None, 3], "Int64"), "f": [2.0, 1, 3]})
    frame["c"] = pd.Categorical(["x", "y", "x"])
    frame.set_index("s").to_parquet(tmp_path / "t.parquet")
    found, name, folder = load(tmp_path / "t.parquet")
    assert (name, folder, found.index.tolist()) == ("t.parquet", str(tmp_path), [0, 1, 2])
    assert {column: cells(found[column]).tolist() for column in "snfc"} == {
        "s": ["007", "none", ""],
        "n": [str(2**60 + 1), "", "3"],
        "f": ["2", "1", "3"],
        "c": ["x", "y", "x"],
    }


def test_a_file_that_is_no_parquet(file):
    with pytest.raises(InputError, match=r"^cannot read the table '.*t\.parquet': .*Parquet"):
        load(file("t.parquet", "q,a\nx,1\n"))


def test_parquet_without_pyarrow(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"t\.parquet.*pyarrow.*pip install \"mmkeras\[parquet\]\"$"):
        load(file("t.parquet", ""))


def test_a_folder_for_each_class(file, tmp_path):
    for name in ("set/dog/2.png", "set/cat/b/1.png", "set/cat/a.png", "set/README", "set/.git/x/y", "set/cat/.hidden"):
        file(name, "")
    frame, name, folder = load(tmp_path / "set")
    assert frame.to_dict("list") == {"file": ["cat/a.png", "cat/b/1.png", "dog/2.png"], "label": ["cat", "cat", "dog"]}
    assert (name, folder) == ("set", str(tmp_path / "set"))
    records = mk.read(f"{tmp_path}/set/", mk.Schema({"file": mk.Image(2, 2)}, {"label": mk.Category()}))
    assert records.values("file")[0] == str(tmp_path / "set" / "cat" / "a.png")


def test_a_folder_of_splits(file, tmp_path):
    for name in ("val/dog/1.png", "train/cat/1.png", "train/dog/x/2.png", "train/notes.txt", "readme.txt"):
        file(name, "")
    assert load(tmp_path)[0].to_dict("list") == {
        "file": ["train/cat/1.png", "train/dog/x/2.png", "val/dog/1.png"],
        "label": ["cat", "dog", "dog"],
        "split": ["train", "train", "val"],
    }


@pytest.mark.parametrize("other", ["extra/dog/1.png", "test/1.png"])
def test_a_folder_of_splits_and_something_else(file, tmp_path, other):
    file("train/cat/1.png", "")
    file(other, "")
    with pytest.raises(InputError, match=rf"'train' holds folders; expected .*, received '{other.split('/')[0]}'$"):
        load(tmp_path)


def test_a_folder_without_classes(file, tmp_path):
    file("1.png", "")
    with pytest.raises(InputError, match=r"Is a directory, expected a folder for each class, found none$"):
        load(str(tmp_path))


def test_urls(file, tmp_path):
    path = file("in/t.csv.gz", gzip.compress(b"q|a\nx|1\n"))
    frame, name, folder = load(f"file://{path}")
    assert (frame.to_dict("list"), name, folder) == ({"q": ["x"], "a": ["1"]}, "t.csv.gz", f"file://{tmp_path}/in")
    with pytest.raises(InputError, match=r"^cannot read the table 'file:///no\.csv': .*No such file"):
        load("file:///no.csv")
    with pytest.raises(InputError, match=r"^cannot read the table 'nope://x/t\.csv': .*nope"):
        load("nope://x/t.csv")


def test_a_folder_behind_a_url():
    for name in ("cat/1.png", "dog/2.png", "dog/.no"):
        tf.io.gfile.makedirs(f"ram://set/{name.split('/')[0]}")
        tf.io.gfile.GFile(f"ram://set/{name}", "w").write("x")
    frame, name, folder = load("ram://set")
    assert frame.to_dict("list") == {"file": ["cat/1.png", "dog/2.png"], "label": ["cat", "dog"]}
    assert (name, folder) == ("set", "ram://set")
    found = join(folder, frame["file"][0])
    assert is_file(found)
    assert open_file(found).read() == b"x"
    assert not is_file("ram://set/cat")
    assert not is_file("ram://set/none")
    assert not is_file("nope://set/none")
    assert load("ram://set/")[0].equals(frame)


def test_join(tmp_path):
    assert join("/f", "a/b") == "/f/a/b"
    assert join("gs://f", "/a") == "/a"
    assert join("/f", "gs://a/b") == "gs://a/b"
    assert is_file(__file__)
    assert not is_file(str(tmp_path))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["a", None, ""], ["a", "", ""]),
        (pd.Series(["a", np.nan], dtype=object), ["a", ""]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", ""]),
        (pd.Categorical(["a", None]), ["a", ""]),
        ([Path("a"), 5, None], ["a", "5", ""]),
        ([1.0, None], ["1", ""]),
        ([1e20, np.inf], ["1e+20", "inf"]),
        (np.array([0.5, 1], "float32"), ["0.5", "1.0"]),
        ([True, False], ["True", "False"]),
        (pd.array([1, None], dtype="Int64"), ["1", ""]),
        (pd.Series([[1, 2], None]), ["[1, 2]", ""]),
        (pd.to_datetime(["2024-01-02", None]), ["2024-01-02 00:00:00", ""]),
        ([None, None], ["", ""]),
        ([], []),
    ],
)
def test_cells(column, expected):
    column = pd.Series(column, index=range(3, 3 + len(expected)), name="n") if isinstance(column, list) else column
    found = cells(pd.Series(column))
    assert found.tolist() == expected
    assert all(type(cell) is str for cell in found.to_numpy(dtype=object))
    assert found.index.equals(pd.Series(column).index)


def test_cells_of_strings_are_not_touched_one_by_one():
    class Untouchable(str):
        def __str__(self):
            raise AssertionError

    values = [Untouchable("a"), None, Untouchable("b")]
    assert cells(pd.Series(values, dtype=object)).tolist() == ["a", "", "b"]
