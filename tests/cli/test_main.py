"""Whatever goes wrong in a command is one sentence and an exit code; pipes and streams that end are no harm."""
import pathlib
import re
import subprocess
import sys
import types

import pytest

from ghost_ms.cli import COMMANDS, main
from ghost_ms.cli import main as entry

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def failing(monkeypatch):
    """Makes `ghost-ms models` raise an error."""
    def fail(error):
        def run(argv):
            raise error
        monkeypatch.setattr(sys.modules["ghost_ms.cli.main"], "_module", lambda name: types.SimpleNamespace(main=run))
    return fail


def _said(capsys):
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize("error", [RuntimeError("deep\nwithin"), ZeroDivisionError(), KeyError("x"), AssertionError(),
                                   TypeError("'NoneType' object is not subscriptable"), RecursionError("deep"),
                                   UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), AttributeError("no x")])
def test_an_error_that_nobody_thought_of_says_where_its_traceback_lies(error, failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(error)
    assert main(["models"]) == 1
    said = _said(capsys)
    assert f"this is a bug of ghost-ms ({type(error).__name__}" in said
    report = pathlib.Path(re.search(r"traceback in (\S+)", said)[1])
    assert report.parent == tmp_path and "Traceback (most recent call last)" in report.read_text()
    assert report.stat().st_mode & 0o77 == 0


def test_debug_shows_the_traceback(failing, capsys):
    failing(ValueError("wrong wing"))
    assert main(["models"]) == 1
    assert _said(capsys) == "ghost-ms: error: wrong wing\n"
    assert main(["models", "--debug"]) == 1
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said and said.endswith("ghost-ms: error: wrong wing\n")


@pytest.mark.parametrize("error, words", [
    (MemoryError(), "out of memory; a smaller data.batch_size"),
    (TypeError("Tiny() got an unexpected keyword argument 'wings'"), "unexpected keyword argument 'wings'"),
    (FileNotFoundError(2, "No such file or directory", "x"), "cannot open 'x': No such file"),
    (ValueError("a \x1b[31m name\r"), "a \\x1b[31m name\\x0d")])
def test_what_the_user_can_mend_is_no_bug(error, words, failing, capsys):
    failing(error)
    assert main(["models"]) == 1
    said = _said(capsys)
    assert words in said and "bug" not in said


@pytest.mark.parametrize("word, command", [("predict", "infer"), ("val", "eval"), ("test", "eval"), ("trian", "train"),
                                           ("benchmark", "bench"), ("Predict", "infer")])
def test_an_unknown_command_names_the_one_that_is_meant(word, command, capsys):
    assert main([word]) == 1
    assert _said(capsys) == f"ghost-ms: error: there is no command '{word}'; did you mean '{command}'?\n"


def test_every_command_shows_its_help_in_both_spellings(capsys):
    assert main([]) == 2 and main(["--help"]) == 0
    listed = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", listed, re.M)
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0 and f"usage: ghost-ms {command}" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--no-such", "--input_siz"])
def test_no_option_may_be_abbreviated(option, capsys):
    with pytest.raises(SystemExit) as end:
        main(["info", "ghostnet_050", option, "32"])
    assert end.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err


def test_options_take_both_spellings(capsys):
    for option in ("--input-size", "--input_size"):
        assert main(["info", "ghostnet_050", option, "32"]) == 0
        assert "32x32" in capsys.readouterr().out


def test_a_part_of_a_name_finds_models(capsys):
    assert main(["models", "mobile"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "mobilenetv3_large_100", "mobilenetv3_small_100"]
    assert main(["models", "mobile?"]) == 1
    assert "no model matches 'mobile?'" in capsys.readouterr().err


def _shell(command, **kwargs):
    return subprocess.run(["bash", "-c", command.replace("ghost-ms", f"{sys.executable} -m ghost_ms")], cwd=ROOT,
                          capture_output=True, text=True, **kwargs)


def test_a_reader_that_leaves_is_no_error_of_the_table():
    done = _shell("ghost-ms models --csv | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stderr == "" and done.stdout.splitlines()[-1] in ("0", "141")


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_a_stream_that_was_closed_receives_nothing_of_a_file(streams, tmp_path):
    """The next file that a process opens takes the number of a closed stream, and what is printed would go there."""
    out = tmp_path / "models.md"
    out.write_text("<!-- models -->\n<!-- /models -->\n")
    done = _shell(f"ghost-ms models 'ghostnet_1*' --update {out} {streams}")
    assert done.returncode == 0 and done.stderr == ""
    assert out.read_text().startswith("<!-- models -->") and "ghost-ms:" not in out.read_text()
    done = _shell(f"ghost-ms models nothing* {streams}")
    assert done.returncode == 1 and done.stdout == ""


def test_the_entry_point_is_the_function():
    assert entry is main and callable(entry)


@pytest.mark.parametrize("command", ["eval", "export", "infer", "explain", "quantize"])
def test_the_help_says_what_holds(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "What is typed here holds, then what the checkpoint says of itself" in said
