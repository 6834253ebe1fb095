"""What the parsers of all commands share."""
import argparse
from typing import List, Sequence

from ghost_ms.core.tasks import TASKS

#: Folder of the run that serves where the user names no network.
QUICKSTART = "runs/quickstart"


class Parser(argparse.ArgumentParser):
    """An argument parser that takes `-` and `_` in the names of options alike, and no abbreviations."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        if args is not None:
            args = [self._spelled(word) for word in args]
        return super().parse_known_args(args, namespace)

    def _spelled(self, word: str) -> str:
        """An option in the spelling that was added, whichever of both the user took."""
        option, equals, value = word.partition("=")
        if not word.startswith("--") or option in self._option_string_actions:
            return word
        for other in (option.replace("-", "_").replace("__", "--", 1), "--" + option[2:].replace("_", "-")):
            if other in self._option_string_actions:
                return other + equals + value
        return word


#: Said by the help of every command that takes a checkpoint.
PRECEDENCE = ("What is typed here holds, then what the checkpoint says of itself, then --config, then the "
              "model's card; where they differ, a line says so.")


def add_network(parser: argparse.ArgumentParser) -> None:
    """The options that say which network is meant."""
    parser.epilog = PRECEDENCE
    parser.add_argument("--model", help="name of the network (`ghost-ms models`)")
    parser.add_argument("--config", help="recipe that names the network")
    parser.add_argument("--ckpt", help=f"checkpoint; without it, --model and --config, the best of {QUICKSTART}")


def add_kernels(parser: argparse.ArgumentParser) -> None:
    """The option that leaves MindSpore's own operators."""
    from ghost_ms.config.run import KERNELS

    parser.add_argument("--kernels", choices=KERNELS, default="auto",
                        help="auto computes on the CPU with operators compiled once for this processor (default); off "
                             "with MindSpore's own")



def matching(pattern: str, parts: bool = True, tasks: Sequence[str] = TASKS) -> List[str]:
    """Names of the networks that a shell pattern or, with `parts`, a part of a name means; ValueError for none.

    Args:
        tasks: the networks of the first in which there is one are taken.
    """
    from ghost_ms.models import list_models

    patterns = [pattern, *([f"*{pattern}*"] if parts and not set("*?[") & set(pattern) else [])]
    names = next(filter(None, (list_models(one, task) for one in patterns for task in tasks)), [])
    if not names:
        raise ValueError(f"no model matches '{pattern}'; `ghost-ms models` lists all")
    return names


class _Size(argparse.Action):
    """One number or two, apart by blanks, a comma or an x, as (height, width)."""

    def __call__(self, parser, namespace, values, option_string=None):
        words = [word for value in values for word in value.lower().replace("x", ",").split(",")]
        if len(words) > 2 or not all(word.isdecimal() and int(word) for word in words):
            raise ValueError(f"{option_string} takes one or two positive numbers, not {' '.join(values)}")
        setattr(namespace, self.dest, (int(words[0]), int(words[-1])))


def add_input_size(parser: argparse.ArgumentParser, default: str) -> None:
    """--input_size; `default` says what holds without it."""
    parser.add_argument("--input_size", nargs="+", action=_Size, metavar="PIXELS",
                        help=f"height and width of the images, or one number for both; by default {default}")
