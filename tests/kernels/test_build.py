"""The library: compiled once, by one of several processes, kept where nobody else writes, never loaded damaged."""
import concurrent.futures
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from ghost_ms.kernels import build


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache of its own, with little in it to compile."""
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    sources = tmp_path / "cpp"
    sources.mkdir()
    (sources / "small.cpp").write_text('static int kept = 1;\nextern "C" void ghost_threads(int n) { kept = n; }\n'
                                       'extern "C" int ghost_kept() { return kept; }\n')
    monkeypatch.setattr(build, "SOURCES", sources)
    build.library.cache_clear()
    yield tmp_path / "home" / "kernels"
    build.library.cache_clear()


def again():
    build.library.cache_clear()
    return build.library()


def test_compiled_once_and_kept_for_this_user(home, capfd):
    path = build.library()
    assert os.path.dirname(path) == str(home) and stat.S_IMODE(home.stat().st_mode) == 0o700
    assert "compiling the CPU kernels for this processor, once" in capfd.readouterr().err
    written = os.stat(path).st_mtime_ns
    assert again() == path and os.stat(path).st_mtime_ns == written and not capfd.readouterr().err
    assert not [name for name in os.listdir(home) if name.startswith((".writing", "tmp"))]


def test_other_sources_or_flags_are_another_library(home, monkeypatch):
    path = build.library()
    with open(build.SOURCES / "small.cpp", "a") as file:
        file.write("// changed\n")
    other = again()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DANOTHER"))
    assert len({path, other, again()}) == 3


def test_a_changed_library_is_not_loaded(home, capfd):
    """Each case is a library whose hash is not the recorded one: it is compiled anew."""
    path = pathlib.Path(build.library())
    good = path.read_bytes()

    def put(content):
        # Another file of that name: this process has the first one in its memory.
        path.unlink()
        path.write_bytes(content)

    for damage in (lambda: put(good[:-1]), lambda: put(good + b"\0"),
                   lambda: pathlib.Path(f"{path}.sha256").unlink(), lambda: path.unlink(),
                   lambda: pathlib.Path(f"{path}.sha256").write_text("0" * 64),
                   lambda: pathlib.Path(f"{path}.sha256").write_bytes(b"\xff" * 64)):
        capfd.readouterr()
        damage()
        assert not build._sealed(str(path))
        again()
        assert "compiling" in capfd.readouterr().err and build._sealed(str(path))


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o1777, 0o720])
def test_a_folder_that_others_can_write_to_is_refused(home, mode):
    home.mkdir(parents=True)
    home.chmod(mode)
    with pytest.raises(build.Unavailable, match="others can write into .*chmod go-w"):
        build.library()
    assert not os.listdir(home)


def test_a_folder_in_one_that_others_can_write_to_is_refused(home):
    home.mkdir(parents=True)
    home.parent.chmod(0o777)
    with pytest.raises(build.Unavailable, match="others can write into"):
        build.library()
    home.parent.chmod(0o1777)
    assert build.library()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused(home):
    home.mkdir(parents=True, mode=0o700)
    os.chown(home, 12345, 12345)
    with pytest.raises(build.Unavailable, match="others can write into"):
        build.library()


def test_a_path_that_mindspore_cannot_take(home, monkeypatch, tmp_path):
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "a:b"))
    with pytest.raises(build.Unavailable, match="its path has a colon"):
        build.library()
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(build.WHITE_LIST, str(tmp_path / "elsewhere"))
    with pytest.raises(build.Unavailable, match=f"{build.WHITE_LIST} names another folder"):
        build.library()
    monkeypatch.setenv(build.WHITE_LIST, str(tmp_path))
    assert build.library()


def test_a_relative_cache_folder(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GHOST_MS_HOME", "home")
    assert os.path.isabs(build.library())


def test_without_a_compiler(home, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build.Unavailable, match=r"there is no C\+\+ compiler \(no-such-compiler\): install g\+\+"):
        build.library()


def test_a_compiler_that_fails(home, monkeypatch, tmp_path):
    (build.SOURCES / "small.cpp").write_text("this is no C++\n")
    with pytest.raises(build.Unavailable, match="could not compile them: .*error"):
        build.library()
    assert not [name for name in os.listdir(home) if name.endswith(".so")]


@pytest.mark.parametrize("system, machine", [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")])
def test_other_systems(home, monkeypatch, system, machine):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(build.platform, "machine", lambda: machine)
    with pytest.raises(build.Unavailable, match="they are for Linux on x86_64 and aarch64"):
        build.library()


def test_a_cache_that_cannot_be_made(home, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GHOST_MS_HOME", str(tmp_path / "file"))
    with pytest.raises(build.Unavailable, match="cannot be made .*set GHOST_MS_HOME"):
        build.library()


def test_several_processes_at_once_compile_once(home):
    code = ("import sys\nfrom ghost_ms.kernels import build\nimport pathlib\n"
            f"build.SOURCES = pathlib.Path({str(build.SOURCES)!r})\nprint(build.library())")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True),
                             range(3)))
    assert [one.returncode for one in done] == [0, 0, 0], done
    assert len({one.stdout for one in done}) == 1
    assert sum("compiling" in one.stderr for one in done) == 1


def test_what_is_to_be_expected_is_told_without_compiling(home, capfd):
    assert build.outlook().startswith("compiled at first use, by /") and not list(home.glob("*.so"))
    path = build.library()
    assert build.outlook() == path and "compiling" in capfd.readouterr().err
