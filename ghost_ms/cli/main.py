"""The command line: finds the command, and turns whatever goes wrong into one sentence and an exit code."""
import difflib
import importlib
import os
import re
import sys
import tempfile
import traceback
from typing import List, Optional

from ghost_ms.core import plugins
from ghost_ms.core.text import printable

#: Every command is the module of its name (_ for -) beside this one: its docstring is the help, its `main` takes the
#: options.
COMMANDS = ("train", "lr-find", "eval", "export", "infer", "explain", "models", "info", "weights", "data", "runs",
            "report", "bench", "plan", "lite", "quantize", "verify", "doctor")
#: What other tools call these.
SYNONYMS = {"predict": "infer", "classify": "infer", "val": "eval", "validate": "eval", "test": "eval",
            "evaluate": "eval", "fit": "train", "finetune": "train", "benchmark": "bench", "list": "models",
            "convert": "weights convert", "download": "weights fetch", "summary": "info", "compare": "runs",
            "lr_find": "lr-find", "lrfind": "lr-find", "find-lr": "lr-find", "range-test": "lr-find",
            "check": "doctor", "env": "doctor"}


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; bad input ends in one sentence on standard error and exit code 1.

    `--debug` anywhere in it shows the traceback too.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    # MindSpore logs what it also raises; the sentence printed below is enough. Must be set before its import.
    os.environ.setdefault("GLOG_v", "4")
    _open_missing_streams()
    debug = "--debug" in argv or bool(os.environ.get("GHOST_MS_TRACEBACK"))
    argv = [word for word in argv if word != "--debug"]
    try:
        argv = _plugins_apart(argv)
        code = _run(argv)
        sys.stdout.flush()
        if code == 0 and os.environ.get("GHOST_MS_DONE"):
            # For scripts/worker.py, which tells a crash of the work from one of MindSpore's leaving.
            with open(os.environ["GHOST_MS_DONE"], "w"):
                pass
        return code
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        _complain("ghost-ms: interrupted")
        return 130
    except Exception as error:
        if debug:
            _complain(traceback.format_exc())
        _complain(f"ghost-ms: error: {' '.join(printable(_sentence(error), lines=True).split())}")
        return 1


def _run(argv: List[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        _show_commands()
        return 0 if argv else 2
    if argv[0] == "--version":
        from ghost_ms import __version__

        print(f"ghost-ms {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        raise ValueError(f"there is no command '{argv[0]}'{_nearest(argv[0])}")
    if not {"-h", "--help"} & set(argv[1:]):
        plugins.load()
    return _module(argv[0]).main(argv[1:])


def _plugins_apart(argv: List[str]) -> List[str]:
    """The words without `--import PACKAGE`, which may stand anywhere; its packages are remembered."""
    others: List[str] = []
    words = iter(argv)
    for word in words:
        if word == "--import" or word.startswith("--import="):
            name = word.partition("=")[2] or next(words, None)
            if not name:
                raise ValueError("--import takes the name of a package")
            plugins.add(name.split(","))
        else:
            others.append(word)
    return others


def _module(command: str):
    return importlib.import_module(f"ghost_ms.cli.{command.replace('-', '_')}")


def _show_commands() -> None:
    width = max(map(len, COMMANDS))
    print("usage: ghost-ms COMMAND [options]\n\nEfficient backbones for MindSpore.\n\ncommands:")
    print("\n".join(f"  {name:{width}}  {_module(name).__doc__.strip()}" for name in COMMANDS))
    print("\n`ghost-ms COMMAND --help` shows a command's options. With any command, --import PACKAGE makes networks, "
          "tasks\nand data sets of a package of your own known, and --debug shows where an error comes from.")


def _nearest(word: str) -> str:
    found = SYNONYMS.get(word.lower()) or next(iter(difflib.get_close_matches(word, COMMANDS, 1, 0.6)), None)
    return f"; did you mean '{found}'?" if found else f"; known are {', '.join(COMMANDS)}"


def _sentence(error: Exception) -> str:
    """What to tell the user of an error; Python's own words for missing packages and files lack the remedy."""
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("ghost_ms"):
        version = "" if (3, 9) <= sys.version_info[:2] <= (3, 12) else \
            f", and this is Python {sys.version_info[0]}.{sys.version_info[1]}: MindSpore 2.8 is for 3.9 to 3.12"
        return (f"the package '{error.name}' is not installed for {sys.executable}{version}; run "
                "`source .venv/bin/activate` where scripts/quickstart.sh has made .venv, or `pip install -c "
                "constraints.txt .` in the folder of ghost_ms")
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"cannot open '{error.filename}': {error.strerror}"
    if isinstance(error, MemoryError):
        return "out of memory; a smaller data.batch_size or data.eval_batch_size, or a smaller input, needs less"
    # A family's constructor says so of an argument that it does not have (model.args).
    if isinstance(error, TypeError) and re.search(r"unexpected keyword argument|required .*argument", str(error)):
        return str(error)
    if isinstance(error, (ValueError, OSError, ImportError)) and not isinstance(error, UnicodeError) and str(error):
        return str(error)
    return _bug(error)


def _bug(error: Exception) -> str:
    """The sentence about an error that nobody has thought of; its traceback goes into a file."""
    kind = type(error).__name__
    first = next(iter(str(error).strip().splitlines()), "")
    try:
        handle, path = tempfile.mkstemp(".txt", "ghost_ms_traceback_")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    except OSError:
        path = "nowhere, since no file can be written; --debug shows it"
    return f"this is a bug of ghost-ms ({kind}: {first[:200]}); please report it with the traceback in {path}"


def _complain(text: str) -> None:
    """A line on standard error, for as long as anybody reads it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _open_missing_streams() -> None:
    """Give a standard stream that the caller closed (`>&-`) to the null device.

    Otherwise the next file that is opened, a log or a checkpoint, would take its number, and receive what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))
