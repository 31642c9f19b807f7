"""Files are written whole or not at all."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mmkeras.errors import InputError
from mmkeras.files import one_at_a_time, private_folder, rename_whole, write_json, write_whole


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


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "other").write_text("old")
    (tmp_path / "b").symlink_to(tmp_path / "disk" / "other")
    (tmp_path / "a").symlink_to("b")
    assert write_whole(tmp_path / "a", "new") == tmp_path / "a"
    assert (tmp_path / "disk" / "other").read_text() == "new"
    assert os.readlink(tmp_path / "a") == "b"
    (tmp_path / "c").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="a link to nothing"):
        write_whole(tmp_path / "c", "new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "disk"]
    assert os.listdir(tmp_path / "disk") == ["other"]


def test_a_pipe_or_a_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null"):
        with pytest.raises(OSError, match="a pipe or a device, not a file"):
            write_whole(path, "text")
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_permissions_are_those_of_every_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "a", "")
    write_whole(tmp_path / "b", "", mode=0o755)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a", "b")]
    assert modes == [modes[0], modes[0], 0o755]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(mode)

    def write(file):  # nor may anybody else read it meanwhile
        assert os.fstat(file.fileno()).st_mode & 0o777 & ~mode == 0
        file.write(b"new")

    write_whole(tmp_path / "a", write)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path):
    (tmp_path / "a").write_text("best")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "best"


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


# killed, and two at once ---------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from mmkeras.files import one_at_a_time, private_folder, write_whole
folder = Path(sys.argv[1])
with one_at_a_time(folder, ""), private_folder(folder, ".unfinished-") as private:
    (private / "half").write_text("half")
    write_whole(folder / "a", lambda file: (file.write(b"half"), print("ready", flush=True), sys.stdin.read()))
"""


@pytest.fixture
def at_work(tmp_path):
    """A process in the midst of writing the file "a", and something of the user that looks like ours."""
    (tmp_path / "a").write_text("old")
    (tmp_path / ".a.thesis.part").write_text("mine")
    (tmp_path / ".unfinished-thesis_1").mkdir()
    (tmp_path / ".unfinished-thesis_1" / "work").write_text("mine")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def write_all(folder):
    with one_at_a_time(folder, "tune: "), private_folder(folder, ".unfinished-") as private:
        assert os.listdir(private) == []
        assert private.parent.stat().st_mode & 0o777 == 0o700
    write_whole(folder / "a", "new")


MINE = [".a.thesis.part", ".unfinished-thesis_1", "a"]


def test_what_a_killed_process_left_is_removed_by_the_next(at_work, tmp_path):
    at_work.send_signal(signal.SIGKILL)
    at_work.wait()
    assert len(os.listdir(tmp_path)) == len(MINE) + 3  # a part, a folder, a lock
    write_all(tmp_path)
    assert sorted(os.listdir(tmp_path)) == MINE
    assert (tmp_path / ".unfinished-thesis_1" / "work").read_text() == "mine"


def test_what_a_running_process_writes_stays(at_work, tmp_path):
    found = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=rf"^tune: another process is at work in .* \(process {at_work.pid} on "):
        write_all(tmp_path)
    with private_folder(tmp_path, ".unfinished-"):
        pass
    write_whole(tmp_path / "a", "of another")
    assert found.items() - {(tmp_path / "a", found[tmp_path / "a"])} <= {
        (path, path.lstat().st_ino) for path in tmp_path.rglob("*")
    }
    at_work.communicate("")
    assert at_work.returncode == 0
    assert sorted(os.listdir(tmp_path)) == MINE
    assert (tmp_path / "a").read_text() == "half"  # the last that finished


def test_a_planted_link_is_no_folder_of_ours(tmp_path):
    (tmp_path / "thesis" / "work").mkdir(parents=True)
    (tmp_path / "thesis" / ".mmkeras.lock").write_text("")
    (tmp_path / "mmkeras-aaaaaaaa").symlink_to(tmp_path / "thesis")
    with private_folder(tmp_path):
        pass
    assert (tmp_path / "thesis" / "work").is_dir()
    (tmp_path / "thesis" / ".mmkeras.lock").unlink()
    (tmp_path / "thesis" / ".mmkeras.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"mmkeras\.lock"), one_at_a_time(tmp_path / "thesis", ""):
        pass
    assert not (tmp_path / "mine").exists()
