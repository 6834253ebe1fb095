"""Files are whole or not there, whatever happens while they are written."""
import os
import subprocess
import sys

import pytest

from ghost_ms.core.files import (PREFIX, remove_leftovers, whole_file, whole_folder, write_bytes, write_link,
                                 write_text)


def test_a_written_file_has_its_content_and_the_rights_that_the_umask_leaves(tmp_path):
    path, before = tmp_path / "a.json", os.umask(0o027)
    try:
        write_text(path, "ä\r\n")
    finally:
        os.umask(before)
    assert path.read_bytes() == "ä\r\n".encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = ("import os, signal, sys; from ghost_ms.core.files import whole_file\n"
            "with whole_file(sys.argv[1]) as temporary:\n"
            "    open(temporary, 'w').write('half'); os.kill(os.getpid(), signal.SIGKILL)")
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert path.read_text() == "old" and len(os.listdir(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_link_in_the_place_of_the_file_is_replaced_and_its_target_untouched(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)
    write_text(link, "new")
    assert target.read_text() == "precious" and link.read_text() == "new" and not link.is_symlink()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_replaced(tmp_path, make):
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(OSError, match="thing.*no file"):
        write_text(path, "x")
    assert os.listdir(tmp_path) == ["thing"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match="cannot write .*none/a.txt.*No such file"):
        write_text(tmp_path / "none" / "a.txt", "x")


def test_the_temporary_name_keeps_the_ending(tmp_path):
    with whole_file(tmp_path / "a.png") as temporary:
        assert temporary.endswith(".png") and os.path.basename(temporary).startswith(PREFIX)


def test_a_second_name_of_a_file_takes_the_place_of_an_older_one(tmp_path):
    source, path = tmp_path / "source", tmp_path / "last"
    source.write_text("new")
    path.write_text("old")
    write_link(path, str(source))
    assert os.path.samefile(source, path)
    write_link(path, str(source))
    assert os.path.samefile(source, path) and sorted(os.listdir(tmp_path)) == ["last", "source"]


def test_or_a_copy_where_there_are_no_hard_links(tmp_path, monkeypatch):
    source, path = tmp_path / "source", tmp_path / "last"
    source.write_text("new")

    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", none)
    write_link(path, str(source))
    assert path.read_text() == "new" and not os.path.samefile(source, path)
    with pytest.raises(OSError, match="cannot write '.*last'"):
        write_link(path, str(tmp_path / "none"))
    assert path.read_text() == "new" and sorted(os.listdir(tmp_path)) == ["last", "source"]


def test_a_folder_receives_its_entries_when_all_went_well(tmp_path):
    folder = tmp_path / "traces"
    with whole_folder(folder) as temporary:
        os.mkdir(os.path.join(temporary, "first"))
        assert not folder.exists()
    with pytest.raises(ZeroDivisionError), whole_folder(folder) as temporary:
        os.mkdir(os.path.join(temporary, "second"))
        raise ZeroDivisionError
    assert os.listdir(folder) == ["first"] and os.listdir(tmp_path) == ["traces"]
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / f"{PREFIX}left" / "half").write_text("")
    (tmp_path / f"{PREFIX}link").symlink_to(folder)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["traces"] and os.listdir(folder) == ["first"]
