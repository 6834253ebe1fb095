"""All commands are alike: a module each, with its docstring, `build_parser` and `main`; and one form of sizes."""
import argparse

import pytest

from ghost_ms.cli import main
from ghost_ms.cli.main import COMMANDS, _module
from ghost_ms.cli.parser import Parser, add_input_size


def _actions(parser):
    for action in parser._actions:
        yield action
        for below in action.choices.values() if isinstance(action, argparse._SubParsersAction) else ():
            yield from _actions(below)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_form(name, capsys):
    module = _module(name)
    parser = module.build_parser()
    assert parser.prog.startswith(f"ghost-ms {name}") and parser.description and module.__doc__.strip().endswith(".")
    assert callable(module.main)
    # Every option says what it does; the names of a subcommand and of the file that it takes say it themselves.
    named = ("weights_command", "==SUPPRESS==", "file")
    assert [action.dest for action in _actions(parser) if not action.help and action.dest not in named] == []
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and "usage" in capsys.readouterr().out


@pytest.mark.parametrize("words, size", [
    (["--input_size", "64"], (64, 64)), (["--input-size", "64", "32"], (64, 32)), (["--input-size", "64,32"], (64, 32)),
    (["--input_size=64x32"], (64, 32)), (["--input-size", "64", "x", "32"], None), ([], False)])
def test_a_size_is_one_number_or_two(words, size):
    parser = Parser("ghost-ms test")
    add_input_size(parser, "none")
    if size is None:
        with pytest.raises(ValueError, match="--input_size takes one or two positive numbers, not 64 x 32"):
            parser.parse_args(words)
    else:
        assert parser.parse_args(words).input_size == (size or None)


@pytest.mark.parametrize("command", ["info", "bench", "export", "plan"])
@pytest.mark.parametrize("words", [["0"], ["-3"], ["1", "2", "3"], ["a"], ["64", "1.5"]])
def test_a_size_that_is_none_gets_one_sentence(command, words, capsys):
    model = ["ghostnet_050"] if command in ("info", "bench") else ["--model", "ghostnet_050"]
    try:
        code = main([command, *model, "--input-size", *words])
    except SystemExit as ended:
        code = ended.code
    assert code in (1, 2) and "--input_size" in capsys.readouterr().err.splitlines()[-1]
