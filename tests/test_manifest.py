import bz2
import gzip
import io
import json
import lzma
import pickle
import sys
import zipfile
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
        ("x" * 99, r"'x{76}\.\.\. "),
        ("7", "'7'"),
    ],
)
@pytest.mark.parametrize("before", [1, 10_000])
def test_a_broken_line_of_json(file, line, received, before):
    path = file("t.jsonl", '{"a": 1}\n' * before + f"\n{line}\n")
    message = rf"^t\.jsonl line {before + 2}: expected one JSON object on each line, received {received}"
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_of_json_objects(file, indent):
    rows = [{"q": "x", "a": 1}, {"q": "y"}]
    assert listed(file("t.json", json.dumps(rows, indent=indent))) == {"q": ["x", "y"], "a": ["1", ""]}
    for text in ("[1]", '[{"a": 1}', "[" * 100_000):
        with pytest.raises(InputError, match=r"^t\.json: expected a list of JSON objects, received '\["):
            load(file("t.json", text))


ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("name", "content"), [("t.csv", "q;a\nü;1\n"), ("t.jsonl", '{"q": "ü", "a": 1}\n')])
def test_encodings_that_show_themselves(file, encoding, name, content):
    assert listed(file(name, content.encode(encoding))) == {"q": ["ü"], "a": ["1"]}


@pytest.mark.parametrize(("name", "content"), [("t.csv", "q;größe\nü;1\n"), ("t.jsonl", '{"q": "ü", "größe": 1}\n')])
def test_an_encoding_that_is_given(file, name, content):
    path = file(name, content.encode("cp1252"))
    assert {key: cells(column).tolist() for key, column in load(path, encoding="cp1252")[0].items()} == {
        "q": ["ü"],
        "größe": ["1"],
    }
    with pytest.raises(
        InputError, match=r'expected encoding to be the name of one, as "utf-8".*, received \'cp9999\'$'
    ):
        load(path, encoding="cp9999")


def test_a_header_that_is_not_utf8(file):
    path = file("t.csv", "q,a,größe\nx,1,2\ny,2,3\n".encode("cp1252"))
    assert load(path)[0].columns.tolist() == ["q", "a", r"gr\xf6\xdfe"]
    schema = mk.Schema({"q": mk.Text(2)}, {"a": mk.Category()})
    assert len(mk.read(path, schema)) == 2  # the odd column is not used
    other = mk.Schema({"q": mk.Text(2)}, {"a": mk.Category(column="größe")})
    with pytest.raises(InputError, match=r"^t\.csv: unknown column 'größe'; .*The header is not UTF-8: .*encoding="):
        mk.read(path, other)
    assert mk.read(path, other, encoding="cp1252").values("a").tolist() == ["2", "3"]


def zipped(name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "q,a\nx,1\n")
    return content.getvalue()


def arrays(save):
    content = io.BytesIO()
    save(content, np.zeros(3))
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("t.xlsx", zipped("[Content_Types].xml"), r"an Excel workbook: .*CSV UTF-8.*pd\.read_excel"),
        ("t.csv", zipped("[Content_Types].xml"), "an Excel workbook"),
        ("t.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook"),
        ("t.zip", zipped("t.csv"), r"an archive \(zip\): unpack it"),
        ("t.csv", zipped("t.csv"), r"an archive \(zip\): unpack it"),
        ("t.npz", arrays(np.savez), r"an archive of NumPy arrays: .*DataFrame"),
        ("t.npy", arrays(np.save), r"a NumPy array: .*DataFrame"),
        ("t.pkl", pickle.dumps({"q": [1]}), r"a pickle, .*pd\.read_pickle"),
        ("t.csv", pickle.dumps({"q": [1]}), "a pickle"),
        ("t.csv.gz", gzip.compress(pickle.dumps({"q": [1]})), "a pickle"),
        ("t.tar.gz", gzip.compress(b"a".ljust(257, b"\0") + b"ustar"), r"an archive \(tar\)"),
        ("t.png", b"\x89PNG\r\n\x1a\n", r"a picture \(PNG\): expected a table that names such files"),
        ("t", b"\xff\xd8\xff\xe0\0\x10JFIF", r"a picture \(JPEG\)"),
        ("t.feather", b"ARROW1\0\0", "an Arrow or Feather file"),
        ("t.db", b"SQLite format 3\0", "an SQLite database"),
    ],
)
def test_files_that_are_no_tables_and_what_to_do(file, name, content, what):
    with pytest.raises(InputError, match=rf"^cannot read the table '.*{name}': it is {what}"):
        load(file(name, content))


def test_the_content_tells_what_is_compressed(file, tmp_path):
    assert listed(file("t.csv", gzip.compress(b"q,a\nx,1\n"))) == {"q": ["x"], "a": ["1"]}
    assert listed(file("t.csv.gz", "q,a\nx,1\n")) == {"q": ["x"], "a": ["1"]}
    pd.DataFrame({"q": ["x"]}).to_parquet(tmp_path / "p.csv", engine="pyarrow")
    assert listed(tmp_path / "p.csv") == {"q": ["x"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header of column names and rows, found an empty file"),
        ("\n\n", "expected a header of column names and rows, found an empty file"),
        ("\ufeff", "expected a header of column names and rows, found an empty file"),
        ("\0" * 3000, "expected text with a header, found NUL bytes: a damaged file, or one that is no text"),
        ("\n\nq,a\nx,1\n\ny,2,3\n", r"line 6: expected 2 cells in each row, as in the header, received 3; a cell that"),
        ("q,a\nx,1,\ny,2,\n", "expected 2 cells in each row, as in the header, received 3"),
        ('q,a\nx,1\n"y,2\n', r'row 1: expected a cell to end, found the end of the file: a quote " is never closed'),
        ("q" * 150_000 + "\n", "expected a header of column names, found a first line without any delimiter or end"),
    ],
)
def test_texts_that_are_no_tables(file, content, message):
    with pytest.raises(InputError, match=rf"t\.csv'?:? {message}"):
        load(file("t.csv", content))


def test_columns_without_a_name(file):
    assert load(file("t.csv", "q,a,,\nx,1,,\n"))[0].columns.tolist() == ["q", "a", "Unnamed: 2", "Unnamed: 3"]


def test_a_header_of_more_than_64_kib(file):
    names = ["q", "a"] + [f'"c {number:06}, more"' for number in range(9000)]
    frame, _, _ = load(file("t.csv", ",".join(names) + "\n" + ",".join(["x"] * 9002) + "\n"))
    assert frame.columns.tolist() == [name.strip('"') for name in names]


def test_nul_in_a_cell_costs_its_row(file):
    schema = mk.Schema({"q": mk.Text(2)}, {"a": mk.Category()})
    path = file("t.csv", "q,a\nx,1\ny\0z,2\nw,2\n")
    with pytest.raises(InputError, match=r"^t\.csv row 1: 'q': expected UTF-8 text, found other bytes"):
        mk.read(path, schema)
    with pytest.warns(UserWarning, match="1 of 3 rows left out"):
        assert mk.read(path, schema, on_bad="drop", bad_limit=1).values("q").tolist() == ["x", "w"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["q", "q"]), r"^DataFrame: expected columns of different names, received 'q'"),
        (pd.DataFrame([[1, 2]], columns=[0, "0"]), r"^DataFrame: expected columns of different names, received '0'"),
        (
            pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("q", "1"), ("a", "2")])),
            r"^DataFrame: expected one name for each column, received a MultiIndex, .*: frame\.columns = \[",
        ),
        ({"q": ["x"], "a": ["y", "z"]}, "^read: expected a dict of columns of one length, received"),
        ({"q": "x"}, "^read: expected a dict of columns of one length, received"),
        ([["x", "y"]], "^read: expected a path, a DataFrame, a dict of columns or a list of dicts, received"),
        (np.zeros((2, 2)), "^read: expected the path of a table or folder, or a DataFrame, received array"),
        (b"t.csv", "^read: expected the path of a table or folder, or a DataFrame, received b't.csv'$"),
        ("a\0.csv", r"^read: expected the path of a table or folder, received 'a\\x00.csv'$"),
        (type("Table", (), {"to_pandas": None})(), r"received <.*>: give table\.to_pandas\(\)$"),
    ],
)
def test_sources_that_are_refused(source, message):
    with pytest.raises(InputError, match=message):
        load(source)


def test_dicts_lists_and_numbered_columns():
    schema = mk.Schema({"q": mk.Text(2, column=0)}, {"a": mk.Category(column=1)})
    frame = pd.DataFrame([["x", 1], ["y", 2], ["x", 3], ["y", 4]])
    for source in (frame, frame.to_dict("list"), frame.to_dict("records")):
        records = mk.read(source, schema)
        assert records.frame.to_dict("list") == {"0": ["x", "y"] * 2, "1": ["1", "2", "3", "4"]}
    assert schema == mk.Schema({"q": mk.Text(2, column="0")}, {"a": mk.Category(column="1")})
    assert frame.columns.tolist() == [0, 1]
    assert list(records.split({"train": 0.75, "test": 0.25}, group=1)) == ["train", "test"]


def test_a_column_of_words_that_is_empty_in_training():
    schema = mk.Schema({"t": mk.Tabular(["n"], ["c"])}, {"a": mk.Category()})
    records = mk.read({"n": [1, 2, 3], "c": ["", None, "u"], "a": list("xyx"), "s": ["train", "train", "val"]}, schema)
    with pytest.raises(InputError, match="DataFrame: 't': Tabular: expected words in 'c' to fit on, found none"):
        records.split("s")


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
        (pd.to_datetime(["2024-01-02", None]), ["2024-01-02", ""]),
        (pd.to_datetime(["2024-01-02 03:00", None]), ["2024-01-02 03:00:00", ""]),
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
