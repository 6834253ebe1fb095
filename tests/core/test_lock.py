"""One process works in a folder at a time, and its end, however it comes, frees it."""
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from ghost_ms.core.lock import NAME, Locked, locked

HOLD = ("import sys, time; from ghost_ms.core.lock import locked\n"
        "with locked(sys.argv[1], 'training'): print('held', flush=True); time.sleep(60)")


def test_the_second_is_told_of_the_first(tmp_path):
    with locked(str(tmp_path), "training") as note:
        assert note == ""
        words = fr"a training is under way in '.*': process {os.getpid()} on {socket.gethostname()}, since \d{{4}}-"
        with pytest.raises(Locked, match=words), locked(str(tmp_path), "training"):
            pass
        (tmp_path.parent / "other name").symlink_to(tmp_path)
        with pytest.raises(Locked), locked(str(tmp_path.parent / "other name"), "training"):
            pass
    assert os.listdir(tmp_path) == []
    with locked(str(tmp_path), "training") as note:
        assert note == ""


def test_it_dies_with_its_process(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=f"process {holder.pid} on"), locked(str(tmp_path), "training"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert os.listdir(tmp_path) == [NAME]
    with locked(str(tmp_path), "training"):
        assert f"process {os.getpid()} on" in (tmp_path / NAME).read_text()
    assert os.listdir(tmp_path) == []


def test_a_file_that_its_holder_removes_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Between opening and locking: the lock would be of a file that nobody finds any more."""
    flock, removed = fcntl.flock, []

    def late(handle, operation):
        if not removed:
            os.remove(tmp_path / NAME)
            removed.append(True)
        return flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(str(tmp_path), "training"), pytest.raises(Locked), locked(str(tmp_path), "training"):
        pass
    assert removed


@pytest.mark.parametrize("make, reason", [
    (os.mkdir, "Is a directory"), (os.mkfifo, "which is no file"),
    (lambda path: os.symlink("/etc/passwd", path), "link"), (lambda path: os.symlink("nowhere", path), "link")])
def test_what_lies_in_its_place_is_not_followed(make, reason, tmp_path):
    make(tmp_path / NAME)
    with pytest.raises(OSError, match=f"cannot lock the folder .*{reason}.*; remove it"), locked(str(tmp_path), "x"):
        pass
    assert os.listdir(tmp_path) == [NAME]


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    def none(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(str(tmp_path), "training") as note:
        assert "cannot be locked (No locks available): nothing will stop a second training in it" in note
    assert os.listdir(tmp_path) == []


def test_a_holder_that_wrote_more_than_a_line(tmp_path):
    (tmp_path / NAME).write_bytes(b"\x1b[2J" + b"x" * 10000)
    with open(tmp_path / NAME) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Locked) as told, locked(str(tmp_path), "training"):
            pass
    assert "\\x1b[2J" in str(told.value) and len(str(told.value)) < 800
