"""Files are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from mmkeras.files import rename_whole, write_json, write_whole


@pytest.mark.parametrize("content", ["grüße\n", "grüße\n".encode(), lambda file: file.write("grüße\n".encode())])
def test_content_as_text_bytes_or_function(tmp_path, content):
    assert write_whole(str(tmp_path / "a.txt"), content) == tmp_path / "a.txt"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "grüße\n"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_writer_that_wants_a_path(tmp_path):
    write_whole(tmp_path / "a", lambda file: Path(file.name).write_bytes(b"by path"))
    assert (tmp_path / "a").read_bytes() == b"by path"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_the_old_file_stays_and_nothing_else_is_left(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_whole(tmp_path / "a", write)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_errors_of_the_disk_go_through(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "a", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", "text")
    assert os.listdir(tmp_path) == ["folder"]


def test_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_whole(tmp_path / "a", "text")
    assert order[:2] == ["fsync", "replace"]


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "other").write_text("stays")
    (tmp_path / "a").symlink_to(tmp_path / "other")
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "other").read_text() == "stays"
    assert not (tmp_path / "a").is_symlink()


def test_permissions_are_those_of_every_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "a", "")
    write_whole(tmp_path / "b", "", mode=0o755)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a", "b")]
    assert modes == [modes[0], modes[0], 0o755]


def test_long_names(tmp_path):
    name = "ä" * 120
    assert write_json(tmp_path / name, {"a": 1}).read_text() == '{"a": 1}'


def test_a_folder_is_renamed_whole(tmp_path):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_text("text")
    assert rename_whole(tmp_path / "a", tmp_path / "1") == tmp_path / "1"
    assert (tmp_path / "1" / "deep" / "file").read_text() == "text"
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="1"):
        rename_whole(tmp_path / "b", tmp_path / "1")
