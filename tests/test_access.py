"""What a table may have opened: the rules of `read`, at every place where a file is opened."""

import bz2
import gzip
import lzma
import os
import socket

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.pipeline import readable

PICTURES = mk.Schema({"p": mk.Image(4, 4)}, {"a": mk.Category(["x", "y"])})
TRACES = mk.Schema({"p": mk.Series(3, 2, means=[0, 0], std=[1, 1])}, {"a": mk.Category(["x", "y"])})
KINDS = {
    "picture": mk.Image(4, 4),
    "sound": mk.Audio(8000, 0.1),
    "trace": mk.Series(3, 2, means=[0, 0], std=[1, 1]),
    "film": mk.Video(2, 4, 4),
}
PNG = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()


@pytest.fixture
def place(tmp_path):
    """A table's folder with a picture, and a picture outside of it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").write_bytes(PNG)
    (tmp_path / "out.png").write_bytes(PNG)
    return tmp_path / "in"


def table(place, *cells, schema=PICTURES, **options):
    (place / "t.csv").write_text("p,a\n" + "".join(f"{cell},x\n" for cell in cells))
    return mk.read(place / "t.csv", schema, **options)


def outside(place):
    """Ways out of the table's folder, each to a picture that is there."""
    (place / "link.png").symlink_to(place.parent / "out.png")
    (place / "folder").symlink_to(place.parent)
    (place / "chain.png").symlink_to(place / "link.png")
    there = place.parent / "out.png"
    return ["../out.png", there, "link.png", "chain.png", "folder/out.png", "x/../../out.png", f"file://{there}"]


def test_confined_tables_name_nothing_outside_of_their_folder(place):
    (place / "x").mkdir()
    (place / "same.png").symlink_to(place / "good.png")
    ways = outside(place)
    for way in ways:
        with pytest.raises(InputError, match=r"t\.csv row 0: 'p': outside of the table's folder, which confine=True"):
            table(place, way, confine=True, urls=True)
    with pytest.warns(UserWarning, match="7 of 9 rows left out"):
        records = table(place, "good.png", "same.png", *ways, confine=True, on_bad="drop", bad_limit=1)
    assert len(records) == 2
    assert len(records.ledger) == 7
    assert len(table(place, *ways, urls=True)) == 7


def test_rules_hold_for_the_working_directory_of_a_dataframe(place, monkeypatch):
    monkeypatch.chdir(place)
    frame = pd.DataFrame({"p": ["good.png"], "a": ["x"]})
    assert len(mk.read(frame, PICTURES, confine=True)) == 1
    with pytest.raises(InputError, match="outside of the table's folder"):
        mk.read(frame.replace("good.png", "../out.png"), PICTURES, confine=True)


def test_urls_have_to_be_allowed(place):
    url = f"file://{place}/../out.png"
    with pytest.raises(InputError, match=r"'p': a URL, which needs read\(\.\.\., urls=True\)"):
        table(place, url)
    records = table(place, f"file://{place}/good.png", url, urls=True, check="decode")
    assert records.values("p").tolist() == [f"{place}/good.png", f"{place}/../out.png"]
    for cell in ("http://x.org/a.png", "HTTPS://x.org/a.png"):
        with pytest.raises(InputError, match=r"'p': https? is never read: download the files, and name their paths"):
            table(place, cell, urls=True)
    for cell in ("s3://bucket/a.png", "nope://a"):
        with pytest.raises(InputError, match=r"'p': (s3|nope):// is not read here, only .*file, gs, ram"):
            table(place, cell, urls=True)
    with pytest.warns(UserWarning, match="2 of 3 rows left out"):
        assert len(table(place, "good.png", "s3://a", "http://a", urls=True, on_bad="drop", bad_limit=1)) == 1
    with pytest.raises(InputError, match=r"cannot read the table 'https://x/t\.csv': https is never read"):
        mk.read("https://x/t.csv", PICTURES)
    with pytest.raises(InputError, match=r"cannot read the table 's3://x/t\.csv': s3:// is not read here"):
        mk.read("s3://x/t.csv", PICTURES)


def test_a_table_behind_a_url_names_files_of_its_own_folder():
    for name in ("confined/in/good.png", "confined/out.png"):
        tf.io.gfile.makedirs(f"ram://{os.path.dirname(name)}")
        with tf.io.gfile.GFile(f"ram://{name}", "wb") as file:
            file.write(PNG)

    def remote(cell, **options):
        if tf.io.gfile.exists("ram://confined/in/t.csv"):
            tf.io.gfile.remove("ram://confined/in/t.csv")  # it would be appended to
        with tf.io.gfile.GFile("ram://confined/in/t.csv", "w") as file:
            file.write(f"p,a\n{cell},x\n")
        return mk.read("ram://confined/in/t.csv", PICTURES, **options)

    assert len(remote("good.png", confine=True, check="decode")) == 1
    assert len(remote("ram://confined/in/good.png", confine=True)) == 1
    assert len(remote("ram://confined/out.png", urls=True)) == 1
    for cell in ("../out.png", "ram://confined/out.png", "ram://confined/in/../out.png", "/etc/hostname"):
        with pytest.raises(InputError, match="outside of the table's folder"):
            remote(cell, confine=True, urls=True)
    with pytest.raises(InputError, match="a URL, which needs"):
        remote("ram://confined/out.png")
    with pytest.raises(InputError, match="a file of 69 bytes, more than max_bytes=50"):
        remote("ram://confined/in/good.png", max_bytes=50)


@pytest.mark.parametrize("name", KINDS)
def test_regular_files_alone_are_read(place, name):
    """A FIFO hangs, /dev/zero grows without end; each costs its row, at every place."""
    schema = mk.Schema({"p": KINDS[name]}, {"a": mk.Category(["x", "y"])})
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "socket"))
    (place / "zero").symlink_to("/dev/zero")
    cells = ["fifo", "socket", "zero", "/dev/zero", "/dev/stdin", "file:///dev/zero", f"file://{place}/fifo"]
    cells += ["/proc/self/environ", "/proc/kcore", "/sys/kernel/notes", "/proc/self/mem", "no"]
    with pytest.warns(UserWarning, match="12 of 12 rows left out"):
        records = table(place, *cells, schema=schema, urls=True, on_bad="drop", bad_limit=1)
    said = dict(zip(records.ledger["value"], records.ledger["reason"], strict=True))
    assert len(said) == 12
    assert said["fifo"].startswith("is not a file")
    assert said["file:///dev/zero"].startswith("is not a file")
    assert said["/proc/self/environ"].startswith("a file of the system, which is on no disk")


@pytest.mark.parametrize("name", KINDS)
def test_rules_hold_long_after_reading(place, name):
    """A good file whose place another thing takes later: decoded, described, explained and sent, it is not opened."""
    schema = mk.Schema({"p": KINDS[name]}, {"a": mk.Category(["x", "y"])})
    outside(place)
    (place / "a").write_bytes(PNG)
    (place / "b").write_bytes(PNG)
    (place / "c").write_bytes(PNG)
    options = {"on_bad": "drop", "bad_limit": 1, "confine": True, "max_bytes": 10_000}
    records = table(place, "a", "b", "c", schema=schema, **options)
    for path in "abc":
        (place / path).unlink()
    os.mkfifo(place / "a")
    (place / "b").symlink_to(place.parent / "out.png")
    (place / "c").write_bytes(b"\0" * 10_001)
    assert records.allowed("p").tolist() == ["", "", ""]
    assert records.describe().tables["p"].iloc[:, 1].tolist() == ["unreadable"] * 3
    with pytest.warns(UserWarning, match="3 of 3 rows left out"):
        assert len(readable(records.take([0, 1, 2]))) == 0
    reasons = records.ledger["reason"].tolist()
    assert reasons[0] == "is not a file"
    assert reasons[1].startswith("outside of the table's folder")
    assert reasons[2] == "a file of 10,001 bytes, more than max_bytes=10,000"


def test_shards_and_combined_tables_obey(place):
    (place / "later.png").write_bytes(PNG)
    records = table(place, "good.png", "later.png", confine=True, on_bad="drop", bad_limit=0.5)
    other = table(place, "good.png", confine=True, on_bad="drop", bad_limit=0.5)
    both = mk.combine({"one": records, "two": other})
    with pytest.raises(InputError, match="read alike, received confine=True in 'one' and False in 'two'"):
        mk.combine({"one": records, "two": table(place, "good.png", on_bad="drop", bad_limit=0.5)})
    (place / "later.png").unlink()
    (place / "later.png").symlink_to(place.parent / "out.png")
    with pytest.warns(UserWarning, match="rows left out"):
        assert len(mk.write_shards(records, place.parent / "shards", shards=1)) == 1
    with pytest.warns(UserWarning, match="rows left out"):
        assert sum(len(x["p"]) for x in mk.batches(both, 8, targets=False)) == 2


def test_folders_of_pictures_are_confined_picture_by_picture(place):
    film = mk.Schema({"p": mk.Video(2, 4, 4)}, {"a": mk.Category(["x", "y"])})
    (place / "frames").mkdir()
    (place / "frames" / "0.png").write_bytes(PNG)
    assert len(table(place, "frames", schema=film, confine=True, check="decode")) == 1
    (place / "frames" / "1.png").symlink_to(place.parent / "out.png")
    with pytest.raises(InputError, match=r"'p': '1.png' in it is outside of the table's folder: confine=True"):
        table(place, "frames", schema=film, confine=True)
    assert len(table(place, "frames", schema=film, check="decode")) == 1
    with open(place / "frames" / "2.png", "wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match=r"'p': '2.png' in it: a file of 2,147,483,648 bytes, more than max_bytes"):
        table(place, "frames", schema=film)


@pytest.mark.parametrize("name", KINDS)
def test_large_files_are_refused_before_they_are_read(place, name):
    schema = mk.Schema({"p": KINDS[name]}, {"a": mk.Category(["x", "y"])})
    with open(place / "large", "wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(InputError, match="'p': a file of 10,737,418,240 bytes, more than max_bytes=1,073,741,824"):
        table(place, "large", schema=schema, check="decode")
    with pytest.raises(InputError, match=r"2,147,483,647|cannot decode|channels|steps|numbers|video|characters|FFmpeg"):
        table(place, "large", schema=schema, check="decode", max_bytes=2**40)


def test_what_unpacks_to_more_is_refused(place):
    """A table of 2 MB of gzip, a Parquet file of one long value in many rows, a trace of one long line, a header of an
    array that is not there."""
    for suffix, pack in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        (place / f"t.csv{suffix}").write_bytes(pack(b"p,a\n" + b"good.png,x\n" * 2**17))
        with pytest.raises(InputError, match=r"unpacks to more than max_bytes=1,000,000; read\(\.\.\., max_bytes"):
            mk.read(place / f"t.csv{suffix}", PICTURES, max_bytes=10**6)
    pd.DataFrame({"p": ["good.png" + "/" * 10**5] * 500, "a": "x"}).to_parquet(place / "t.parquet")
    assert os.path.getsize(place / "t.parquet") < 10**6
    with pytest.raises(InputError, match="unpacks to more than max_bytes=10,000,000"):
        mk.read(place / "t.parquet", PICTURES, max_bytes=10**7)
    with pytest.raises(InputError, match=r"a file of .* bytes, more than max_bytes=1,000"):
        mk.read(place / "t.csv.gz", PICTURES, max_bytes=1000)
    (place / "line").write_bytes(b"1," * 2**21)
    (place / "array").write_bytes(
        b"\x93NUMPY\1\0\x76\0"
        + f"{ {'descr': '<f8', 'fortran_order': False, 'shape': (2**60, 2)} }".ljust(117).encode()
        + b"\n"
    )
    (place / "nested").write_bytes(b"\x93NUMPY\1\0\x76\0" + b"(" * 117 + b"\n")
    with pytest.warns(UserWarning, match="3 of 3 rows left out"):
        records = table(place, "line", "array", "nested", schema=TRACES, check="decode", on_bad="drop", bad_limit=1)
    line, array, nested = records.ledger["reason"]
    assert line == "expected lines of at most 1,048,576 characters, found a longer one: line 1"
    assert array.startswith("expected 18,446,744,073,709,551,616 bytes of an array")
    assert "header" in nested or "parse" in nested.lower()
    assert (
        table(place, "line", "array", "nested", schema=TRACES).describe().tables["p"]["kind"].tolist()
        == ["unreadable"] * 3
    )


def test_recordings_of_endless_silence_are_refused(place, monkeypatch):
    monkeypatch.setattr("mmkeras.decode.audio.LONGEST", 10**5)
    soundfile.write(place / "long.flac", np.zeros(2 * 10**5), 8000)
    sound = mk.Schema({"p": KINDS["sound"]}, {"a": mk.Category(["x", "y"])})
    with pytest.raises(InputError, match=r"expected a recording|expected at most 100,000 samples, found 200,000"):
        table(place, "long.flac", schema=sound, check="decode")


def test_options_are_checked(place):
    with pytest.raises(InputError, match="read: expected confine to be True or False, received 1"):
        table(place, "good.png", confine=1)
    with pytest.raises(InputError, match="read: expected max_bytes to be a whole number above 0, received 0"):
        table(place, "good.png", max_bytes=0)
