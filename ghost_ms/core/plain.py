"""Plain data out of strangers' text files: YAML within limits, and nothing but numbers, words, lists and mappings.

`yaml.safe_load` builds no objects, but it takes a file of any size and depth, lets anchors multiply, and keeps the last
of two equal keys without a word.
"""
import math
import os
import re
import stat
from typing import Any, Dict, List

import yaml

from ghost_ms.core.text import printable

#: Limits far above every recipe: bytes of a file, values in it with every alias written out, levels, and characters of
#: one value.
MOST_BYTES, MOST_VALUES, DEEPEST, LONGEST = 1 << 20, 20_000, 20, 10_000


def read_text(path: str, most: int = MOST_BYTES) -> str:
    """The text of a file that may be anybody's.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no regular file, larger than `most` bytes, or not UTF-8.
    """
    # Without O_NONBLOCK opening a pipe would wait for a writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{printable(path)} is no file of text")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{printable(path)} has more than {most:,} bytes, which no such file needs")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(path)} is no text in UTF-8 (byte {error.start})") from None


def read_yaml(path: str) -> Any:
    """The content of a YAML file; errors as `read_text` and `parse_yaml`."""
    return parse_yaml(read_text(path), path)


def parse_yaml(text: str, name: str) -> Any:
    """The plain data in a YAML document.

    Args:
        name: what a sentence calls the document.

    Raises:
        ValueError: it is no YAML, asks for an object, holds a key twice, or is larger or deeper than any recipe.
    """
    try:
        _check_extent(text)
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = " ".join(printable(error, lines=True).split())
        raise ValueError(f"{printable(name)} is not valid YAML: {reason}") from None


def require_plain(value: Any, where: str, depth: int = 0) -> Any:
    """The value, made of finite numbers, strings, booleans, None, lists and mappings of strings to these alone.

    Raises:
        ValueError: anything else is in there; the sentence begins with `where`.
    """
    if depth > DEEPEST:
        raise ValueError(f"{where} nests deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:
            raise ValueError(f"{where} has the key {wrong[0]!r}, and keys are words")
        return {key: require_plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [require_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; it must be a finite number")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"{where} holds a {type(value).__name__}; it may hold numbers, words, true, false, and lists and "
                     "mappings of these")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, which refuses a key that stands twice, and reads 1e-3 as the number that it is."""

    def construct_mapping(self, node, deep=False):
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise ValueError(f"the key '{key.value}' stands twice, again in line {key.start_mark.line + 1}")
                    seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
                              list("-+0123456789."))


def _check_extent(text: str) -> None:
    """ValueError for a document that is too large or too deep, found before anything is built of it."""
    sizes: Dict[str, int] = {}
    # Of the collections that are open: name of the anchor, and values counted before it.
    open_collections: List[tuple] = []
    count = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"the tag '{tag[:40]}' asks for more than plain values")
        if isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_collections):
                raise ValueError(f"the alias '*{event.anchor}' stands within itself")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if len(event.value) > LONGEST:
                raise ValueError(f"a value has more than {LONGEST:,} characters")
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_collections.append((event.anchor, count))
            count += 1
            if len(open_collections) > DEEPEST:
                raise ValueError(f"it nests deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_collections.pop()
            if anchor:
                sizes[anchor] = count - before
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values")
