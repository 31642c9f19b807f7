"""What `describe` says of series, tables of columns and videos."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import mmkeras as mk
from mmkeras.records import Records
from mmkeras.records.description import describe

TARGETS = {"a": mk.Number()}


def described(feature, limit=1000, **columns):
    """The description of one input, `x`, whose columns are given."""
    frame = pd.DataFrame(columns).astype(object)
    records = Records(mk.Schema(inputs={"x": feature}, targets=TARGETS), frame, "t.csv")
    return describe(records, limit=limit)


def rows(description):
    return description.tables["x"].to_numpy().tolist()


@pytest.fixture
def trace(tmp_path):
    def save(name, content):
        path = tmp_path / name
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_bytes(content)
        return str(path)

    return save


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.zeros(7, "int16"), ["NPY", 7, 1]),
        (np.zeros((7, 3), "float64"), ["NPY", 7, 3]),
        (np.zeros((0, 3)), ["NPY", 0, 3]),
        (b"1\n2\n3\n", ["CSV", 3, 1]),
        (b"1,2\n\n3,4", ["CSV", 2, 2]),
        (b"\xef\xbb\xbftime,value\r\n1,2\r\n3,4\r\n5,\r\n", ["CSV", 3, 2]),
        (b"1;2;3\n", ["CSV", 1, 3]),
    ],
)
def test_series(trace, content, expected):
    path = trace("a.npy" if isinstance(content, np.ndarray) else "a.csv", content)
    assert rows(described(mk.Series(4), x=[path])) == [[path, *expected]]


def test_series_that_cannot_be_read(trace, tmp_path):
    good = trace("good.npy", np.zeros((5, 2)))
    short = trace("short.csv", (tmp_path / "good.npy").read_bytes()[:-1])
    paths = [good, short, trace("cube.npy", np.zeros((2, 2, 2))), trace("words.npy", np.array(["a", "b"]))]
    paths += [trace("empty.csv", b""), trace("text.csv", b"no\nnumbers\n"), trace("odd.csv", b"\xff\xfe\n")]
    description = described(mk.Series(4, 2), x=[*paths, "none.npy", str(tmp_path)])
    assert "9 files: unreadable 8, NPY 1" in str(description)


def test_what_is_said_of_series(trace):
    paths = [trace(f"{steps}.npy", np.zeros((steps, 2))) for steps in (10, 20, 30, 40)]
    text = str(described(mk.Series(20, 2), x=[*paths, *paths[:2]]))
    assert "4 files: NPY 4" in text
    assert "steps: 10 least, 25 median, 40 most; longer than length=20: 50.0%" in text
    assert "channels: 2 (4); the model receives 2" in text
    assert "2 files of 4, evenly spaced" in str(described(mk.Series(20, 2), 2, x=paths))


def test_an_optional_series_that_is_missing(trace):
    path = trace("a.npy", np.zeros(3))
    description = described(mk.Series(4, optional=True), x=[path, "", "", ""])
    assert description.overview.loc["x"].tolist() == ["Series", "x", 4, 3, 1, 1]
    assert "optional: missing in 75.0% of the rows" in str(description)
    assert "missing in" not in str(described(mk.Series(4), x=[path]))


@pytest.mark.parametrize("feature", [mk.Series(4, optional=True), mk.Video(4, 8, 8, optional=True)])
@pytest.mark.parametrize("cells", [["", ""], ["missing", ""], []])
def test_no_file_that_can_be_read(feature, cells):
    description = described(feature, x=cells)
    assert f"{'steps' if isinstance(feature, mk.Series) else 'frames'}: none" in str(description)
    assert description.figure().axes[0].texts[0].get_text() == "none"


@pytest.mark.parametrize(("sizes", "length"), [([5000], 16), ([3], 5000), ([1, 2, 3], 2), ([10, 2000, 90000], 400)])
def test_every_bar_is_wide_enough_to_be_seen(trace, sizes, length):
    paths = [trace(f"{steps}.npy", np.zeros(steps)) for steps in sizes]
    axes = described(mk.Series(length), x=paths).figure().axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == len(sizes)
    assert min(bar.get_width() for bar in axes.patches) > 0.005 * axes.get_xlim()[1]
    assert len(axes.patches) <= 60
    assert axes.texts[0].get_text() == f"length={length}"


@pytest.fixture
def frames(tmp_path):
    def save(name, count, height=6, width=9, **options):
        path = tmp_path / name
        generator = np.random.default_rng(count)  # equal frames would be merged
        pictures = [PIL.Image.fromarray(generator.integers(0, 256, (height, width, 3), "uint8")) for _ in range(count)]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
        return str(path)

    return save


@pytest.mark.parametrize("count", [1, 2, 17])
@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WebP", {}), ("WebP", {"lossless": True})])
def test_animations(frames, kind, options, count):
    path = frames(f"a.{kind.lower()}", count, **options)
    assert PIL.Image.open(path).n_frames == count
    assert rows(described(mk.Video(4, 8, 8), x=[path])) == [[path, kind, count, 6, 9]]


def test_a_gif_with_comments_and_palettes_of_its_own(tmp_path):
    big = [PIL.Image.effect_noise((300, 200), 90).convert("P", palette=PIL.Image.Palette.ADAPTIVE) for _ in range(3)]
    big[0].save(tmp_path / "a.gif", save_all=True, append_images=big[1:], comment=b"c" * 700, loop=0)
    assert rows(described(mk.Video(4, 8, 8), x=[str(tmp_path / "a.gif")]))[0][1:] == ["GIF", 3, 200, 300]


def test_videos_of_arrays_and_folders(tmp_path, trace):
    (tmp_path / "folder").mkdir()
    for number in range(12):
        PIL.Image.new("RGB", (7, 5)).save(tmp_path / "folder" / f"{number:03}.{'png' if number % 2 else 'JPG'}", "PNG")
    (tmp_path / "folder" / "readme.txt").write_text("no picture")
    (tmp_path / "folder" / "._hidden.png").write_bytes(b"")
    paths = [trace("a.npy", np.zeros((4, 5, 6, 3), "uint8")), trace("b.npy", np.zeros((4, 5, 6), "uint8"))]
    found = rows(described(mk.Video(4, 8, 8), x=[*paths, str(tmp_path / "folder"), f"file://{tmp_path}/folder"]))
    assert [row[1:] for row in found] == [["NPY", 4, 5, 6]] * 2 + [["folder", 12, 5, 7]] * 2


def test_videos_that_cannot_be_read(tmp_path, trace, frames):
    gif, webp = (Path(frames(name, 5)).read_bytes() for name in ("a.gif", "a.webp"))
    (tmp_path / "empty").mkdir()
    paths = [trace("short.gif", gif[: len(gif) // 2]), trace("short.webp", webp[:-30]), trace("head.gif", gif[:12])]
    paths += [trace("flat.npy", np.zeros((4, 5))), trace("five.npy", np.zeros((1, 1, 1, 1, 1))), trace("no.mp4", b"no")]
    paths += [trace("none.gif", gif[:10] + b"\0\0\0;"), str(tmp_path / "empty"), "missing.gif", "file:///missing.gif"]
    pytest.importorskip("av")  # without it, whatever is of no other kind may be a video
    assert str(described(mk.Video(4, 8, 8), x=paths)).count("10 files: unreadable 10") == 1


def test_mp4(tmp_path):
    av = pytest.importorskip("av")
    for name, count in (("a.mp4", 6), ("b.mkv", 9)):  # the latter does not say how many frames it has
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
            for _ in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), "uint8"))))
            container.mux(stream.encode())
    found = rows(described(mk.Video(4, 8, 8), x=[str(tmp_path / "a.mp4"), str(tmp_path / "b.mkv")]))
    assert [row[1:] for row in found] == [["MP4", 6, 16, 32], ["MKV", 9, 16, 32]]


def test_mp4_without_pyav(trace, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    description = described(mk.Video(4, 8, 8), x=[trace("a.mp4", b"\0\0\0\x20ftypisom")])
    assert "1 files: unread (needs mmkeras[video]) 1\n   frames: none" in str(description)


def test_what_is_said_of_videos(frames):
    paths = [frames(f"{count}.gif", count, height=count) for count in (2, 4, 6)]
    description = described(mk.Video(4, 8, 8), x=[*paths, ""])
    assert "3 files: GIF 3" in str(description)
    assert "frames: 2 least, 4 median, 6 most; more than frames=4: 33.3%" in str(description)
    assert "2 x 9 smallest, 4 x 9 median, 6 x 9 largest; the model receives 8 x 8" in str(description)
    assert description.figure().axes[0].get_title(loc="left") == "x: frames of videos"


COLUMNS = {
    "age": ["1", "", "3", "old", "inf"],
    "size": ["", "", "2", "2", "1_0"],
    "city": ["Bern", "", "Zug", "Bern", "Genf"],
}


def test_columns():
    description = described(mk.Tabular(["age", "size"], ["city"], optional=True), **COLUMNS)
    assert description.overview.loc["x"].tolist() == ["Tabular", "age, ... (3)", 5, 1, 4, 4]
    table = description.tables["x"].set_index("column")
    assert table.loc["age"].iloc[:8].tolist() == ["numeric", 5, 1, 2, 1, 2, 3, 4]
    assert table.loc["size", ["holes", "not_numbers", "least", "mean", "most"]].tolist() == [2, 1, 2, 2, 2]
    assert table.loc["city", ["kind", "holes", "distinct", "frequent", "share"]].tolist() == [
        "categorical", 1, 3, "Bern", 0.5,
    ]  # fmt: skip
    assert table["outside"].isna().all()
    text = str(description)
    assert "columns: 2 of numbers, 1 of words; holes: 26.7%" in text
    assert "age    20.0% holes  1 least, 2 mean, 3 most; not numbers: 2" in text
    assert "city   20.0% holes  3 different words; most frequent 'Bern', 50.0%\n" in text
    assert "optional: missing in 20.0% of the rows" in text


def test_words_outside_of_the_vocabulary():
    feature = mk.Tabular([], ["city", "none"], vocabularies=[["Bern"], ["a"]])
    description = described(feature, city=COLUMNS["city"], none=[""] * 5)
    assert description.tables["x"]["outside"].tolist() == [0.5, 0]
    assert "most frequent 'Bern', 50.0%; outside the vocabulary: 50.0%" in str(description)


def test_cells_that_are_no_strings():
    feature = mk.Tabular(["n"], ["w"])
    frame = pd.DataFrame({"n": [1, None, 2.5], "w": [True, None, False], "a": [1.0, 2.0, 3.0]})
    records = Records(mk.Schema(inputs={"x": feature}, targets=TARGETS), frame[["n", "w"]], "t.csv")
    table = describe(records).tables["x"]
    assert table["holes"].tolist() == [1, 1]
    assert table.loc[0, ["least", "most"]].tolist() == [1, 2.5]


def test_a_table_without_one_of_the_columns():
    schema = mk.Schema(inputs={"q": mk.Text(3), "x": mk.Tabular(["n", "m"])}, targets=TARGETS)
    assert list(describe(Records(schema, pd.DataFrame({"q": ["a"], "n": ["1"]}), "t")).tables) == ["q"]


def test_bars_of_columns():
    axes = described(mk.Tabular(["age", "size"], ["city"], vocabularies=[["Bern"]]), **COLUMNS).figure().axes[0]
    known, strange, holes = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert known == pytest.approx([0.4, 0.4, 0.4])
    assert strange == pytest.approx([0.4, 0.2, 0.4])
    assert holes == pytest.approx([0.2, 0.4, 0.2])
    assert [label.get_text() for label in axes.get_yticklabels()] == list(COLUMNS)
    notes = [text.get_text() for text in axes.texts]
    assert notes == ["20.0% holes, 1 to 3", "40.0% holes, always 2", "20.0% holes, 3 words"]


def test_of_many_columns_those_with_the_most_holes_are_shown():
    names = [f"the number {number} of many columns" for number in range(30)]
    cells = {name: [""] * number + ["1"] * (30 - number) for number, name in enumerate(names)}
    description = described(mk.Tabular(names), **cells)
    assert str(description).endswith("... and 18 more, with no more holes")
    axes = description.figure().axes[0]
    assert axes.get_title(loc="left") == "x: cells of 12 of 30 columns"
    assert [label.get_text() for label in axes.get_yticklabels()][::11] == ["the number …many columns"] * 2
    assert axes.texts[0].get_text().startswith("60.0% holes")


@pytest.mark.parametrize("count", [0, 4])
def test_columns_without_any_value(count):
    description = described(mk.Tabular(["n"], ["w"], optional=True), n=[""] * count, w=[""] * count)
    assert description.overview.loc["x"].tolist() == ["Tabular", "n, ... (2)", count, count, 0, 0]
    assert "holes  none" in str(description)
    assert "0 different words" in str(description)
    assert description.figure().axes


def test_all_kinds_at_once(trace, frames):
    inputs = {"x": mk.Series(4), "v": mk.Video(4, 8, 8), "q": mk.Text(3), "n": mk.Tabular(["n1", "n2"])}
    schema = mk.Schema(inputs=inputs, targets={"t": mk.Labels(), "y": mk.Number(), "c": mk.Category()})
    values = {"x": trace("a.npy", np.zeros(9)), "v": frames("a.gif", 3), "q": "a b", "n1": "1", "n2": "2"}
    frame = pd.DataFrame([values | {"t": "a|b", "y": "3", "c": "d"}] * 3, dtype=object)
    description = describe(Records(schema, frame, "t.csv"))
    assert list(description.tables) == list(schema.parts)
    assert len(description.figure().axes) == 7
    assert description.overview["distinct"].tolist() == [1] * 7
