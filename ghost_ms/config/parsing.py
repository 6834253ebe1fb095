"""Command lines over recipes: every key as an option, and one sentence for what is wrong.

The parser (jsonargparse) knows types and texts of help. It never builds a class of a value: the keys that take a
network's arguments are plain mappings, checked by `ModelConfig.validate` and `DistillConfig.validate`.
"""
import dataclasses
import difflib
import re
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

import yaml

from ghost_ms.config.reading import MOVED, REMOVED, merge, moved_note, read_recipe
from ghost_ms.config.recipe import Config
from ghost_ms.core.plain import parse_yaml, require_plain

#: What a beginner types first, and the key that it means.
SHORT = {"model": "model.name"}
#: Keys whose values are mappings that a command line can fill one by one: --model.args.drop_rate 0.1
MAPPINGS = ("model.args", "model.training", "task.args", "distill.args")


def build_parser(prog: str, description: str, sections: Optional[Sequence[str]] = None):
    """Parser of the keys of `Config` and of `--config FILE`; commands add options of their own.

    Args:
        sections: that `--help` shows; all by default. The keys of the others are known all the same.
    """
    from jsonargparse import SUPPRESS, ArgumentParser, DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter):
        """Types in words that need no Python."""

        def _expand_help(self, action):
            return _plain_types(super()._expand_help(action))

    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, allow_abbrev=False,
                            formatter_class=Formatter)
    parser.add_argument("--config", action="config",
                        help="recipe: a YAML file, or the name of one that comes with the package, such as quickstart "
                             "or ghostnet_100_imagenet; the other options override its keys")
    for section in dataclasses.fields(Config):
        parser.add_class_arguments(section.default_factory, section.name)
        # The option that would read a section from a file of its own, past the limits of `read_recipe`.
        loader = parser._option_string_actions.pop(f"--{section.name}")
        parser._remove_action(loader)
        for group in parser._action_groups:
            if loader in group._group_actions:
                group._group_actions.remove(loader)
    if sections is not None:
        for action in parser._actions:
            if "." in action.dest and action.dest.split(".")[0] not in sections:
                action.help = SUPPRESS
    return parser


#: How help texts call the types of values.
TYPES = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "<class 'dict'>": "mapping",
         "<class 'list'>": "list", "None": "null"}


def _plain_types(text: str) -> str:
    """The end of a help text, '(type: Optional[int], default: null)', with the type in words."""
    def plain(found) -> str:
        kind = found[1]
        for python, words in TYPES.items():
            kind = re.sub(rf"(?<![\w']){re.escape(python)}(?![\w'])", words, kind)
        kind = re.sub(r"Optional\[(.*)\]", r"\1 or null", kind)
        kind = re.sub(r"Union\[(.*)\]", lambda union: re.sub(r", (?![^\[]*\])", " or ", union[1]), kind)
        kind = re.sub(r"Dict\[text, (\w+)\]", r"mapping of \1s", kind)
        kind = re.sub(r"Tuple\[(\w[\w ]*), \1\]", r"two \1s", kind)
        kind = re.sub(r"List\[(\w[\w ]*)\]", r"list of \1s", kind)
        return f"({kind.replace('texts', 'names')}; default: "
    return re.sub(r"\(type: (.*?), default: ", plain, text)


def parse(parser, argv: Sequence[str]) -> Tuple[Config, Any]:
    """(recipe, every parsed option) of a command line.

    Raises:
        ValueError: an unknown key, a wrong type or a value out of range; one sentence that names it.
    """
    from jsonargparse import ArgumentError

    files, words = _recipes_apart(argv)
    words, entries = _entries_apart(_spelled_out(words, parser))
    recipe: Dict[str, Any] = {}
    for path in files:
        recipe = merge(recipe, read_recipe(path))
    # To the parser a recipe overrides what stands before it: one before the recipe's name would be lost in silence.
    before = [f"--config={yaml.safe_dump(recipe)}"] if files else []
    try:
        values = parser.parse_args(before + words)
    except ArgumentError as error:
        raise ValueError(_sentence(str(error), parser, files)) from None
    config = Config(**{name: type(section)(**vars(values[name])) for name, section in vars(Config()).items()})
    given = explicit_keys(argv)
    if "optimizer.lr" in given and "optimizer.base_batch" not in given:
        # Whoever types a rate means that rate; the batch of a recipe belongs to the rate of the recipe.
        config.optimizer.base_batch = None
    for key, name, value in entries:
        section, _, field = key.partition(".")
        mapping = getattr(getattr(config, section), field)
        setattr(getattr(config, section), field, {**mapping, name: value})
    config.validate()
    return config, values


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    """The recipe in a file, with command-line style overrides such as ('--train.epochs', '2')."""
    return parse(build_parser("ghost-ms", ""), ["--config", path, *overrides])[0]


def explicit_keys(argv: Sequence[str]) -> Dict[str, None]:
    """The keys that a command line gives itself, such as 'optimizer.lr', in its order."""
    names = (word[2:].split("=", 1)[0].replace("-", "_") for word in argv if word.startswith("--"))
    return dict.fromkeys(SHORT.get(name, name) for name in names)


def recipe_files(argv: Sequence[str]) -> List[str]:
    """The recipes that a command line names."""
    return _recipes_apart(argv)[0]


def _recipes_apart(argv: Sequence[str]) -> Tuple[List[str], List[str]]:
    """The files that `--config` names, and all other words of a command line."""
    files: List[str] = []
    others: List[str] = []
    words = iter(argv)
    for word in words:
        if word.startswith("--config="):
            files.append(word.split("=", 1)[1])
        elif word == "--config" and (path := next(words, None)) is not None:
            files.append(path)
        else:
            others.append(word)
    return files, others


def _spelled_out(words: Sequence[str], parser) -> List[str]:
    """Options as the parser knows them: `-` for `_` within a name, and the short forms of `SHORT`."""
    known = set(_options(parser))
    result = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name if name in known else name.replace("-", "_")
            if name in MOVED:
                print(moved_note(name), file=sys.stderr)
                name = MOVED[name][0]
            word = f"--{SHORT.get(name, name)}{equals}{value}"
        result.append(word)
    return result


def _entries_apart(words: Sequence[str]) -> Tuple[List[str], List[Tuple[str, str, Any]]]:
    """The words without those that set one entry of a mapping, and these as (key, name of the entry, value)."""
    others: List[str] = []
    entries = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        key = next((key for key in MAPPINGS if option.startswith(f"--{key}.")), None)
        if key is None:
            others.append(word)
            continue
        name = option[len(key) + 3:]
        text = value if equals else next(rest, None)
        if not name or text is None:
            raise ValueError(f"{option} takes a value, as in --{key}.drop_rate 0.1")
        entries.append((key, name, require_plain(parse_yaml(text, f"{option[2:]} '{text}'"), f"{key}.{name}")))
    return others, entries


def _options(parser) -> List[str]:
    return [option[2:] for option in parser._option_string_actions if option.startswith("--")]


def _sentence(message: str, parser, files: Sequence[str]) -> str:
    """One sentence of the parser's report."""
    unknown = re.search(r"[Uu]nrecognized arguments?: (\S+)", message)
    if unknown:
        return _unknown_option(unknown.group(1).split("=")[0], _options(parser))
    key = re.search(r"[Kk]ey \"([\w.]+)\"", message) or re.search(r"--([\w.]+)", message)
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    reason = lines[-1] if len(lines) > 1 else lines[0]
    reason = re.sub(r"^(error|Problem with given.*?|Validation failed):\s*", "", reason)
    reason = re.sub(r"Expected an? <class '(\w+)'>", r"expected \1", reason).replace(". Got value: ", ", got ")
    where = f" ({', '.join(files)})" if files else ""
    return f"{key.group(1) if key else 'recipe'}{where}: {' '.join(reason.split())}"


def _unknown_option(option: str, known: Sequence[str]) -> str:
    """The sentence about a word that is no option; --lr finds --optimizer.lr."""
    if not option.startswith("-"):
        return f"'{option}' stands alone; a recipe is named with --config, all else by its key, as in --train.epochs 3"
    name = option.lstrip("-")
    if name in REMOVED:
        return f"the option '{option}' is gone: {REMOVED[name]}"
    near = [key for key in known if key.rpartition(".")[2] == name] or difflib.get_close_matches(name, known, 1, 0.6)
    hint = f"did you mean {' or '.join(repr(f'--{key}') for key in near)}?" if near else "--help lists all"
    return f"unknown option '{option}'; {hint}"
