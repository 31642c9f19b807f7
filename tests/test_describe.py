import io
import struct
import sys
import wave
import zlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import soundfile

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.records import Records
from mmkeras.records.description import describe

KINDS = ["Image", "Text", "Audio", "Category"]
CLASSES = mk.Schema(inputs={"q": mk.Text(3)}, targets={"a": mk.Category()})
PICTURES = mk.Schema(inputs={"p": mk.Image(4, 4)}, targets={"a": mk.Category()})
SOUNDS = mk.Schema(inputs={"s": mk.Audio(8000, 0.5)}, targets={"a": mk.Category()})


def described(schema=CLASSES, **columns):
    frame = pd.DataFrame(columns).astype(object)
    return describe(Records(schema, frame, "t.csv"))


def described_files(schema, paths):
    name = next(iter(schema.inputs))
    return described(schema, **{name: [str(path) for path in paths], "a": ["x"] * len(paths)})


@pytest.fixture
def picture(tmp_path):
    def save(name, width, height, mode="RGB", orientation=None, **options):
        if orientation:
            options["exif"] = PIL.Image.Exif()
            options["exif"][0x010F], options["exif"][0x0112] = "the maker", orientation
        PIL.Image.new(mode, (width, height)).save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_overview_counts_rows_holes_and_distinct_values():
    found = described(q=["a b", "", "a b", "c"], a=["x", "y", "", ""]).overview
    assert found.loc["q"].tolist() == ["Text", "q", 4, 1, 2, 2]
    assert found.loc["a"].tolist() == ["Category", "a", 4, 2, 2, 2]


def test_classes():
    description = described(q=["a"] * 7, a=["y", "x", "x", "", "z", "x", "y"])
    table = description.tables["a"]
    assert table[["label", "rows"]].to_numpy().tolist() == [["x", 3], ["y", 2], ["z", 1]]
    assert table["share"].tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    assert "a  3 classes; most frequent 'x', 50.0%; fewer than 2 rows: 'z' (1)" in str(description)


def test_classes_that_are_given():
    schema = mk.Schema(inputs=CLASSES.inputs, targets={"a": mk.Category(["x", "never", "y"])})
    description = described(schema, q=["a"] * 4, a=["x", "x", "odd", "odd"])
    assert dict(description.tables["a"][["label", "rows"]].to_numpy()) == {"x": 2, "odd": 2, "never": 0, "y": 0}
    assert "fewer than 2 rows: 'never', 'y' (2)" in str(description)
    assert "outside the schema's classes: 'odd' (1)" in str(description)


def test_many_classes_are_cut_short():
    assert str(described(q=["a"] * 40, a=[str(number // 2) for number in range(40)])).endswith("... and 8 more")


def test_words():
    texts = ["What's  this?", "", "one two three four", "this", "what's this?"]
    description = described(q=texts, a=["x"] * 5)
    nothing = {"left_out": [0] * 4, "one_word": [False] * 4}
    assert description.tables["q"].to_dict("list") == {"words": [2, 4, 1, 2]} | nothing
    assert "words in a text: 1 least, 2 median, 4 95 %, 4 most" in str(description)
    assert "longer than length=3: 25.0% of the texts" in str(description)
    assert "vocabulary" not in str(description)


def test_words_outside_the_vocabulary():
    schema = mk.Schema(inputs={"q": mk.Text(3, ["this", "one"])}, targets=CLASSES.targets)
    description = described(schema, q=["this new", "one two THREE", "...", "this new"], a=["x"] * 4)
    nothing = {"left_out": [0] * 4, "one_word": [False] * 4}
    assert description.tables["q"].to_dict("list") == {"words": [2, 3, 0, 2], "outside": [1, 2, 0, 1]} | nothing
    assert "outside the vocabulary of 2: 57.1% of the words" in str(description)


def test_texts_in_pieces(monkeypatch):
    monkeypatch.setattr("mmkeras.records.description.text.CHUNK", 2)
    schema = mk.Schema(inputs={"q": mk.Text(3, ["a"])}, targets=CLASSES.targets)
    texts = ["a b c", "a", "", "b c", "d e f g", "a a"]
    table = described(schema, q=texts, a=["x"] * 6).tables["q"]
    assert table[["words", "outside"]].to_numpy().tolist() == [[3, 2], [1, 0], [2, 2], [4, 4], [2, 0]]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.jpg", "JPEG", {}),
        ("a.png", "JPEG", {"format": "JPEG", "progressive": True, "mode": "L"}),  # the name lies
        ("a.png", "PNG", {"mode": "RGBA"}),
        ("a.gif", "GIF", {"mode": "P"}),
        ("a.bmp", "BMP", {}),
        ("a.webp", "WebP", {}),
        ("a.webp", "WebP", {"lossless": True}),
        ("a.webp", "WebP", {"mode": "RGBA", "orientation": 6}),  # the extended header
    ],
)
@pytest.mark.parametrize("size", [(300, 70), (1, 257)])
def test_pictures(picture, name, kind, options, size):
    path = picture(name, *size, **options)
    row = [str(path), kind, size[1], size[0], options.get("orientation", 1)]
    assert described_files(PICTURES, [path]).tables["p"].to_numpy().tolist() == [row]


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation(picture, order, orientation):
    plain = picture("a.jpg", 5, 6).read_bytes()
    mark = {"II": "<", "MM": ">"}[order]
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(mark + "HH", orientation, 0))]
    tiff = order.encode() + struct.pack(mark + "HIH", 42, 8, 2)
    tiff += b"".join(struct.pack(mark + "HHI", *entry[:3]) + entry[3] for entry in entries) + b"\0" * 4
    path, segment = picture("b.jpg", 5, 6), b"Exif\0\0" + tiff
    path.write_bytes(plain[:2] + b"\xff\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
    assert PIL.Image.open(path).getexif()[0x0112] == orientation
    description = described_files(PICTURES, [path])
    assert description.tables["p"]["orientation"].tolist() == [orientation]
    assert f"EXIF orientation other than 1: {int(orientation != 1)}" in str(description)


def test_broken_exif_costs_the_orientation_alone(picture):
    path = picture("a.jpg", 5, 6, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    assert described_files(PICTURES, [path]).tables["p"].iloc[0, 1:].tolist() == ["JPEG", 6, 5, 1]


def test_unreadable_files_are_counted(picture, tmp_path):
    good = picture("a.png", 5, 6)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "bm.bmp").write_text("BM")
    (tmp_path / "short.png").write_bytes(good.read_bytes()[:20])
    (tmp_path / "short.jpg").write_bytes(picture("b.jpg", 5, 6).read_bytes()[:30])
    paths = [good, *(tmp_path / name for name in ("text.png", "short.png", "short.jpg", "bm.bmp", "none.png"))]
    assert "6 files: unreadable 5, PNG 1" in str(described_files(PICTURES, paths))


def test_pictures_of_any_size_are_told_quietly(picture, recwarn):
    """Pillow warns of large pictures, and refuses very large ones; their headers are read all the same."""
    path, most = picture("a.png", 5, 6), PIL.Image.MAX_IMAGE_PIXELS
    raw = bytearray(path.read_bytes())
    raw[16:24] = struct.pack(">II", 60_000, 50_000)
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    path.write_bytes(raw)
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(path)
    assert described_files(PICTURES, [path]).tables["p"].iloc[0, 1:].tolist() == ["PNG", 50_000, 60_000, 1]
    assert most == PIL.Image.MAX_IMAGE_PIXELS
    assert not recwarn


def test_sizes_of_pictures(picture):
    paths = [picture(f"{width}.png", width, height) for width, height in ((9, 9), (100, 1), (2, 3))]
    assert "height x width: 3 x 2 smallest, 9 x 9 median, 1 x 100 largest" in str(described_files(PICTURES, paths))


def test_a_sample_is_evenly_spaced_and_said(picture):
    paths = [str(picture(f"{number}.png", 1 + number, 2)) for number in range(9)]
    records = mk.read(pd.DataFrame({"p": paths * 2, "a": ["x", "y"] * 9}), PICTURES)
    description = describe(records, limit=3)
    assert description.tables["p"]["width"].tolist() == [1, 5, 9]
    assert description.overview.loc["p", ["distinct", "looked_at"]].tolist() == [9, 3]
    assert "3 files of 9, evenly spaced: PNG 3" in str(description)
    assert "evenly" not in str(describe(records, limit=9))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
def test_limits_that_are_refused(limit, keypad_splits):
    with pytest.raises(InputError, match=r"^describe: expected limit to be a whole number above 0, received "):
        describe(keypad_splits["train"], limit=limit)


SUBTYPES = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]


@pytest.mark.parametrize(("kind", "subtype"), SUBTYPES)
def test_recordings(tmp_path, kind, subtype):
    soundfile.write(tmp_path / f"a.{kind}", np.zeros((4000, 2)), 16000, subtype)
    description = described_files(SOUNDS, [tmp_path / f"a.{kind}"])
    assert description.tables["s"].iloc[0, 1:].tolist() == [kind, 16000, 2, 0.25]
    text = f"1 files: {kind} 1\n   seconds: 0.25 least, 0.25 median, 0.25 most; longer than seconds=0.5: 0.0%\n"
    assert f"{text}   Hz: 16000 (1)\n" in str(description)


def test_a_wav_stream_and_a_chunk_of_odd_size(tmp_path):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000))
    raw = content.getvalue()
    odd = raw[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + b"\xff" * 4 + raw[44:]
    (tmp_path / "a.wav").write_bytes(odd)
    (tmp_path / "no_data.wav").write_bytes(raw[:36])
    (tmp_path / "no_fmt.wav").write_bytes(raw[:12] + raw[36:])
    (tmp_path / "zeros.wav").write_bytes(raw[:20] + bytes(16) + raw[36:])
    paths = [tmp_path / name for name in ("a.wav", "no_data.wav", "no_fmt.wav", "zeros.wav")]
    table = described_files(SOUNDS, paths).tables["s"]
    assert table["seconds"].tolist()[0] == 0.5
    assert table["kind"].tolist() == ["WAV", *["unreadable"] * 3]


def test_labels_and_numbers():
    schema = mk.Schema(inputs=CLASSES.inputs, targets={"t": mk.Labels(), "n": mk.Number(unit="kg")})
    description = described(schema, q=["a"] * 4, t=["x| y", "y", "|", ""], n=["1", "2.5", "", "4"])
    assert dict(description.tables["t"][["label", "rows"]].to_numpy()) == {"y": 2, "x": 1}
    assert "most frequent 'y', 66.7%" in str(description)
    assert "kg: 1 least, 2.5 median, 4 most" in str(description)
    assert len(description.figure().axes) == 3


def test_a_table_without_targets_and_one_without_rows(keypad_splits):
    records = mk.read(pd.DataFrame({"q": ["a"]}), CLASSES, targets=False)
    assert list(describe(records).tables) == ["q"]
    empty = describe(keypad_splits["train"].take([]))
    assert "seconds: none" in str(empty)
    assert len(empty.figure().axes) == 4


def test_the_whole(keypad_splits):
    description = describe(keypad_splits["train"])
    lines = str(description).splitlines()
    assert lines[0] == f"manifest.csv: {len(keypad_splits['train'])} rows"
    assert [lines[2].index("kind")] * 4 == [line.index(kind) for line, kind in zip(lines[3:7], KINDS, strict=True)]
    assert len({len(line) for line in lines[2:7]}) == 1
    assert repr(description) == str(description)
    assert max(map(len, lines)) < 120


def test_figure(keypad_splits):
    records = keypad_splits["train"]
    description = describe(records)
    figure = description.figure()
    pictures, question, audio, answer = figure.axes
    table = description.tables["answer"]
    assert [bar.get_width() for bar in answer.patches][:12] == table["rows"].tolist()[:12]
    assert sum(bar.get_width() for bar in answer.patches) == sum(bar.get_height() for bar in question.patches)
    assert sum(bar.get_height() for bar in audio.patches) == len(description.tables["audio"])
    assert pictures.collections[0].get_offsets().tolist() == [[8, 8]]
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == list(records.schema.parts)


def test_figure_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(InputError, match=r"matplotlib.*pip install \"mmkeras\[notebooks\]\"$"):
        described(q=["a"], a=["x"]).figure()
